"""Archives of pictures, unpacked without letting them write elsewhere or fill the disk."""

from __future__ import annotations

import lzma
import os
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import IO

from kolora.errors import InputAbsent, StoryInvalid
from kolora.hubs.selection import PICTURES
from kolora.names import checked_name, leads_out, printable

_UNPACKED = (*PICTURES, ".txt", ".csv", ".jsonl")
"""Endings of what is taken out of an archive; links, devices and everything else stay in it."""
_LARGEST_RATIO = 20
"""Times its own size that an archive may unpack to: pictures hardly compress, so more is made to fill a disk."""
ALLOWANCE = 64 * 2**20
"""Bytes besides, as a small archive of drawings or tables may well grow twentyfold."""
_BLOCK = 1 << 20


def unpack(archive: Path, into: Path) -> None:
    """Unpack the pictures, captions and tables of a zip or tar file into an empty folder.

    Raises StoryInvalid for a name that leads out of the folder or can be no file's beside the others, and for more
    bytes than pictures could give, InputAbsent for a damaged archive.
    """
    room = ALLOWANCE + _LARGEST_RATIO * archive.stat().st_size
    with _telling_damage(archive):
        for name, member in _members(archive):
            if not _is_needed(name):
                # Of what stays in the archive only such a name matters: it tells that the whole was made to harm.
                if leads_out(name):
                    checked_name(name, source=archive.name, error=StoryInvalid, hint=_OTHER)
                continue
            with _create(into, name, archive) as file:
                while block := member.read(_BLOCK):
                    # Counted as it is unpacked: the sizes in an archive's own directory are its maker's word.
                    room -= len(block)
                    if room < 0:
                        raise StoryInvalid(
                            f"{archive.name} unpacks to more than {_LARGEST_RATIO} times its size", hint=_OTHER
                        )
                    file.write(block)


def _is_needed(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return name.lower().endswith(_UNPACKED) and not any(part.startswith((".", "__MACOSX")) for part in parts)


def _create(into: Path, name: str, archive: Path) -> IO[bytes]:
    checked_name(name, source=archive.name, error=StoryInvalid, hint=_OTHER)
    target = into / name
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # x: of two members of one name, also where upper and lower case are one, each tool keeps the one it likes.
        return target.open("xb")
    except (FileExistsError, NotADirectoryError) as problem:
        raise StoryInvalid(
            f"{archive.name} names a file '{printable(name)}', which is there twice or lies below a file", hint=_OTHER
        ) from problem


@contextmanager
def _telling_damage(archive: Path) -> Iterator[None]:
    try:
        yield
    except OSError as problem:
        # gzip and bz2 say so that bytes are not theirs; the disk's own errors have a number.
        if problem.errno is not None:
            raise
        raise InputAbsent(f"{archive.name} cannot be unpacked: {problem}", hint=_OTHER) from problem
    except _DAMAGE as problem:
        raise InputAbsent(f"{archive.name} cannot be unpacked: {problem}", hint=_OTHER) from problem


def _members(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    if archive.suffix.lower() == ".zip":
        with zipfile.ZipFile(archive) as opened:
            for info in opened.infolist():
                # Not is_dir(), which fails on an empty name.
                if not info.orig_filename.endswith("/"):
                    with opened.open(info) as member:
                        # As it was written: the other one ends where a NUL is.
                        yield info.orig_filename, member
        return
    with tarfile.open(archive) as opened:
        for entry in opened:
            content = opened.extractfile(entry) if entry.isreg() else None
            if content is not None:
                # "./": so tar names what lies in the folder that it was called in.
                yield _decoded(entry.name).removeprefix("./"), content


def _decoded(name: str) -> str:
    """Read a name that is no UTF-8 as GB18030, which Chinese Windows writes; one that is neither stays as it is."""
    if name.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in name):
        return name
    with suppress(UnicodeError):
        return os.fsencode(name).decode("gb18030")
    return name


_DAMAGE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    RuntimeError,
    NotImplementedError,
    ValueError,
)
"""What readers of archives raise over bytes that are not what they should be."""
_OTHER = "take another data set, or unpack it yourself and name the folder"
