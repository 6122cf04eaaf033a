"""Which attention kernels may be used, where the choice changes more than the speed."""

from __future__ import annotations

import inspect
from contextlib import AbstractContextManager, nullcontext

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

REPEATABLE = (SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH)
"""Kernels whose gradients are the same bits every time under torch's deterministic algorithms, fastest first.

torch lets cuDNN's in as well when it is asked to warn only, and prefers them on some cards.
"""


def repeatable_attention(device: torch.device) -> AbstractContextManager[None]:
    """Let attention in the block use only kernels with repeatable gradients; a CPU has no others."""
    if device.type != "cuda":
        return nullcontext()
    ordered = "set_priority" in inspect.signature(sdpa_kernel).parameters
    return sdpa_kernel(list(REPEATABLE), **({"set_priority": True} if ordered else {}))
