"""What networks compute between their products and convolutions, in one pass over memory each, forward and backward.

On a GPU the kernels of ``kolora.models.kernels`` compute it, elsewhere torch does, by the same functions; whether these
kernels can be used is for ``kolora.models.self_test`` to say. Weights and biases are frozen: no gradient reaches them.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.attention import SDPBackend

try:
    from kolora.models.kernels import attention, elements, norms
except ImportError:  # Triton comes with torch on Linux alone
    HAS_KERNELS = False
else:
    HAS_KERNELS = True

HALF = (torch.float16, torch.bfloat16)
"""What the attention kernels compute in."""
HEADS = (16, 32, 64, 128)
"""Widths of a head that they take."""
LONG = 2048
"""Keys from which cuDNN attends faster, where torch has it; it has no gradients that repeat their bits."""


def group_norm(
    norm: nn.GroupNorm, x: torch.Tensor, *, added: torch.Tensor | None = None, silu: bool = False
) -> torch.Tensor:
    """Normalise x (B, C, H, W) + added (B, C) within groups of channels, perhaps through SiLU; channels last."""
    if x.is_cuda:
        return _GroupNorm.apply(x, added, norm.weight, norm.bias, norm.num_groups, norm.eps, silu)  # type: ignore[no-any-return, no-untyped-call]
    x = x if added is None else x + added[:, :, None, None]
    y = F.group_norm(x, norm.num_groups, norm.weight, norm.bias, norm.eps)
    return F.silu(y) if silu else y


def layer_norm(norm: nn.LayerNorm, x: torch.Tensor, added: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
    """Give x + added, both (..., C), and it normalised; nothing added leaves x."""
    if x.is_cuda:
        return _LayerNorm.apply(x, added, norm.weight, norm.bias, norm.eps)  # type: ignore[no-any-return, no-untyped-call]
    total = x if added is None else added + x
    return total, norm(total)


def gate(projected: torch.Tensor) -> torch.Tensor:
    """Turn (..., 2 W) into (..., W): the first half times the Gaussian error unit of the second."""
    if projected.is_cuda:
        return _Gate.apply(projected)  # type: ignore[no-any-return, no-untyped-call]
    value, gated = projected.chunk(2, dim=-1)
    return value * F.gelu(gated)


def add(x: torch.Tensor, other: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """Add up two tensors (B, C, H, W), channels last, and a bias (C,)."""
    if x.is_cuda:
        return _Add.apply(x, other, bias)  # type: ignore[no-any-return, no-untyped-call]
    return x + (other + bias[:, None, None])


def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Attend with queries (B, S, heads, D) to keys and values (B, T, heads, D); the kernels give it no gradient."""
    if _has_kernels(q) and not (k.shape[1] >= LONG and hasattr(SDPBackend, "CUDNN_ATTENTION")):
        return attention.attend(q, k, v)[0]
    q, k, v = (each.transpose(1, 2) for each in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2)


def attend_joined(qkv: torch.Tensor) -> torch.Tensor:
    """Attend with queries to keys and values that lie beside them: (B, S, 3, heads, D) to (B, S, heads, D)."""
    if _has_kernels(qkv) and qkv.requires_grad:
        return _SelfAttention.apply(qkv)  # type: ignore[no-any-return, no-untyped-call]
    return attend(*qkv.unbind(2))


def attend_text(q: torch.Tensor, kv: torch.Tensor) -> torch.Tensor:
    """Attend with queries (B, S, heads, D) to a text's keys and values, side by side: (B, T, 2, heads, D)."""
    if _has_kernels(q) and (q.requires_grad or kv.requires_grad):
        return _CrossAttention.apply(q, kv)  # type: ignore[no-any-return, no-untyped-call]
    return attend(q, *kv.unbind(2))


def _has_kernels(x: torch.Tensor) -> bool:
    return x.is_cuda and x.dtype in HALF and x.shape[-1] in HEADS


def _last(x: torch.Tensor) -> torch.Tensor:
    return x.contiguous(memory_format=torch.channels_last)


class _GroupNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        added: torch.Tensor | None,
        weight: torch.Tensor,
        bias: torch.Tensor,
        groups: int,
        eps: float,
        silu: bool,
    ) -> torch.Tensor:
        assert not any(ctx.needs_input_grad[1:]), "weights that are trained"
        x = _last(x)
        y, *made = norms.group_norm(x, added, weight, bias, groups=groups, eps=eps, silu=silu)
        ctx.save_for_backward(x, added, weight, bias, *made)
        ctx.silu = silu
        return y

    @staticmethod
    def backward(ctx: Any, *slopes: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        dx = norms.group_norm_gradient(_last(slopes[0]), *ctx.saved_tensors, silu=ctx.silu)
        return dx, None, None, None, None, None, None


class _LayerNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, added: torch.Tensor | None, weight: torch.Tensor, bias: torch.Tensor, eps: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        assert not any(ctx.needs_input_grad[2:]), "weights that are trained"
        added = None if added is None else added.contiguous()
        total, y, *made = norms.layer_norm(x.contiguous(), added, weight, bias, eps=eps)
        ctx.save_for_backward(total, weight, *made)
        ctx.set_materialize_grads(False)
        ctx.adds = added is not None
        return (total if ctx.adds else total.view_as(total)), y

    @staticmethod
    def backward(ctx: Any, *slopes: torch.Tensor | None) -> tuple[torch.Tensor | None, ...]:
        more, dy = (None if each is None else each.contiguous() for each in slopes)
        dx = more if dy is None else norms.layer_norm_gradient(dy, more, *ctx.saved_tensors)
        return dx, (dx if ctx.adds else None), None, None, None


class _Gate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, projected: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(projected)
        return elements.gate(projected)

    @staticmethod
    def backward(ctx: Any, *slopes: torch.Tensor) -> torch.Tensor:
        return elements.gate_gradient(slopes[0].contiguous(), *ctx.saved_tensors)


class _Add(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, other: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        assert not ctx.needs_input_grad[2], "a bias that is trained"
        return elements.add(_last(x), _last(other), bias)

    @staticmethod
    def backward(_: Any, *slopes: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        return slopes[0], slopes[0], None


class _SelfAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, qkv: torch.Tensor) -> torch.Tensor:
        q, k, v = qkv.unbind(2)
        y, lse = attention.attend(q, k, v)
        ctx.save_for_backward(qkv, y, lse)
        return y

    @staticmethod
    def backward(ctx: Any, *slopes: torch.Tensor) -> torch.Tensor:
        qkv, y, lse = ctx.saved_tensors
        given = torch.empty_like(qkv)
        q, k, v = qkv.unbind(2)
        dq, dk, dv = given.unbind(2)
        attention.attend_gradient(slopes[0].contiguous(), q, k, v, y, lse, dq, dk, dv)
        return given


class _CrossAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: torch.Tensor, kv: torch.Tensor) -> torch.Tensor:
        k, v = kv.unbind(2)
        y, lse = attention.attend(q, k, v)
        ctx.save_for_backward(q, kv, y, lse)
        return y

    @staticmethod
    def backward(ctx: Any, *slopes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        q, kv, y, lse = ctx.saved_tensors
        dq, dkv = torch.empty_like(q), torch.empty_like(kv)
        k, v = kv.unbind(2)
        dk, dv = dkv.unbind(2)
        attention.attend_gradient(slopes[0].contiguous(), q, k, v, y, lse, dq, dk, dv)
        return dq, dkv
