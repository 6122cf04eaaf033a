"""Kernels are used where they compute what torch does, and nowhere else."""

import logging
from collections.abc import Iterator
from contextlib import nullcontext

import pytest
import torch
from kolora.models import self_test, torch_ops
from kolora.models.ops import uses_kernels
from kolora.models.self_test import TOLERANCE, difference, usable, usable_here


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let there be a card with kernels; what is tried on it is computed here."""
    monkeypatch.setattr(self_test, "triton_ops", torch_ops)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    monkeypatch.setattr(torch.cuda, "device", lambda _: nullcontext())
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (9, 0))
    usable.cache_clear()
    yield
    usable.cache_clear()


def test_a_cpu_has_none() -> None:
    assert not uses_kernels(torch.zeros(1, dtype=torch.float16))


@pytest.mark.usefixtures("card")
def test_they_are_used_where_every_one_is_right(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[object] = []
    monkeypatch.setattr(self_test, "difference", lambda _case, _shapes, *where, ops: tried.append(where) or 0.001)
    assert usable_here(torch.bfloat16)
    assert usable_here(torch.bfloat16)
    here = torch.bfloat16, torch.device("cuda", 1)
    assert tried == [here] * len(self_test.cases(torch.bfloat16)), "on the current card, once, not every time"
    assert not usable_here(torch.float64)


@pytest.mark.usefixtures("card")
@pytest.mark.parametrize("wrong", [0.1, float("nan")])
def test_one_that_errs_is_told_and_none_is_used(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, wrong: float
) -> None:
    errors = iter([0.001, wrong] + [0.001] * 20)
    monkeypatch.setattr(self_test, "difference", lambda *_, ops: next(errors))
    with caplog.at_level(logging.WARNING):
        assert not usable_here(torch.float16)
    assert "without Triton's kernels" in caplog.text


@pytest.mark.usefixtures("card")
def test_a_compiler_that_is_not_there_is_told_and_none_is_used(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object, ops: object) -> float:
        raise RuntimeError("Failed to find C compiler.\nMore of it.")

    monkeypatch.setattr(self_test, "difference", fail)
    with caplog.at_level(logging.WARNING):
        assert not usable_here(torch.float16)
    assert caplog.messages == ["computing without Triton's kernels, so slower: Failed to find C compiler."]


@pytest.mark.usefixtures("card")
def test_older_cards_have_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (7, 5))
    assert not usable_here(torch.float16)


CPU = torch.device("cpu")


@pytest.mark.parametrize(("dtype", "most"), [(torch.float32, 0.0), (torch.bfloat16, TOLERANCE)])
def test_what_is_tried_leaves_room_for_rounding_and_no_more(dtype: torch.dtype, most: float) -> None:
    found = [difference(case, shapes, dtype, CPU) for case, shapes in self_test.cases(dtype)]
    assert max(found) <= most
    assert min(found) > most / 20 or most == 0


class Doubled(torch.autograd.Function):
    """A function whose gradient in bfloat16 is another one's."""

    @staticmethod
    def forward(_: object, x: torch.Tensor) -> torch.Tensor:
        return 2 * x

    @staticmethod
    def backward(_: object, slope: torch.Tensor) -> torch.Tensor:
        return 3 * slope if slope.dtype == torch.bfloat16 else 2 * slope


def doubled(_ops: object, x: torch.Tensor) -> torch.Tensor:
    return Doubled.apply(x)


def test_the_difference_is_of_gradients_too() -> None:
    assert difference(doubled, ((4, 4),), torch.bfloat16, CPU) == pytest.approx(0.5, rel=0.01)
    assert difference(doubled, ((4, 4),), torch.float32, CPU) == 0.0
