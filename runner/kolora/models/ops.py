"""What networks compute between products and convolutions: by Triton's kernels where these can be trusted, or by torch.

The one place that decides is ``uses_kernels``: on a GPU whose self-test the kernels passed. Each function may be called
on any tensor, and where a kernel cannot give a gradient that is asked for, torch computes as well.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend

from kolora.models import torch_ops
from kolora.models.self_test import HALF, triton_ops, usable

HEADS = (16, 32, 64, 128)
"""Widths of a head that the attention kernels take."""
# (4, 4096, 10, 64) in bf16 on an H200, 2026-11, forward / gradients: flash 588 / 2621 us, cuDNN 382 / 990,
# Triton 413 / 1240. Triton's gradients repeat their bits, cuDNN's do not.
LONG = 2048
"""Keys from which cuDNN attends faster, where torch has it; it has no gradients that repeat their bits."""


def uses_kernels(x: torch.Tensor) -> bool:
    """Whether kernels compute on tensors like ``x``: whether they passed the self-test on its card, in its dtype."""
    return x.is_cuda and usable(x.dtype, x.device.index)


def _ops(x: torch.Tensor, *constants: torch.Tensor | None) -> Any:
    """Choose for ``x``. To constants no kernel gives a gradient."""
    is_trained = any(each is not None and each.requires_grad for each in constants)
    return triton_ops if uses_kernels(x) and not is_trained else torch_ops


def group_norm(
    norm: nn.GroupNorm, x: torch.Tensor, *, added: torch.Tensor | None = None, silu: bool = False
) -> torch.Tensor:
    """Normalise x (B, C, H, W) + added (B, C) within groups of channels, perhaps through SiLU; channels last."""
    y: torch.Tensor = _ops(x, norm.weight, norm.bias, added).group_norm(norm, x, added=added, silu=silu)
    return y


def layer_norm(norm: nn.LayerNorm, x: torch.Tensor, added: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
    """Give x + added, both (..., C), and it normalised; nothing added leaves x."""
    both: tuple[torch.Tensor, torch.Tensor] = _ops(x, norm.weight, norm.bias).layer_norm(norm, x, added)
    return both


def gate(projected: torch.Tensor) -> torch.Tensor:
    """Turn (..., 2 W) into (..., W): the first half times the Gaussian error unit of the second."""
    y: torch.Tensor = _ops(projected).gate(projected)
    return y


def add(x: torch.Tensor, other: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """Add up two tensors (B, C, H, W), channels last, and a bias (C,)."""
    y: torch.Tensor = _ops(x, bias).add(x, other, bias)
    return y


def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Attend with queries (B, S, heads, D) to keys and values (B, T, heads, D)."""
    is_for_cudnn = k.shape[1] >= LONG and hasattr(SDPBackend, "CUDNN_ATTENTION")
    if _heads_fit(q) and not is_for_cudnn:
        # All three as constants: this kernel alone has no backward pass.
        y: torch.Tensor = _ops(q, q, k, v).attend(q, k, v)
        return y
    return torch_ops.attend(q, k, v)


def attend_joined(qkv: torch.Tensor) -> torch.Tensor:
    """Attend with queries to keys and values that lie beside them: (B, S, 3, heads, D) to (B, S, heads, D)."""
    if _heads_fit(qkv) and qkv.requires_grad:
        y: torch.Tensor = _ops(qkv).attend_joined(qkv)
        return y
    return attend(*qkv.unbind(2))


def attend_text(q: torch.Tensor, kv: torch.Tensor) -> torch.Tensor:
    """Attend with queries (B, S, heads, D) to a text's keys and values, side by side: (B, T, 2, heads, D)."""
    if _heads_fit(q) and (q.requires_grad or kv.requires_grad):
        y: torch.Tensor = _ops(q).attend_text(q, kv)
        return y
    return attend(q, *kv.unbind(2))


def _heads_fit(x: torch.Tensor) -> bool:
    """Whether the attention kernels take heads (..., D) of this width and dtype."""
    return x.dtype in HALF and x.shape[-1] in HEADS
