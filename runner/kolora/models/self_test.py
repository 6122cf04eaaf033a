"""Whether a card's kernels can be used: each is run once, and compared with torch."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch
from torch import nn

from kolora.models import torch_ops

triton_ops: Any
try:
    from kolora.models import triton_ops
except ImportError:  # Triton comes with torch on Linux alone
    triton_ops = None

HALF = (torch.float16, torch.bfloat16)
"""What the attention kernels compute in."""
_CAPABILITY = (8, 0)
"""Compute capability from which the kernels are used: the first with bfloat16."""
TOLERANCE = 0.02
"""How far a kernel may be from torch in float32, as a share of the norm: a few roundings of bfloat16."""

Case = Callable[..., torch.Tensor]
"""``case(ops, *tensors)``: one operation of ``torch_ops`` or ``triton_ops``."""
Shapes = Sequence[tuple[int, ...]]

log = logging.getLogger(__name__)


@cache
def usable(dtype: torch.dtype, card: int) -> bool:
    """Run every kernel on a card in a dtype; says why the kernels are not used where they err or do not compile.

    Nothing is trained in float16, so no gradients are computed in it, nor made ready.
    """
    if triton_ops is None or dtype not in (*HALF, torch.float32):
        return False
    if torch.cuda.get_device_capability(card) < _CAPABILITY:
        return False
    place = torch.device("cuda", card)
    try:
        # The first to ask is often in inference mode, where no gradient could be compared.
        with torch.cuda.device(place), torch.inference_mode(False), torch.set_grad_enabled(True):
            apart = [difference(case, shapes, dtype, place, ops=triton_ops) for case, shapes in cases(dtype)]
    except Exception as problem:  # whatever a compiler, or its absence, may say: torch computes without it
        log.warning("computing without Triton's kernels, so slower: %s", str(problem).strip().partition("\n")[0])
        return False
    wrong = [each for each in apart if not each <= TOLERANCE]  # NaN among them
    if wrong:
        log.warning("computing without Triton's kernels, so slower: here they are %.1e apart from torch", wrong[0])
    return not wrong


def usable_here(dtype: torch.dtype) -> bool:
    """Whether the kernels compute in a dtype on the current card, if there is one."""
    return torch.cuda.is_available() and usable(dtype, torch.cuda.current_device())


def cases(dtype: torch.dtype) -> Sequence[tuple[Case, Shapes]]:
    """List what is run: operations, and the shapes of their tensors, of which Kolors has multiples."""
    grouped = nn.GroupNorm(32, 320).requires_grad_(False)
    lined = {width: nn.LayerNorm(width).requires_grad_(False) for width in (640, 1280)}
    pictures, narrow, wide = (2, 320, 32, 32), (2, 128, 640), (2, 128, 1280)

    def group_norm(ops: Any, x: torch.Tensor, added: torch.Tensor | None = None, *, silu: bool = True) -> torch.Tensor:
        y: torch.Tensor = ops.group_norm(grouped.to(x), x, added=None if added is None else added.detach(), silu=silu)
        return y

    def layer_norm(ops: Any, x: torch.Tensor, added: torch.Tensor | None = None) -> torch.Tensor:
        return torch.cat(ops.layer_norm(lined[x.shape[-1]].to(x), x, added))

    everywhere: Sequence[tuple[Case, Shapes]] = (
        (lambda ops, x: group_norm(ops, x, silu=False), (pictures,)),
        (group_norm, (pictures,)),
        (group_norm, (pictures, (2, 320))),
        (layer_norm, (narrow,)),
        (layer_norm, (narrow, narrow)),
        (layer_norm, (wide, wide)),
        (lambda ops, x: ops.gate(x), (narrow,)),
        (lambda ops, x, other, bias: ops.add(x, other, bias.detach()), (pictures, pictures, (320,))),
    )
    attending: Sequence[tuple[Case, Shapes]] = (
        (lambda ops, qkv: ops.attend_joined(qkv), ((2, 320, 3, 5, 64),)),
        (lambda ops, q, kv: ops.attend_text(q, kv), ((2, 320, 5, 64), (2, 256, 2, 5, 64))),
    )
    return (*everywhere, *attending) if dtype in HALF else everywhere


def difference(case: Case, shapes: Shapes, dtype: torch.dtype, place: torch.device, *, ops: Any = torch_ops) -> float:
    """Give how far results and gradients are from torch's on the CPU in float32, at most, as a share of their norm."""
    rng = torch.Generator().manual_seed(0)
    # Rounded to the dtype first: both then start from the same numbers.
    given = [torch.randn(shape, generator=rng).to(dtype) for shape in shapes]
    slope: torch.Tensor | None = None
    found: list[list[torch.Tensor]] = []
    for by, where, kind in ((torch_ops, torch.device("cpu"), torch.float32), (ops, place, dtype)):
        inputs = [each.to(where, kind, copy=True).requires_grad_() for each in given]
        y = case(by, *inputs)
        slope = torch.randn(y.shape, generator=rng).to(dtype) if slope is None else slope
        learns = dtype != torch.float16
        slopes = torch.autograd.grad(y, inputs, slope.to(y), allow_unused=True) if learns else ()
        found.append([each.detach().double().cpu() for each in (y, *slopes) if each is not None])
    # As a share of the whole: single elements near 0 are far apart by any rounding.
    apart = [(ours - theirs).norm() / theirs.norm() for theirs, ours in zip(*found, strict=True)]
    return float(torch.stack(apart).max())
