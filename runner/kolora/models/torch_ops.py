"""The networks' elementwise work and attention by torch: what kernels are compared with, and what stands in for them.

``kolora.models.ops`` says what each function does, and whether it is called.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


def group_norm(
    norm: nn.GroupNorm, x: torch.Tensor, *, added: torch.Tensor | None = None, silu: bool = False
) -> torch.Tensor:
    """Do what ``kolora.models.ops.group_norm`` does."""
    x = x if added is None else x + added[:, :, None, None]
    y = F.group_norm(x, norm.num_groups, norm.weight, norm.bias, norm.eps)
    return F.silu(y) if silu else y


def layer_norm(norm: nn.LayerNorm, x: torch.Tensor, added: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
    """Do what ``kolora.models.ops.layer_norm`` does."""
    total = x if added is None else added + x
    return total, norm(total)


def gate(projected: torch.Tensor) -> torch.Tensor:
    """Do what ``kolora.models.ops.gate`` does."""
    value, gated = projected.chunk(2, dim=-1)
    return value * F.gelu(gated)


def add(x: torch.Tensor, other: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """Do what ``kolora.models.ops.add`` does."""
    return x + (other + bias[:, None, None])


def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Do what ``kolora.models.ops.attend`` does."""
    # torch wants (B, heads, S, D).
    q, k, v = (each.transpose(1, 2) for each in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2)


def attend_joined(qkv: torch.Tensor) -> torch.Tensor:
    """Do what ``kolora.models.ops.attend_joined`` does."""
    return attend(*qkv.unbind(2))


def attend_text(q: torch.Tensor, kv: torch.Tensor) -> torch.Tensor:
    """Do what ``kolora.models.ops.attend_text`` does."""
    return attend(q, *kv.unbind(2))
