"""Which device there is, asked of the driver itself: no torch, a few milliseconds."""

from __future__ import annotations

import ctypes
import os
import platform
from functools import cache
from pathlib import Path

from kolora.errors import DeviceUnusable


@cache
def gpu_count() -> int:
    """Count the NVIDIA GPUs this process may use; 0 without a driver."""
    # -1 hides every card by CUDA's own rule; NoDevFiles is what Slurm writes for a job without one.
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1", "NoDevFiles"):
        return 0
    try:
        # It comes with the driver, not with CUDA: where it is absent, torch finds no GPU either.
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
    # The name without _v2 is the old entry point, which tells sizes in 32 bits.
    if driver.cuDeviceGet(ctypes.byref(device), 0) != 0 or driver.cuDeviceTotalMem_v2(ctypes.byref(size), device) != 0:
        return None
    return size.value


def find_device(wanted: str | None = None) -> str:
    """Choose "cuda" or "cpu": what was wanted, else a GPU where there is one. Raises DeviceUnusable."""
    if wanted == "cuda" and not gpu_count():
        raise DeviceUnusable(
            "--device cuda was asked for, and there is no NVIDIA GPU here",
            hint="docker run --gpus all ..., or --device cpu",
        )
    return wanted or ("cuda" if gpu_count() else "cpu")


def device_class(device: str) -> str:
    """Name what the bits of a result depend on: a card's model, architecture and size; a processor's instructions.

    device: "cuda" or "cpu". cuBLAS repeats bits only on the same architecture and number of multiprocessors.
    """
    if device == "cpu":
        return f"{platform.machine()} {_instructions()}".strip()
    if not gpu_count():
        return "no GPU"
    driver = ctypes.CDLL("libcuda.so.1")
    name, card = ctypes.create_string_buffer(256), ctypes.c_int(0)
    driver.cuDeviceGet(ctypes.byref(card), 0)
    driver.cuDeviceGetName(name, len(name), card)
    major, minor, size = (_attribute(driver, card, number) for number in (75, 76, 16))
    return f"{name.value.decode(errors='replace')} sm_{major}{minor} {size} SM"


def gpu_architecture() -> tuple[int, int]:
    """Give the first GPU's architecture, its compute capability's first digit, and how many multiprocessors it has."""
    driver, card = ctypes.CDLL("libcuda.so.1"), ctypes.c_int(0)
    driver.cuDeviceGet(ctypes.byref(card), 0)
    return _attribute(driver, card, 75), _attribute(driver, card, 16)


def _attribute(driver: ctypes.CDLL, card: ctypes.c_int, number: int) -> int:
    """Ask for one of CUdevice_attribute: 75 and 76 are the architecture, 16 the multiprocessors."""
    value = ctypes.c_int(0)
    driver.cuDeviceGetAttribute(ctypes.byref(value), number, card)
    return value.value


def _instructions() -> str:
    """Name the widest vectors that torch would use here."""
    flags = _cpu_lines("flags")
    # torch's AVX512 kernels need its VL part, which not every processor with AVX512 has.
    return next((name for name, flag in (("AVX512", "avx512vl"), ("AVX2", "avx2")) if flag in flags), "")


def cpu_name() -> str:
    """Name the processor as its vendor does."""
    return _cpu_lines("model name") or platform.processor() or platform.machine()


def _cpu_lines(key: str) -> str:
    """Read what Linux says of the first processor; empty where it does not."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(key)), "")
