"""What is right and wrong with this machine, one line each."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from kolora.device import cpu_name, gpu_count
from kolora.execution.provenance import PACKAGES
from kolora.files import exists
from kolora.hubs.catalogue import KOLORS, POCKET, find_in_cache
from kolora.places import cache_folder

SMALL_SHM = 512 * 2**20
COMPILERS = ("gcc", "clang")
"""The compilers that Triton looks for where CC names none."""


def diagnose() -> Iterator[tuple[bool, str, str]]:
    """Yield whether a thing is well, what it is, and what to do where it is not."""
    version = ".".join(map(str, sys.version_info[:3]))
    yield sys.version_info[:2] in ((3, 11), (3, 12)), f"Python {version}", "use Python 3.11 or 3.12"
    for name in PACKAGES:
        try:
            yield True, f"{name} {importlib.metadata.version(name)}", ""
        except importlib.metadata.PackageNotFoundError:
            yield False, f"{name} is not installed", "install kolora again, with its dependencies"
    yield True, f"{cpu_name()}, {os.cpu_count()} cores", ""
    gpus = gpu_count()
    yield (
        gpus > 0,
        f"{gpus} NVIDIA GPU(s)" if gpus else "no NVIDIA GPU",
        "Kolors needs one (docker run --gpus all); pocket stories do not",
    )
    if gpus:
        missing = " and no ".join(_missing_for_kernels())
        yield (
            not missing,
            f"kernels cannot be compiled: there is no {missing}" if missing else "kernels can be compiled",
            "apt install gcc libc6-dev python3-dev; torch computes without kernels, slower",
        )
    yield POCKET.is_dir(), "the pocket checkpoint is there", "install kolora with its data files"
    cache = cache_folder()
    has_kolors = find_in_cache(KOLORS, cache=cache) is not None
    yield (
        has_kolors,
        f"Kolors is {'in' if has_kolors else 'not in'} the cache {cache}",
        "a run downloads it (kolora fetch STORY does before), or set model.checkpoint to its folder",
    )
    # The cache may not be there yet: the nearest folder that is tells its disk.
    parent = next(folder for folder in (cache, *cache.parents) if exists(folder))
    free = shutil.disk_usage(parent).free
    yield free > KOLORS.bytes, f"{free / 1e9:.0f} GB free for the cache", f"Kolors takes {KOLORS.bytes / 1e9:.0f} GB"
    shm = Path("/dev/shm")  # noqa: S108 - its size is asked, nothing is put there
    if shm.is_dir():
        size = shutil.disk_usage(shm).total
        yield (
            # Data is loaded in-process; only NCCL, between several GPUs, uses shared memory.
            size >= SMALL_SHM or gpus < 2,
            f"shared memory of {size / 2**20:.0f} MiB",
            "for lora.devices above 1: docker run --shm-size 1g",
        )


def _missing_for_kernels() -> Iterator[str]:
    """Yield what Triton would look for in vain when it builds the launchers of its kernels."""
    named = os.environ.get("CC")
    if not any(shutil.which(each) for each in ([named] if named else COMPILERS)):
        yield "C compiler"
    if not (Path(sysconfig.get_path("include")) / "Python.h").is_file():
        yield "Python.h"
