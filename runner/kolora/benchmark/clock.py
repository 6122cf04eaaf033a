"""Timing and memory of what runs on a GPU as well as on a CPU."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from statistics import median

import torch


def moment(device: str) -> float:
    """Give the time in seconds, all work given to the device being done."""
    if device == "cuda":
        # Kernels are only queued when a call returns.
        torch.cuda.synchronize()
    return time.perf_counter()


def seconds(work: Callable[[], object], *, device: str, repeats: int, warm_ups: int) -> float:
    """Give the median time of a call, after calls that do not count."""
    for _ in range(warm_ups):
        work()
    taken = []
    for _ in range(repeats):
        began = moment(device)
        work()
        taken.append(moment(device) - began)
    return median(taken)


def matrix_rate(*, device: str, dtype: torch.dtype) -> float:
    """Measure the rate of a large matrix product, in operations a second."""
    # Large enough to reach the card's ceiling: 753 TFLOP/s in fp16 on an H200, 2026-11.
    side = 8192 if device == "cuda" else 1024
    left, right = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    return 2 * side**3 / seconds(lambda: left @ right, device=device, repeats=9, warm_ups=3)


def forget(device: str) -> None:
    """Give back the memory of what is gone, and count the peak anew."""
    gc.collect()
    if device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def peak(device: str) -> int | None:
    """Give the most memory that was in use on the GPU since ``forget``, in bytes."""
    return torch.cuda.max_memory_allocated() if device == "cuda" else None
