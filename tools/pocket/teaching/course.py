"""What the lessons share: the learning rate's course, the average of weights, batches of pixels."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar, cast

import torch
from torch import nn

M = TypeVar("M", bound=nn.Module)
log = logging.getLogger("pocket")


def rate(step: int, steps: int, *, peak: float, warm: int = 300, low: float = 0.01) -> float:
    """Return the learning rate: a linear rise over ``warm`` steps, then half a cosine down to ``low`` of the peak."""
    warm = min(warm, max(1, steps // 10))
    if step < warm:
        return peak * (step + 1) / warm
    done = (step - warm) / max(1, steps - warm)
    return peak * (low + (1 - low) * 0.5 * (1 + math.cos(math.pi * done)))


def set_rate(optimizer: torch.optim.Optimizer, value: float) -> None:
    """Give every parameter group the learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = value


class Average:
    """A running average of modules' parameters, which samples better than the last ones do."""

    def __init__(self, modules: Iterable[nn.Module], *, decay: float = 0.9995) -> None:
        self._live: list[nn.Parameter] = []
        for module in modules:
            self._live += module.parameters()
        self._mean = [p.detach().clone() for p in self._live]
        self._decay = decay

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take the present weights in; early steps weigh more."""
        decay = min(self._decay, (step + 1) / (step + 10))
        torch._foreach_lerp_(self._mean, [p.detach() for p in self._live], 1 - decay)

    @torch.no_grad()
    def put(self) -> None:
        """Swap the average with the live weights; a second call puts them back."""
        for live, mean in zip(self._live, self._mean, strict=True):
            held = live.detach().clone()
            live.copy_(mean)
            mean.copy_(held)


def step_down(loss: torch.Tensor, optimizer: torch.optim.Optimizer, weights: Sequence[nn.Parameter]) -> None:
    """Take one step of the optimizer down the loss, gradients clipped to length 1."""
    optimizer.zero_grad(set_to_none=True)
    torch.autograd.backward(loss)
    nn.utils.clip_grad_norm_(weights, 1.0)
    optimizer.step()


def in_parts(rows: torch.Tensor, size: int) -> Iterator[torch.Tensor]:
    """Yield the rows, ``size`` at a time."""
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def channels_last(module: M) -> M:
    """Lay the weights of convolutions out as GPUs like them."""
    cast(Any, module).to(memory_format=torch.channels_last)
    return module


def to_unit(pictures: torch.Tensor) -> torch.Tensor:
    """Turn uint8 pictures (B, H, W, 3) into pixels (B, 3, H, W), float32 in -1..1."""
    return pictures.permute(0, 3, 1, 2).float() / 127.5 - 1.0


def compiled(module: nn.Module, device: str) -> nn.Module:
    """Return the module compiled where that pays, on a GPU."""
    return torch.compile(module) if device == "cuda" else module  # type: ignore[return-value]


def half(device: str) -> torch.autocast:
    """Compute in bfloat16 on a GPU; a CPU is faster without."""
    return torch.autocast(device, torch.bfloat16, enabled=device == "cuda")
