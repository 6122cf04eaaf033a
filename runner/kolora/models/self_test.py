"""Whether a card's kernels can be used: each is tried once, and compared with torch."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import cache

import torch
from torch import nn

from kolora.models.ops import (
    HALF,
    HAS_KERNELS,
    add,
    attend_joined,
    attend_text,
    gate,
    group_norm,
    layer_norm,
)

CAPABILITY = (8, 0)
"""Compute capability from which the kernels are used: the first with bfloat16."""
TOLERANCE = 0.02
"""How far a kernel may be from torch in float32, as a share of the norm: a few roundings of bfloat16."""

Work = Callable[..., torch.Tensor]
Shapes = Sequence[tuple[int, ...]]

log = logging.getLogger(__name__)


def usable(x: torch.Tensor) -> bool:
    """Whether the kernels compute on such tensors."""
    return x.is_cuda and _works(x.dtype, x.device.index)


def works(dtype: torch.dtype) -> bool:
    """Whether the kernels compute in a dtype on the current card; says why where they do not, once."""
    return torch.cuda.is_available() and _works(dtype, torch.cuda.current_device())


@cache
def _works(dtype: torch.dtype, card: int) -> bool:
    """Try every kernel on a card.

    Nothing is trained in float16, so no gradients are tried in it, nor made ready.
    """
    if not HAS_KERNELS or dtype not in (*HALF, torch.float32):
        return False
    if torch.cuda.get_device_capability(card) < CAPABILITY:
        return False
    place = torch.device("cuda", card)
    try:
        with torch.cuda.device(place), torch.inference_mode(False), torch.set_grad_enabled(True):
            apart = [difference(work, shapes, dtype, place) for work, shapes in cases(dtype)]
    except Exception as problem:  # whatever a compiler, or its absence, may say: torch computes without it
        log.warning("computing without Triton's kernels, so slower: %s", str(problem).strip().partition("\n")[0])
        return False
    wrong = [each for each in apart if not each <= TOLERANCE]  # NaN among them
    if wrong:
        log.warning("computing without Triton's kernels, so slower: here they are %.1e apart from torch", wrong[0])
    return not wrong


def cases(dtype: torch.dtype) -> Sequence[tuple[Work, Shapes]]:
    """List what is tried: functions of tensors, and the tensors' shapes, of which Kolors has multiples."""
    grouped = nn.GroupNorm(32, 320).requires_grad_(False)
    lined = {width: nn.LayerNorm(width).requires_grad_(False) for width in (640, 1280)}
    pictures, narrow, wide = (2, 320, 32, 32), (2, 128, 640), (2, 128, 1280)

    def summed(x: torch.Tensor, added: torch.Tensor | None = None) -> torch.Tensor:
        return torch.cat(layer_norm(lined[x.shape[-1]].to(x), x, added))

    everywhere: Sequence[tuple[Work, Shapes]] = (
        (lambda x: group_norm(grouped.to(x), x), (pictures,)),
        (lambda x: group_norm(grouped.to(x), x, silu=True), (pictures,)),
        (lambda x, added: group_norm(grouped.to(x), x, added=added.detach(), silu=True), (pictures, (2, 320))),
        (summed, (narrow,)),
        (summed, (narrow, narrow)),
        (summed, (wide, wide)),
        (gate, (narrow,)),
        (lambda x, other, bias: add(x, other, bias.detach()), (pictures, pictures, (320,))),
    )
    attending: Sequence[tuple[Work, Shapes]] = (
        (attend_joined, ((2, 320, 3, 5, 64),)),
        (attend_text, ((2, 320, 5, 64), (2, 256, 2, 5, 64))),
    )
    return (*everywhere, *attending) if dtype in HALF else everywhere


def difference(work: Work, shapes: Shapes, dtype: torch.dtype, place: torch.device) -> float:
    """Give how far results and gradients are from torch's on the CPU in float32, at most, as a share of their norm."""
    chance = torch.Generator().manual_seed(0)
    given = [torch.randn(shape, generator=chance).to(dtype) for shape in shapes]
    slope: torch.Tensor | None = None
    found: list[list[torch.Tensor]] = []
    for where, kind in ((torch.device("cpu"), torch.float32), (place, dtype)):
        inputs = [each.to(where, kind, copy=True).requires_grad_() for each in given]
        y = work(*inputs)
        slope = torch.randn(y.shape, generator=chance).to(dtype) if slope is None else slope
        learns = dtype != torch.float16
        slopes = torch.autograd.grad(y, inputs, slope.to(y), allow_unused=True) if learns else ()
        found.append([each.detach().double().cpu() for each in (y, *slopes) if each is not None])
    apart = [(ours - theirs).norm() / theirs.norm() for theirs, ours in zip(*found, strict=True)]
    return float(torch.stack(apart).max())
