"""Where things are kept: run folders, the cache, compiled kernels; and whether the network may be used."""

from __future__ import annotations

import atexit
import os
import shutil
import sysconfig
import tempfile
from pathlib import Path

from kolora.errors import OutputUnwritable

CACHE_VOLUME = Path("/cache")


def out_root() -> Path:
    """Return the folder of run folders: KOLORA_OUT (the image sets it to /out), else ``out``."""
    return Path(os.environ.get("KOLORA_OUT") or "out")


def out_folder(name: str, chosen: Path | None) -> Path:
    """Choose OUT for a story of this name: the folder that was asked for, else NAME in the folder of run folders."""
    return chosen if chosen is not None else out_root() / name


def cache_folder() -> Path:
    """Choose the cache: KOLORA_CACHE, else the volume /cache where it is mounted, else the user's own.

    Raises OutputUnwritable for one that is there and that this user may not look into.
    """
    cache = _cache_place()
    try:
        os.scandir(cache).close()
    except FileNotFoundError:
        return cache
    except OSError as problem:
        raise OutputUnwritable(
            f"the cache {cache} cannot be read: {problem.strerror}",
            hint="name a folder of this user's in KOLORA_CACHE",
        ) from problem
    return cache


def _cache_place() -> Path:
    named = os.environ.get("KOLORA_CACHE")
    if named:
        return Path(named)
    return CACHE_VOLUME if CACHE_VOLUME.is_dir() else Path.home() / ".cache" / "kolora"


def owner_roots() -> tuple[Path, ...]:
    """Return the folders of KOLORA_ROOTS: the machine's owner lets stories and links lead into them."""
    return tuple(Path(each) for each in os.environ.get("KOLORA_ROOTS", "").split(os.pathsep) if each)


def kernel_folder() -> Path:
    """Choose where compiled kernels are kept: in the cache, else in a folder that goes when this process does.

    Their launchers load into one kind of Python alone, which Triton does not tell apart. No name under TMPDIR is one
    that others could guess, and put their code there first.
    """
    folder = _cache_place().absolute() / "triton" / str(sysconfig.get_config_var("SOABI"))
    # lexists: a broken link is there too, and a folder behind it cannot be made.
    if os.access(next(each for each in (folder, *folder.parents) if os.path.lexists(each)), os.W_OK | os.X_OK):
        return folder
    fleeting = tempfile.mkdtemp(prefix="kolora-triton-")
    atexit.register(shutil.rmtree, fleeting, ignore_errors=True)
    return Path(fleeting)


def is_offline(asked: bool) -> bool:
    """Tell whether the network is to be left alone: as asked, or by KOLORA_OFFLINE."""
    return asked or os.environ.get("KOLORA_OFFLINE", "0") not in ("", "0")
