"""Kernels compute where the self-test lets them, and only what they give every gradient of; torch computes the rest."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from kolora.models import ops, torch_ops
from torch import nn


class Kernels:
    """Stands for the kernels: computes as torch does, and remembers what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __getattr__(self, name: str) -> Any:
        self.asked.append(name)
        return getattr(torch_ops, name)


@pytest.fixture
def kernels(monkeypatch: pytest.MonkeyPatch) -> Kernels:
    kernels = Kernels()
    monkeypatch.setattr(ops, "triton_ops", kernels)
    return kernels


CALLS: dict[str, Any] = {
    "group_norm": lambda: ops.group_norm(nn.GroupNorm(2, 4).requires_grad_(False), torch.ones(1, 4, 2, 2)),
    "layer_norm": lambda: ops.layer_norm(nn.LayerNorm(4).requires_grad_(False), torch.ones(1, 4), None),
    "gate": lambda: ops.gate(torch.ones(1, 4)),
    "add": lambda: ops.add(torch.ones(1, 4, 2, 2), torch.ones(1, 4, 2, 2), torch.ones(4)),
    "attend": lambda: ops.attend(*(torch.ones(1, 3, 2, 16).half() for _ in range(3))),
    "attend_joined": lambda: ops.attend_joined(torch.ones(1, 3, 3, 2, 16).half().requires_grad_()),
    "attend_text": lambda: ops.attend_text(torch.ones(1, 3, 2, 16).half(), torch.ones(1, 5, 2, 2, 16).half()),
}


@pytest.mark.parametrize("passed", [True, False])
def test_a_gpu_uses_kernels_where_they_passed_the_self_test(monkeypatch: pytest.MonkeyPatch, passed: bool) -> None:
    monkeypatch.setattr(ops, "usable", lambda dtype, card: passed and (dtype, card) == (torch.float16, 1))
    tensor: Any = SimpleNamespace(is_cuda=True, dtype=torch.float16, device=SimpleNamespace(index=1))
    assert ops.uses_kernels(tensor) == passed


@pytest.mark.parametrize("name", CALLS)
def test_without_a_passed_self_test_torch_computes(kernels: Kernels, name: str) -> None:
    CALLS[name]()
    assert kernels.asked == []


@pytest.mark.parametrize("name", CALLS)
def test_with_one_kernels_compute(kernels: Kernels, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(ops, "uses_kernels", lambda _: True)
    CALLS[name]()
    assert kernels.asked == ["attend" if name == "attend_text" else name]


@pytest.mark.parametrize(
    "call",
    [
        lambda: ops.group_norm(nn.GroupNorm(2, 4), torch.ones(1, 4, 2, 2)),
        lambda: ops.layer_norm(nn.LayerNorm(4), torch.ones(1, 4), None),
        lambda: ops.add(torch.ones(1, 4, 2, 2), torch.ones(1, 4, 2, 2), torch.ones(4).requires_grad_()),
        lambda: ops.attend(*(torch.ones(1, 3, 2, 16).half().requires_grad_() for _ in range(3))),
        lambda: ops.attend(*(torch.ones(1, 3, 2, 24).half() for _ in range(3))),
        lambda: ops.attend(*(torch.ones(1, 3, 2, 16) for _ in range(3))),
    ],
    ids=["trained group norm", "trained layer norm", "trained bias", "attention's gradient", "odd width", "float32"],
)
def test_what_no_kernel_computes_torch_does(kernels: Kernels, monkeypatch: pytest.MonkeyPatch, call: Any) -> None:
    monkeypatch.setattr(ops, "uses_kernels", lambda _: True)
    call()
    assert kernels.asked == []
