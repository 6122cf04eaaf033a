"""The networks' elementwise work and attention by Triton's kernels, one pass over memory each, forward and backward.

Every function here computes with kernels, whatever they are worth on the card there is: ``kolora.models.ops`` decides
whether one is called. Weights and biases are frozen: no gradient reaches them.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from kolora.models.kernels import attention, elements, norms


def group_norm(
    norm: nn.GroupNorm, x: torch.Tensor, *, added: torch.Tensor | None = None, silu: bool = False
) -> torch.Tensor:
    """Do what ``kolora.models.ops.group_norm`` does."""
    return _GroupNorm.apply(x, added, norm.weight, norm.bias, norm.num_groups, norm.eps, silu)  # type: ignore[no-any-return, no-untyped-call]


def layer_norm(norm: nn.LayerNorm, x: torch.Tensor, added: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
    """Do what ``kolora.models.ops.layer_norm`` does."""
    return _LayerNorm.apply(x, added, norm.weight, norm.bias, norm.eps)  # type: ignore[no-any-return, no-untyped-call]


def gate(projected: torch.Tensor) -> torch.Tensor:
    """Do what ``kolora.models.ops.gate`` does."""
    return _Gate.apply(projected)  # type: ignore[no-any-return, no-untyped-call]


def add(x: torch.Tensor, other: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """Do what ``kolora.models.ops.add`` does."""
    return _Add.apply(x, other, bias)  # type: ignore[no-any-return, no-untyped-call]


def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Do what ``kolora.models.ops.attend`` does, without gradients."""
    return attention.attend(q, k, v)[0]


def attend_joined(qkv: torch.Tensor) -> torch.Tensor:
    """Do what ``kolora.models.ops.attend_joined`` does, with gradients."""
    return _SelfAttention.apply(qkv)  # type: ignore[no-any-return, no-untyped-call]


def attend_text(q: torch.Tensor, kv: torch.Tensor) -> torch.Tensor:
    """Do what ``kolora.models.ops.attend_text`` does, with gradients."""
    return _CrossAttention.apply(q, kv)  # type: ignore[no-any-return, no-untyped-call]


def _channels_last(x: torch.Tensor) -> torch.Tensor:
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
        x = _channels_last(x)
        y, *made = norms.group_norm(x, added, weight, bias, groups=groups, eps=eps, silu=silu)
        ctx.save_for_backward(x, added, weight, bias, *made)
        ctx.silu = silu
        return y

    @staticmethod
    def backward(ctx: Any, *slopes: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        dx = norms.group_norm_gradient(_channels_last(slopes[0]), *ctx.saved_tensors, silu=ctx.silu)
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
        # A slope that nobody gives stays None: zeros would be read and added for nothing.
        ctx.set_materialize_grads(False)
        ctx.adds = added is not None
        return (total if ctx.adds else total.view_as(total)), y

    @staticmethod
    def backward(ctx: Any, *slopes: torch.Tensor | None) -> tuple[torch.Tensor | None, ...]:
        more, dy = (None if each is None else each.contiguous() for each in slopes)
        dx = more if dy is None else norms.layer_norm_gradient(dy, more, *ctx.saved_tensors)
        # A sum gives both its parts the same slope.
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
        return elements.add(_channels_last(x), _channels_last(other), bias)

    @staticmethod
    def backward(_: Any, *slopes: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        return slopes[0], slopes[0], None


class _SelfAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, qkv: torch.Tensor) -> torch.Tensor:
        # lse: logarithms of the softmax's sums, from which the backward pass makes the probabilities again
        # (FlashAttention, arXiv 2205.14135).
        q, k, v = qkv.unbind(2)
        y, lse = attention.attend(q, k, v)
        ctx.save_for_backward(qkv, y, lse)
        return y

    @staticmethod
    def backward(ctx: Any, *slopes: torch.Tensor) -> torch.Tensor:
        qkv, y, lse = ctx.saved_tensors
        # Side by side as well, so the joined projection's gradient is one product.
        dqkv = torch.empty_like(qkv)
        q, k, v = qkv.unbind(2)
        dq, dk, dv = dqkv.unbind(2)
        attention.attend_gradient(slopes[0].contiguous(), q, k, v, y, lse, dq, dk, dv)
        return dqkv


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
