"""Archives of pictures, unpacked without letting them write elsewhere or fill the disk."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

from kolora.errors import InputAbsent, StoryInvalid
from kolora.hubs.selection import PICTURES
from kolora.limits import MAX_MEMBERS, MAX_UNPACKED, TooLarge, as_invalid, check_zip_directory
from kolora.names import checked_name, leads_out, printable

_UNPACKED = (*PICTURES, ".txt", ".csv", ".jsonl")
"""Endings of what is taken out of an archive; links, devices and everything else stay in it."""
_LARGEST_RATIO = 20
"""Times its own size that an archive may unpack to: pictures hardly compress, so more is made to fill a disk."""
ALLOWANCE = 64 * 2**20
"""Bytes besides, as a small archive of drawings or tables may well grow twentyfold."""
_BLOCK = 1 << 20
_LARGEST_READ = 16 * _BLOCK
"""Bytes that a tar is read by at once: more is a name of a member, which tarfile has in memory whole."""
_COMPRESSED: Mapping[bytes, Callable[[Path], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ": lzma.open,
}
"""What a tar may be compressed by, by its first bytes."""


def unpack(archive: Path, into: Path) -> None:
    """Unpack the pictures, captions and tables of a zip or tar file into an empty folder.

    Raises StoryInvalid for a name that leads out of the folder or can be no file's beside the others, and for more
    bytes than pictures could give, InputAbsent for a damaged archive.
    """
    room = _Room(archive)
    with _telling_damage(archive):
        for name, member in _members(archive, room):
            if not _is_needed(name):
                # Of what stays in the archive only such a name matters: it tells that the whole was made to harm.
                if leads_out(name):
                    checked_name(name, source=archive.name, error=StoryInvalid, hint=_OTHER)
                continue
            with _create(into, name, archive) as file:
                while block := member.read(_BLOCK):
                    # Counted as it is unpacked: the sizes in an archive's own directory are its maker's word.
                    room.take(len(block))
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
    except TooLarge as problem:
        raise as_invalid(problem, archive.name) from problem
    except OSError as problem:
        # gzip and bz2 say so that bytes are not theirs; the disk's own errors have a number.
        if problem.errno is not None:
            raise
        raise InputAbsent(f"{archive.name} cannot be unpacked: {problem}", hint=_OTHER) from problem
    except _DAMAGE as problem:
        raise InputAbsent(f"{archive.name} cannot be unpacked: {problem}", hint=_OTHER) from problem


class _Room:
    """What an archive may still take: bytes, by its own size and by the owner's limit, and members."""

    def __init__(self, archive: Path) -> None:
        size = archive.stat().st_size
        self._name = archive.name
        self._by_size = ALLOWANCE + _LARGEST_RATIO * size
        self._by_owner = MAX_UNPACKED.value
        self._members = MAX_MEMBERS.value
        # A tar is read through to its end, also what is not taken out: no more of that than could be.
        self._read = self._by_size

    def take(self, count: int) -> None:
        """Take bytes of what is unpacked."""
        self._by_size -= count
        self._by_owner -= count
        if self._by_owner < 0:
            raise TooLarge(f"it unpacks to more than {MAX_UNPACKED}", MAX_UNPACKED)
        if self._by_size < 0:
            raise self._swollen()

    def read(self, count: int) -> None:
        """Take bytes of what is only read."""
        self._read -= count
        if self._read < 0:
            raise self._swollen()

    def member(self) -> None:
        """Take a member."""
        self._members -= 1
        if self._members < 0:
            raise TooLarge(f"it has more than {MAX_MEMBERS}", MAX_MEMBERS)

    def _swollen(self) -> StoryInvalid:
        return StoryInvalid(f"{self._name} unpacks to more than {_LARGEST_RATIO} times its size", hint=_OTHER)


class _Stream(io.RawIOBase):
    """A tar's bytes, counted as they are unpacked, and never many at once."""

    def __init__(self, opened: IO[bytes], room: _Room) -> None:
        self._opened = opened
        self._room = room

    def read(self, size: int = -1) -> bytes:
        if size < 0 or size > _LARGEST_READ:
            raise tarfile.ReadError(f"a name or header in it has {size:,} bytes")
        content = self._opened.read(size)
        self._room.read(len(content))
        return content

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        # Over what is not taken out, which a compressed file has to be unpacked for all the same.
        before = self._opened.tell()
        after = self._opened.seek(offset, whence)
        self._room.read(max(0, after - before))
        return after

    def tell(self) -> int:
        return self._opened.tell()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True


def _members(archive: Path, room: _Room) -> Iterator[tuple[str, IO[bytes]]]:
    if archive.suffix.lower() == ".zip":
        check_zip_directory(archive)
        with zipfile.ZipFile(archive) as opened:
            for info in opened.infolist():
                room.member()
                # Not is_dir(), which fails on an empty name.
                if not info.orig_filename.endswith("/"):
                    with opened.open(info) as member:
                        # As it was written: the other one ends where a NUL is.
                        yield info.orig_filename, member
        return
    with ExitStack() as closing:
        unpacked = closing.enter_context(_uncompressed(archive))
        stream = cast(IO[bytes], _Stream(unpacked, room))
        tar = closing.enter_context(tarfile.open(fileobj=stream, mode="r:"))
        for entry in tar:
            room.member()
            content = tar.extractfile(entry) if entry.isreg() else None
            if content is not None:
                # "./": so tar names what lies in the folder that it was called in.
                yield _decoded(entry.name).removeprefix("./"), content
            # tarfile keeps all that it has met.
            tar.members.clear()  # type: ignore[attr-defined]


def _uncompressed(archive: Path) -> IO[bytes]:
    with archive.open("rb") as file:
        head = file.read(8)
    for magic, open_compressed in _COMPRESSED.items():
        if head.startswith(magic):
            return cast(IO[bytes], open_compressed(archive))
    return archive.open("rb")


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
