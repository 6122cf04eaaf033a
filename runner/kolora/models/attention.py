"""Which attention kernels are used: for gradients those that repeat their bits, without gradients the fastest."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

_REPEATABLE = ("FLASH_ATTENTION", "EFFICIENT_ATTENTION", "MATH")
"""Kernels whose gradients are the same bits every time, where torch is strict about it; fastest first.

torch lets cuDNN's in as well while it only warns, and flash's then add up in any order.
"""
_FASTEST = ("CUDNN_ATTENTION", *_REPEATABLE)
"""Kernels by their speed forward, each the same every time: cuDNN takes six tenths of the time of flash on an H200."""
_STRICT_FROM = (8, 0)
"""Compute capability from which flash's kernels run; below, the others repeat their bits without being asked."""


@contextmanager
def repeatable_attention(device: torch.device) -> Iterator[None]:
    """Give the same gradients every time in the block; a CPU does so anyhow."""
    if device.type != "cuda":
        yield
        return
    warns_only = torch.is_deterministic_algorithms_warn_only_enabled()
    enabled = torch.are_deterministic_algorithms_enabled()
    is_strict = torch.cuda.is_available() and torch.cuda.get_device_capability(device) >= _STRICT_FROM
    torch.use_deterministic_algorithms(True, warn_only=not is_strict)
    try:
        with _kernels(_REPEATABLE):
            yield
    finally:
        torch.use_deterministic_algorithms(enabled, warn_only=warns_only)


@contextmanager
def fastest_attention(device: torch.device) -> Iterator[None]:
    """Use the fastest kernels in the block, for work without gradients; a CPU chooses for itself."""
    if device.type != "cuda":
        yield
        return
    with _kernels(_FASTEST):
        yield


@contextmanager
def _kernels(names: tuple[str, ...]) -> Iterator[None]:
    """Allow kernels, in this order where torch takes one; a torch that lacks one goes without."""
    backends = [getattr(SDPBackend, name) for name in names if hasattr(SDPBackend, name)]
    # torch 2.3 has no order of its own to set: it takes what it likes best of those allowed.
    ordered = "set_priority" in inspect.signature(sdpa_kernel).parameters
    with sdpa_kernel(backends, **({"set_priority": True} if ordered else {})):
        yield
