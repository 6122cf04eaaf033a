"""Files written whole or not at all, digests of bytes, and what a failed write means."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import json
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kolora.characters import show
from kolora.errors import KoloraError, OutputUnwritable

REFUSED = (
    errno.EACCES,
    errno.EROFS,
    errno.EPERM,
    errno.ENOTDIR,
    errno.EEXIST,
    errno.EIO,
    errno.EFBIG,
    errno.ENAMETOOLONG,
    errno.ELOOP,
    errno.ESTALE,
    errno.EISDIR,
    errno.ENOTEMPTY,
    errno.EINTR,
    errno.EMFILE,
    errno.ENFILE,
    errno.ENXIO,
    errno.ENODEV,
    errno.EBUSY,
    errno.EUCLEAN,
    errno.EREMOTEIO,
    errno.ENOLCK,
)
"""What the system says where a folder cannot be written, whoever asks."""

_KERNEL = ("/proc/", "/sys/")
"""Where files are none: to read one may wait for ever, or act on the machine."""


def open_regular(path: Path) -> io.BufferedReader:
    """Open a regular file for reading; raises OSError for everything else, and never waits for a writer."""
    # Looked at first: to open a device may already act on it. Looked at again, as another may be there by then.
    _check_regular(path, path.stat())
    file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
    try:
        _check_regular(path, os.fstat(file.fileno()))
    except OSError:
        file.close()
        raise
    return file


def _check_regular(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode) or os.path.realpath(path).startswith(_KERNEL):
        raise OSError(errno.EINVAL, f"not a regular file but {_kind_of(status.st_mode)}", str(path))


def _kind_of(mode: int) -> str:
    kinds = ((stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a pipe (FIFO)"), (stat.S_ISSOCK, "a socket"))
    devices = ((stat.S_ISCHR, "a device"), (stat.S_ISBLK, "a device"))
    return next((kind for is_one, kind in (*kinds, *devices) if is_one(mode)), "a file of the kernel's own")


def exists(path: Path) -> bool:
    """Tell whether something is there; False for a path that no system takes, where ``Path`` raises."""
    return os.path.exists(path)  # noqa: PTH110


def is_file(path: Path) -> bool:
    """Tell whether a file is there; False for a path that no system takes, where ``Path`` raises."""
    return os.path.isfile(path)  # noqa: PTH113


def is_folder(path: Path) -> bool:
    """Tell whether a folder is there; False for a path that no system takes, where ``Path`` raises."""
    return os.path.isdir(path)  # noqa: PTH112


def real_path(path: Path) -> Path:
    """Follow the links of a path as far as they lead; ``Path`` raises for one that leads to itself, or is too long."""
    return Path(os.path.realpath(path))


def sha256_of(path: Path) -> str:
    """Digest a regular file's bytes; raises OSError for everything else, and never waits for a writer."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give the name of a new file beside ``path``, which takes its place in one move when the block ends well.

    A reader finds the old file or the new one, whole, also after a power cut. The folder is made if need be. Several
    processes may write it at once: the new file's name is one that nobody can foresee. Raises OSError where a device, a
    pipe, a socket or a folder has the name: it would be gone, for everybody.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        mode = path.lstat().st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISLNK(mode)):
            raise OSError(errno.ELOOP, "it is no plain file", str(path))
    # In the same folder: a rename is one move only within one file system.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.new")
    # Made here and now: a link that somebody left under this name would be written through.
    os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))
    try:
        yield temporary
        # The bytes before the name: renamed first, a power cut could leave the new name on an empty file.
        sync(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    # The rename is an entry of the folder, and lost with it unless that is on the disk too.
    sync(path.parent)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Write a file in UTF-8 with plain line ends, atomically."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Write a value as JSON, atomically; what acts unseen in a text is escaped."""
    write_bytes(path, (show(json.dumps(value, ensure_ascii=False, indent=1)) + "\n").encode())


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
    if problem.errno == errno.ELOOP:
        return OutputUnwritable(
            f"{problem.filename or root} cannot be used: {problem.strerror}",
            hint="remove it, if it is yours and not needed, or choose another folder with -o",
        )
    # ENOTDIR and EEXIST: a file of the user's stands where a folder is to be. Others where the folder itself is gone,
    # or the disk below it fails.
    if problem.errno in REFUSED or _is_below(problem.filename, root):
        return OutputUnwritable(
            f"{_place(problem.filename, root)} cannot be written: {problem.strerror}",
            hint="choose a folder that this user may write with -o; for a container, add --user $(id -u):0",
        )
    return None


def _place(name: object, root: Path) -> object:
    """Say what cannot be written; a bare name is relative to a folder's handle, and its folder says more."""
    return name if isinstance(name, str) and "/" in name else root


def _is_below(name: object, root: Path) -> bool:
    """Tell whether the file that a problem names lies in a folder, or is that."""
    # A name without its folder is given by who works from a folder's handle.
    return isinstance(name, str) and ("/" not in name or Path(name).absolute().is_relative_to(root.absolute()))
