"""Archives of pictures, unpacked without letting them write elsewhere or fill the disk."""

from __future__ import annotations

import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from kolora.errors import InputAbsent, StoryInvalid
from kolora.hubs.selection import PICTURES

_UNPACKED = (*PICTURES, ".txt", ".csv", ".jsonl")
"""Endings of what is taken out of an archive; links, devices and everything else stay in it."""
_LARGEST_RATIO = 20
"""Times its own size that an archive may unpack to: pictures hardly compress, so more is made to fill a disk."""
ALLOWANCE = 64 * 2**20
"""Bytes besides, as a small archive of drawings or tables may well grow twentyfold."""
_BLOCK = 1 << 20


def unpack(archive: Path, into: Path) -> None:
    """Unpack the pictures, captions and tables of a zip or tar file.

    Raises StoryInvalid for a member that leads out of the folder or for more bytes than pictures could give,
    InputAbsent for a damaged archive.
    """
    room = ALLOWANCE + _LARGEST_RATIO * archive.stat().st_size
    try:
        for name, member in _members(archive):
            path = PurePosixPath(name)
            # A backslash is a letter here and a folder on Windows, where the archive may have been made.
            if path.is_absolute() or ".." in path.parts or "\\" in name:
                raise StoryInvalid(f"{archive.name} has a member {name!r}, which leads out of it", hint=_OTHER)
            if not name.lower().endswith(_UNPACKED) or any(part.startswith((".", "__MACOSX")) for part in path.parts):
                continue
            target = into / path
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as file:
                while block := member.read(_BLOCK):
                    # Counted as it is unpacked: the sizes in an archive's own directory are its maker's word.
                    room -= len(block)
                    if room < 0:
                        raise StoryInvalid(
                            f"{archive.name} unpacks to more than {_LARGEST_RATIO} times its size", hint=_OTHER
                        )
                    file.write(block)
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, RuntimeError, NotImplementedError) as problem:
        raise InputAbsent(f"{archive.name} cannot be unpacked: {problem}", hint=_OTHER) from problem


def _members(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    if archive.suffix.lower() == ".zip":
        with zipfile.ZipFile(archive) as opened:
            for info in opened.infolist():
                if not info.is_dir():
                    with opened.open(info) as member:
                        yield info.filename, member
        return
    with tarfile.open(archive) as opened:
        for entry in opened:
            content = opened.extractfile(entry) if entry.isreg() else None
            if content is not None:
                yield entry.name, content


_OTHER = "take another data set, or unpack it yourself and name the folder"
