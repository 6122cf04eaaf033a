"""Seconds, GPU memory, and how far apart two results are."""

from __future__ import annotations

import gc
import time
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from kolora.memory.plan import GIB


class Meter:
    """Seconds and peak GPU memory of what runs inside ``with meter(name)``."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, Any]] = {}

    def __call__(self, name: str) -> AbstractContextManager[None]:
        return _Measured(self, name)


class _Measured(AbstractContextManager[None]):
    def __init__(self, meter: Meter, name: str) -> None:
        self._row = meter.rows.setdefault(name, {"before": 0})

    def __enter__(self) -> None:
        gc.collect()  # a captured graph keeps its memory until its last cycle is broken
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
            self._row["before"] = torch.cuda.memory_allocated()
        self._began = time.monotonic()

    def __exit__(self, *_: object) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
            self._row["allocated"] = torch.cuda.max_memory_allocated()
            self._row["reserved"] = torch.cuda.max_memory_reserved()
        self._row["seconds"] = round(time.monotonic() - self._began, 2)


def row_line(name: str, row: dict[str, Any]) -> str:
    """Put one measurement in words."""
    seen = {key: f"{row[key] / GIB:.2f}" for key in ("before", "allocated", "reserved") if key in row}
    return f"{name:<44} {row['seconds']:>7.2f} s, GiB {seen}"


def psnr(ours: Any, theirs: Any, peak: float) -> tuple[float, float]:
    """Give the peak signal-to-noise ratio in dB, infinite for equals, and the largest difference."""
    difference = np.abs(np.asarray(ours, np.float64) - np.asarray(theirs, np.float64))
    error = float((difference**2).mean())
    return (float("inf") if not error else 10 * float(np.log10(peak**2 / error))), float(difference.max())
