"""What is right and wrong with this machine, one line each."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from runner.cli.stories import cache_folder
from runner.device import cpu_name, gpu_count
from runner.execute import PACKAGES
from runner.hubs.checkpoints import KOLORS, POCKET

KOLORS_BYTES = 18 * 10**9
SMALL_SHM = 512 * 2**20


def diagnose() -> Iterator[tuple[bool, str, str]]:
    """Yield whether a thing is well, what it is, and what to do where it is not."""
    version = ".".join(map(str, sys.version_info[:3]))
    yield sys.version_info[:2] in ((3, 11), (3, 12)), f"Python {version}", "use Python 3.11 or 3.12"
    for name in PACKAGES:
        try:
            yield True, f"{name} {importlib.metadata.version(name)}", ""
        except importlib.metadata.PackageNotFoundError:
            yield False, f"{name} is not installed", "make setup"
    yield True, f"{cpu_name()}, {os.cpu_count()} cores", ""
    gpus = gpu_count()
    yield (
        gpus > 0,
        f"{gpus} NVIDIA GPU(s)" if gpus else "no NVIDIA GPU",
        "Kolors needs one (docker run --gpus all); pocket stories do not",
    )
    yield POCKET.is_dir(), "the pocket checkpoint is there", "install kolora with its data files"
    cache = cache_folder()
    has_kolors = (cache / "models" / KOLORS.id).is_dir()
    yield (
        has_kolors,
        f"Kolors is {'in' if has_kolors else 'not in'} the cache {cache}",
        f"put {KOLORS.id} into {cache / 'models' / KOLORS.id}, or set model.checkpoint to its folder",
    )
    parent = next(folder for folder in (cache, *cache.parents) if folder.exists())
    free = shutil.disk_usage(parent).free
    yield free > KOLORS_BYTES, f"{free / 1e9:.0f} GB free for the cache", "Kolors takes 18 GB"
    shm = Path("/dev/shm")  # noqa: S108 - its size is asked, nothing is put there
    if shm.is_dir():
        size = shutil.disk_usage(shm).total
        yield size >= SMALL_SHM, f"shared memory of {size / 2**20:.0f} MiB", "none needed: kolora loads data in-process"
