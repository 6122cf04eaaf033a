"""Element by element: the gated activation of a transformer layer, and sums of features with biases of channels."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

BLOCK = 1024
"""Elements that a program computes."""


@triton.jit
def _gate(projected, y, width, BLOCK: tl.constexpr):
    """Write value * gelu(gate), whose two halves lie side by side in every row."""
    row = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = column < width
    value = tl.load(projected + row * 2 * width + column, mask=inside, other=0.0).to(tl.float32)
    gate = tl.load(projected + row * 2 * width + width + column, mask=inside, other=0.0).to(tl.float32)
    value *= gate * 0.5 * (1 + tl.math.erf(gate * 0.7071067811865476))
    tl.store(y + row * width + column, value.to(y.dtype.element_ty), mask=inside)


@triton.jit
def _gate_gradient(dy, projected, dprojected, width, BLOCK: tl.constexpr):
    """Write the gradients of both halves."""
    row = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = column < width
    at = row * 2 * width + column
    slope = tl.load(dy + row * width + column, mask=inside, other=0.0).to(tl.float32)
    value = tl.load(projected + at, mask=inside, other=0.0).to(tl.float32)
    gate = tl.load(projected + at + width, mask=inside, other=0.0).to(tl.float32)
    share = 0.5 * (1 + tl.math.erf(gate * 0.7071067811865476))
    density = 0.3989422804014327 * tl.math.exp2(gate * gate * -0.7213475204444817)
    tl.store(dprojected + at, (slope * gate * share).to(dy.dtype.element_ty), mask=inside)
    tl.store(dprojected + at + width, (slope * value * (share + gate * density)).to(dy.dtype.element_ty), mask=inside)


def gate(projected: torch.Tensor) -> torch.Tensor:
    """Turn (..., 2 W), contiguous, into (..., W): the first half times the Gaussian error unit of the second."""
    width = projected.shape[-1] // 2
    y = projected.new_empty((*projected.shape[:-1], width))
    _gate[(y.numel() // width, triton.cdiv(width, BLOCK))](projected, y, width, BLOCK=BLOCK)
    return y


def gate_gradient(dy: torch.Tensor, projected: torch.Tensor) -> torch.Tensor:
    """Give the gradient of ``gate``'s input; dy contiguous."""
    width = dy.shape[-1]
    dprojected = torch.empty_like(projected)
    grid = (dy.numel() // width, triton.cdiv(width, BLOCK))
    _gate_gradient[grid](dy, projected, dprojected, width, BLOCK=BLOCK)
    return dprojected


@triton.jit
def _add(x, other, bias, y, elements, channels, BLOCK: tl.constexpr):
    """Write x + other + the bias of each element's channel."""
    first = tl.program_id(0).to(tl.int64) * BLOCK
    at = first + tl.arange(0, BLOCK)
    inside = at < elements
    channel = ((first % channels).to(tl.int32) + tl.arange(0, BLOCK)) % channels
    value = tl.load(x + at, mask=inside, other=0.0).to(tl.float32)
    value += tl.load(other + at, mask=inside, other=0.0).to(tl.float32)
    value += tl.load(bias + channel, mask=inside, other=0.0).to(tl.float32)
    tl.store(y + at, value.to(y.dtype.element_ty), mask=inside)


def add(x: torch.Tensor, other: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """Add up two tensors (B, C, H, W), both channels last in memory, and a bias (C,)."""
    y = torch.empty_like(x)
    _add[(triton.cdiv(x.numel(), BLOCK),)](x, other, bias, y, x.numel(), x.shape[1], BLOCK=BLOCK)
    return y
