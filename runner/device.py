"""Which device there is, asked of the driver itself: no torch, a few milliseconds."""

from __future__ import annotations

import ctypes
import os
import platform
from functools import cache
from pathlib import Path


@cache
def gpu_count() -> int:
    """Count the NVIDIA GPUs this process may use; 0 without a driver."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1", "NoDevFiles"):
        return 0
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value


@cache
def gpu_memory() -> int | None:
    """Give the bytes of the first GPU's memory, the part that others use included; None without a driver."""
    if not gpu_count():
        return None
    driver = ctypes.CDLL("libcuda.so.1")
    device, size = ctypes.c_int(0), ctypes.c_size_t(0)
    if driver.cuDeviceGet(ctypes.byref(device), 0) != 0 or driver.cuDeviceTotalMem_v2(ctypes.byref(size), device) != 0:
        return None
    return size.value


def find_device(wanted: str | None = None) -> str:
    """Choose "cuda" or "cpu": what was wanted, else a GPU where there is one."""
    return wanted or ("cuda" if gpu_count() else "cpu")


def cpu_name() -> str:
    """Name the processor as its vendor does."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())
