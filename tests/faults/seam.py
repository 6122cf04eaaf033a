"""The seam between a process and its disk, where a test lets the n-th operation fail, be torn, or be the last.

Counted are the operations that change something below the watched folders: opening for writing, writing, syncing,
renaming, linking, removing, making folders. Namespace operations are caught by Python's audit events, whoever calls
them; bytes by what stands between Python and ``write`` and ``fsync``. Libraries that write in C alone are not seen.
"""

# ruff: noqa: PTH104, PTH108, PTH112, PTH113, PTH114, PTH115, PTH117, PTH118, PTH109, PTH120

from __future__ import annotations

import builtins
import contextlib
import errno
import io
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Kind = Literal["ENOSPC", "EIO", "EINTR", "crash", "torn", "cut bytes", "cut names"]
KINDS: tuple[Kind, ...] = ("ENOSPC", "EIO", "EINTR", "crash", "torn", "cut bytes", "cut names")
"""An error of the disk; a kill; half of a write, then a kill; a power cut that takes bytes never synced; and one that
takes also the names in folders never synced."""
CRASHED = 137
_AUDITED = {
    "os.rename": "rename",
    "os.link": "link",
    "os.symlink": "symlink",
    "os.mkdir": "mkdir",
    "os.remove": "remove",
    "os.rmdir": "rmdir",
    "os.truncate": "truncate",
}
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


@dataclass(frozen=True)
class Fault:
    """What goes wrong at which operation, counted from 1; none does at 0."""

    kind: Kind = "crash"
    at: int = 0


@dataclass
class Seam:
    """The operations of this process so far, and the fault among them.

    backups: a folder on the same file system, for what a power cut brings back.
    """

    fault: Fault
    roots: tuple[Path, ...]
    backups: Path
    operations: list[str] = field(default_factory=list)
    fired: bool = False
    _inside: bool = False
    _folder: int | None = None
    _unsynced: dict[str, int] = field(default_factory=dict)
    """Files by path, with the bytes that are on the disk."""
    _names: list[tuple[str, str, str | None]] = field(default_factory=list)
    """What changed in folders since they were synced: a name, what it was called before, what it replaced."""

    def install(self) -> None:
        """Stand between this process and its disk, for the rest of its life."""
        sys.addaudithook(self._audit)
        really_open, really_write, really_sync, really_send = os.open, os.write, os.fsync, os.sendfile

        def opening(path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
            self._folder = dir_fd
            try:
                return really_open(path, flags, mode, dir_fd=dir_fd)
            finally:
                self._folder = None

        def writing(descriptor: int, content: Any, /) -> int:
            self.write(descriptor, len(content), lambda count: really_write(descriptor, content[:count]))
            return really_write(descriptor, content)

        def syncing(descriptor: Any, /) -> None:
            number = descriptor if isinstance(descriptor, int) else descriptor.fileno()
            path = _path_of(number)
            self.count("fsync", path)
            really_sync(number)
            self._synced(path)

        def sending(out: int, source: int, offset: int, count: int) -> int:
            self.write(out, count, lambda half: really_send(out, source, offset, min(half, os.fstat(source).st_size)))
            return really_send(out, source, offset, count)

        os.open, os.write, os.fsync, os.fdatasync, os.sendfile = opening, writing, syncing, syncing, sending  # type: ignore[assignment]
        os.supports_dir_fd.add(opening)
        if hasattr(os, "copy_file_range"):
            del os.copy_file_range
        self._watch_files()

    def count(self, operation: str, path: str, perform: Callable[[int], object] | None = None, size: int = 0) -> None:
        """Count an operation on a watched path, and let it fail if it is the one; perform: does a part of a write."""
        if self._inside or not self._is_watched(path):
            return
        self.operations.append(f"{operation} {path}")
        if len(self.operations) != self.fault.at:
            return
        self.fired = True
        with self._unwatched():
            self._fail(path if operation not in ("write", "fsync") else None, perform, size)

    def write(self, descriptor: int, size: int, perform: Callable[[int], object]) -> None:
        """Count a write, and remember that the file's bytes are not on the disk."""
        path = _path_of(descriptor)
        self.count("write", path, perform, size)
        if self._is_watched(path) and not self._inside:
            self._unsynced.setdefault(path, os.fstat(descriptor).st_size)

    def _fail(self, path: str | None, perform: Callable[[int], object] | None, size: int) -> None:
        kind = self.fault.kind
        if kind in ("ENOSPC", "EIO", "EINTR"):
            number = getattr(errno, kind)
            # The system names no file where it was given only its number.
            raise OSError(number, os.strerror(number), *([path] if path else []))
        if kind == "torn" and perform is not None:
            perform(size // 2)
        if kind.startswith("cut"):
            self._cut(names=kind == "cut names")
        self.report()
        os._exit(CRASHED)

    def report(self) -> None:
        """Write down whether the fault came, and all operations; in place of what a process can say no more."""
        with self._unwatched():
            (self.backups / "operations").write_text(f"{int(self.fired)}\n" + "\n".join(self.operations))

    def _cut(self, *, names: bool) -> None:
        """Leave on the disk what the last syncs brought there."""
        for path, size in self._unsynced.items():
            with contextlib.suppress(OSError):
                os.truncate(path, size)
        for name, former, replaced in reversed(self._names if names else []):
            with contextlib.suppress(OSError):
                if former:
                    os.rename(name, former)
                else:
                    _remove(name)
                if replaced:
                    os.rename(replaced, name)

    def _synced(self, path: str) -> None:
        if os.path.isdir(path):
            self._names = [each for each in self._names if os.path.dirname(each[0]) != path]
        self._unsynced.pop(path, None)

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self._inside:
            return
        if event == "open":
            path, _mode, flags = arguments
            if isinstance(path, str | bytes | os.PathLike) and isinstance(flags, int) and flags & _WRITES:
                self._open(_absolute(path, self._folder), flags)
        elif event in _AUDITED:
            self._change(_AUDITED[event], arguments)

    def _open(self, path: str, flags: int) -> None:
        with self._unwatched():
            is_new = not os.path.lexists(path)
        self.count("open", path)
        if flags & os.O_CREAT and is_new and self._is_watched(path):
            self._names.append((path, "", None))

    def _change(self, operation: str, arguments: tuple[Any, ...]) -> None:
        if operation in ("rename", "link", "symlink"):
            source, target, *folders = arguments
            before = _absolute(source, folders[0] if operation != "symlink" else None)
            path = _absolute(target, folders[-1])
        else:
            folder = arguments[-1] if operation in ("remove", "rmdir", "mkdir") else None
            path, before = _absolute(arguments[0], folder), ""
        self.count(operation, path)
        if self._is_watched(path) and operation in ("rename", "link", "symlink", "mkdir"):
            with self._unwatched():
                self._renamed(operation, before, path)

    def _renamed(self, operation: str, before: str, path: str) -> None:
        replaced = None
        if operation == "rename" and os.path.isfile(path):
            replaced = str(self.backups / f"replaced-{len(self.operations)}")
            os.link(path, replaced, follow_symlinks=False)
        if operation == "rename":
            for file in [each for each in self._unsynced if each == before or each.startswith(f"{before}/")]:
                self._unsynced[path + file.removeprefix(before)] = self._unsynced.pop(file)
        self._names.append((path, before if operation == "rename" else "", replaced))

    def _is_watched(self, path: str) -> bool:
        return any(path.startswith(f"{root}/") or path == str(root) for root in self.roots)

    @contextlib.contextmanager
    def _unwatched(self) -> Iterator[None]:
        before, self._inside = self._inside, True
        try:
            yield
        finally:
            self._inside = before

    def _watch_files(self) -> None:
        seam, really_open = self, io.open

        class Raw(io.FileIO):
            def write(self, content: Any, /) -> int:
                seam.write(self.fileno(), len(content), lambda count: io.FileIO.write(self, bytes(content)[:count]))
                return super().write(content)

            def fileno(self) -> int:
                # Pillow's C encoders would write to the number, and not be seen.
                if sys._getframe(1).f_globals.get("__name__", "").startswith("PIL"):
                    raise io.UnsupportedOperation("fileno")
                return super().fileno()

        def opening(
            file: Any,
            mode: str = "r",
            buffering: int = -1,
            encoding: str | None = None,
            errors: str | None = None,
            newline: str | None = None,
            closefd: bool = True,
            opener: Any = None,
        ) -> Any:
            if not set(mode) & set("wax+"):
                return really_open(file, mode, buffering, encoding, errors, newline, closefd, opener)
            raw = Raw(file, mode.replace("b", "").replace("t", ""), closefd, opener)
            if buffering == 0:
                return raw
            buffered = (io.BufferedRandom if "+" in mode else io.BufferedWriter)(raw)
            if "b" in mode:
                return buffered
            text = io.TextIOWrapper(buffered, encoding, errors, newline, line_buffering=buffering == 1)
            text.mode = mode
            return text

        import _io

        builtins.open = io.open = _io.open = opening  # type: ignore[assignment]


def _path_of(descriptor: int) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}")
    except OSError:
        return ""


def _absolute(path: Any, folder: int | None) -> str:
    name = os.fsdecode(path)
    if os.path.isabs(name):
        return os.path.normpath(name)
    base = _path_of(folder) if folder is not None and folder >= 0 else os.getcwd()
    return os.path.normpath(os.path.join(base, name))


def _remove(name: str) -> None:
    import shutil

    if os.path.isdir(name) and not os.path.islink(name):
        shutil.rmtree(name)
    else:
        os.unlink(name)
