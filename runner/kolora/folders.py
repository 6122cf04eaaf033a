"""A folder held open: what lies below it is reached from its handle, and no link is followed."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
import shutil
import stat
import weakref
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import IO, Literal

from kolora.limits import MAX_RECORD

Kind = Literal["file", "folder", "link", "other"]
"""What a name stands for; other: a pipe, a socket, a device."""
_BLOCK = 1 << 20
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class NotPlain(OSError):
    """A link, a pipe, a socket or a device stands where a file or a folder belongs."""

    def __init__(self, path: Path, kind: Kind | None, expected: Literal["file", "folder"] = "file") -> None:
        given = {"other": "pipe, socket or device", None: "name of something else"}.get(kind, kind)
        super().__init__(errno.ELOOP, f"it is a {given}, and a plain {expected} belongs there", str(path))


class Folder:
    """One folder, opened once; its own path may be a link, nothing below it is reached through one.

    Names are relative, with forward slashes. Methods raise OSError: NotPlain where a link, a pipe or a device stands in
    the way, FileNotFoundError where nothing does. The handle is closed when the object goes.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor
        weakref.finalize(self, os.close, descriptor)

    @classmethod
    def open(cls, path: Path, *, create: bool = False) -> Folder:
        """Open a folder; create: make it, and those above it, if need be."""
        if create:
            path.mkdir(parents=True, exist_ok=True)
        return cls(path, os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))

    def kind(self, name: str) -> Kind | None:
        """Tell what a name stands for; None for nothing, other also where the path to it leads through a link."""
        try:
            with self._above(name) as (folder, last):
                return _kind_of(os.stat(last, dir_fd=folder, follow_symlinks=False).st_mode)
        except FileNotFoundError:
            return None
        except NotPlain:
            return "other"

    def is_file(self, name: str) -> bool:
        """Tell whether a name stands for a regular file that is reached without a link."""
        return self.kind(name) == "file"

    def names(self, name: str = "") -> list[str]:
        """List what a folder holds, sorted."""
        with self._entered(name) as folder:
            return sorted(os.listdir(folder))  # noqa: PTH208 - of a handle

    def files(self, name: str = "") -> Iterator[str]:
        """List all that is no folder below a folder, links and pipes among it, sorted."""
        for each in self.names(name):
            path = f"{name}/{each}" if name else each
            if self.kind(path) == "folder":
                yield from self.files(path)
            else:
                yield path

    @contextlib.contextmanager
    def opened(self, name: str) -> Iterator[BufferedReader]:
        """Open a regular file to read it."""
        with self._above(name) as (folder, last):
            # Not blocking: opening a pipe would wait for its writer.
            descriptor = self._open(last, os.O_RDONLY | os.O_NONBLOCK, folder, name)
        kind = _kind_of(os.fstat(descriptor).st_mode)
        if kind != "file":
            os.close(descriptor)
            raise NotPlain(self.path / name, kind)
        with os.fdopen(descriptor, "rb") as file:
            yield file

    def read(self, name: str) -> bytes:
        """Read a file, of no more bytes than the machine's owner allows."""
        with self.opened(name) as file:
            if os.fstat(file.fileno()).st_size > MAX_RECORD.value:
                raise OSError(errno.EFBIG, f"larger than {MAX_RECORD}", str(self.path / name))
            return file.read(MAX_RECORD.value)

    def sha256(self, name: str) -> str:
        """Digest a file's bytes."""
        with self.opened(name) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def make(self, name: str) -> None:
        """Make a folder, and those above it, where they are not there."""
        with self._entered(name, create=True):
            pass

    @contextlib.contextmanager
    def replacing(self, name: str, *, by_way_of: str | None = None) -> Iterator[IO[bytes]]:
        """Give a new file to write, which takes its name in one move when the block ends well.

        A reader finds the old file or the new one, whole, also after a power cut. by_way_of: the folder in which it is
        written, else beside its place. Its name there is one that nobody can foresee.
        """
        above, _, last = name.rpartition("/")
        through = above if by_way_of is None else by_way_of
        prefix = f".{last}." if by_way_of is None else ""
        with self._entered(above, create=True) as target, self._entered(through, create=True) as place:
            self._refuse_other(last, target, name)
            temporary = f"{prefix}{new_name()}"
            descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666, dir_fd=place)
            try:
                with os.fdopen(descriptor, "w+b") as file:
                    yield file
                    file.flush()
                    # The bytes before the name: renamed first, a power cut could leave the name on an empty file.
                    os.fsync(descriptor)
                os.replace(temporary, last, src_dir_fd=place, dst_dir_fd=target)
            finally:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(temporary, dir_fd=place)
            # The rename is an entry of the folder, and lost with it unless that is on the disk too.
            os.fsync(target)

    def write(self, name: str, content: bytes, *, by_way_of: str | None = None) -> None:
        """Write a file in one move, as ``replacing`` does."""
        with self.replacing(name, by_way_of=by_way_of) as file:
            file.write(content)

    def copy(self, source: str, name: str, *, by_way_of: str | None = None) -> str:
        """Copy a file within the folder in one move; returns its sha256."""
        digest = hashlib.sha256()
        with self.opened(source) as given, self.replacing(name, by_way_of=by_way_of) as file:
            while block := given.read(_BLOCK):
                digest.update(block)
                file.write(block)
        return digest.hexdigest()

    def rename(self, source: str, target: str) -> None:
        """Rename a file or folder beside itself; on the disk when this returns."""
        with self._above(source) as (folder, old), self._above(target) as (other, new):
            os.rename(old, new, src_dir_fd=folder, dst_dir_fd=other)
            os.fsync(other)

    def remove(self, name: str) -> None:
        """Remove a file, if there is one; a link or a pipe goes itself, and a folder stays."""
        gone = contextlib.suppress(FileNotFoundError, NotADirectoryError, IsADirectoryError)
        with gone, self._above(name) as (folder, last):
            os.unlink(last, dir_fd=folder)

    def remove_tree(self, name: str) -> None:
        """Remove a folder and all in it, if there is one; a link in it goes, and not what it leads to."""
        if self.kind(name) == "folder":
            with self._above(name) as (folder, last):
                shutil.rmtree(last, dir_fd=folder)
        else:
            self.remove(name)

    def remove_empty(self, name: str) -> None:
        """Remove a folder if nothing is in it."""
        with contextlib.suppress(OSError), self._above(name) as (folder, last):
            os.rmdir(last, dir_fd=folder)

    def sync(self, name: str = "") -> None:
        """Wait until a file, or a folder's list of names, is on the disk."""
        with self._above(name) if name else self._here() as (folder, last):
            descriptor = self._open(last, os.O_RDONLY | os.O_NONBLOCK, folder, name)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def lock_file(self, name: str) -> IO[bytes]:
        """Open a file to lock it, made if need be; what it holds stays."""
        with self._above(name) as (folder, last):
            self._refuse_other(last, folder, name)
            descriptor = self._open(last, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK, folder, name)
        return os.fdopen(descriptor, "r+b")

    def _refuse_other(self, last: str, folder: int, name: str) -> None:
        """Refuse to write where something stands that is no file: a link would be replaced, and say nothing."""
        with contextlib.suppress(FileNotFoundError):
            kind = _kind_of(os.stat(last, dir_fd=folder, follow_symlinks=False).st_mode)
            if kind != "file":
                raise NotPlain(self.path / name, kind)

    def _open(self, last: str, flags: int, folder: int, name: str) -> int:
        try:
            return os.open(last, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666, dir_fd=folder)
        except OSError as problem:
            # ELOOP: a link. ENXIO: a socket, or a pipe that nobody reads.
            if problem.errno in (errno.ELOOP, errno.ENXIO):
                kind: Kind = "link" if problem.errno == errno.ELOOP else "other"
                raise NotPlain(self.path / name, kind) from problem
            raise

    @contextlib.contextmanager
    def _here(self) -> Iterator[tuple[int, str]]:
        yield self._descriptor, "."

    @contextlib.contextmanager
    def _above(self, name: str) -> Iterator[tuple[int, str]]:
        """Enter the folder that a name lies in; gives its handle and the last part of the name."""
        above, _, last = name.rpartition("/")
        with self._entered(above) as folder:
            yield folder, last

    @contextlib.contextmanager
    def _entered(self, name: str, *, create: bool = False) -> Iterator[int]:
        """Enter a folder below this one, part by part; create: make what is absent."""
        here = os.dup(self._descriptor)
        try:
            for part in name.split("/") if name else ():
                # Such a name leads elsewhere than it says; it is checked where it is read, and here again.
                if part in ("", ".", "..") or "\0" in part:
                    raise ValueError(f"{name!r} is no name below a folder")
                here = self._step(here, part, name, create=create)
            yield here
        finally:
            os.close(here)

    def _step(self, here: int, part: str, name: str, *, create: bool) -> int:
        """Go one folder down, and close the one that was left."""
        if create:
            with contextlib.suppress(FileExistsError):
                os.mkdir(part, dir_fd=here)
                os.fsync(here)
        try:
            below = os.open(part, _FOLDER, dir_fd=here)
        except OSError as problem:
            # Which of the two a link gives is the system's choice.
            if problem.errno not in (errno.ELOOP, errno.ENOTDIR):
                raise
            kind = _kind_of(os.stat(part, dir_fd=here, follow_symlinks=False).st_mode)
            raise NotPlain(self.path / name, kind, "folder") from problem
        os.close(here)
        return below


def new_name() -> str:
    """Make up a name for a file that is not finished; see ``is_new_name``."""
    return f"new-{secrets.token_hex(8)}"


def _kind_of(mode: int) -> Kind:
    if stat.S_ISREG(mode):
        return "file"
    if stat.S_ISDIR(mode):
        return "folder"
    return "link" if stat.S_ISLNK(mode) else "other"
