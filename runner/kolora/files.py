"""Files written whole or not at all, digests of bytes, and what a failed write means."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kolora.errors import KoloraError, OutputUnwritable


def sha256_of(path: Path) -> str:
    """Digest a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def replacing(path: Path, *, shared: bool = False) -> Iterator[Path]:
    """Give the name of a new file beside ``path``, which takes its place in one move when the block ends well.

    A reader finds the old file or the new one, whole, also after a power cut. The folder is made if need be. shared:
    several processes may write it at once, so the new file's name is this one's own; else what a kill left of an
    earlier try is overwritten.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # In the same folder: a rename is one move only within one file system.
    temporary = path.with_name(f".{path.name}.{os.getpid()}.new" if shared else f".{path.name}.new")
    # Removed, not opened: a link that somebody left under this name would be written through.
    temporary.unlink(missing_ok=True)
    try:
        yield temporary
        # The bytes before the name: renamed first, a power cut could leave the new name on an empty file.
        sync(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    # The rename is an entry of the folder, and lost with it unless that is on the disk too.
    sync(path.parent)


def write_bytes(path: Path, content: bytes, *, shared: bool = False) -> None:
    """Write a file atomically; shared: as ``replacing`` has it."""
    with replacing(path, shared=shared) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Write a file in UTF-8 with plain line ends, atomically."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any, *, shared: bool = False) -> None:
    """Write a value as JSON, atomically; shared: as ``replacing`` has it."""
    write_bytes(path, (json.dumps(value, ensure_ascii=False, indent=1) + "\n").encode(), shared=shared)


def sync(path: Path) -> None:
    """Wait until a file, or a folder's list of names, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def writing(root: Path) -> Iterator[None]:
    """Turn a full disk, a read-only mount or missing rights into OutputUnwritable."""
    try:
        yield
    except OSError as problem:
        translated = as_unwritable(problem, root)
        if translated is None:
            raise
        raise translated from problem


def as_unwritable(problem: OSError, root: Path) -> KoloraError | None:
    """Return the error that tells that ``root`` cannot be written, if that is what an OSError means."""
    if problem.errno in (errno.ENOSPC, errno.EDQUOT):
        return OutputUnwritable(
            f"the disk of {root} is full", hint="make room and run the same command again: it goes on where it was"
        )
    # ENOTDIR and EEXIST: a file of the user's stands where a folder is to be.
    if problem.errno in (errno.EACCES, errno.EROFS, errno.EPERM, errno.ENOTDIR, errno.EEXIST):
        return OutputUnwritable(
            f"{problem.filename or root} cannot be written: {problem.strerror}",
            hint="choose a folder that this user may write with -o; for a container, add --user $(id -u):0",
        )
    return None
