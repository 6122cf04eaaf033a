"""What a folder holds, named by its bytes: the identity of a local data set or checkpoint."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from io import BufferedReader
from pathlib import Path
from typing import Any

from kolora.errors import InputAbsent
from kolora.files import write_json

_LITTER = frozenset({"thumbs.db", "desktop.ini"})
"""What desktops leave in folders, in lower case; never part of one, like everything whose name begins with a dot."""

MEMO_WORTH_BYTES = 1 << 20
"""Smaller files are hashed sooner than their memo is read."""

SETTLED_SECONDS = 2.0
"""A file changed more recently could change again within one tick of the file system's clock: it gets no memo."""


def files_in(folder: Path, *, follow_links: bool = False) -> tuple[str, ...]:
    """List the files of a folder and its subfolders, sorted, as paths relative to it with forward slashes.

    Hidden names and the litter of desktops are left out. A link to a folder is entered with ``follow_links``
    (each real folder once) and listed like a file without. Raises InputAbsent where there is no readable folder.
    """
    if not folder.is_dir():
        raise InputAbsent(
            f"'{folder}' is not a folder; a folder of files was expected there",
            hint="check the path, and that the folder is mounted into the container",
        )
    return tuple(sorted(_walk(folder, "", follow_links, {folder.resolve()})))


def identify_folder(
    folder: Path,
    *,
    memo: Path | None = None,
    follow_links: bool = False,
    choose: Callable[[Sequence[str]], Sequence[str]] = lambda paths: paths,
) -> tuple[str, dict[str, str]]:
    """Digest a folder's content.

    Returns what ``identity_of_files`` gives, and each file's sha256 by its path. Neither the folder's place nor any
    time counts. A data set's links may not leave the folder: such a link, like anything that is no regular file, is
    listed with an empty sha256. ``follow_links`` is for checkpoints, whose files some caches keep as links. ``memo`` is
    a folder that remembers hashes of large unchanged files; it only saves reading them. ``choose`` picks, of all paths,
    those that count.
    """
    files = {
        path: "" if not follow_links and refusal(folder, path) else identify_file(folder / path, memo=memo)
        for path in choose(files_in(folder, follow_links=follow_links))
    }
    return identity_of_files(files), files


def identity_of_files(files: Mapping[str, str]) -> str:
    """Digest files by their paths and sha256 (64 hexadecimal digits, or empty where a file may not be opened)."""
    whole = hashlib.sha256()
    for path in sorted(files):
        # Lengths keep "ab" + "c" apart from "a" + "bc".
        name = os.fsencode(path)
        whole.update(len(name).to_bytes(8, "big") + name + (bytes.fromhex(files[path]) or bytes(32)))
    return whole.hexdigest()


def refusal(folder: Path, path: str) -> str | None:
    """Say why a listed file may not be opened as part of this folder; None where it may."""
    target = folder / path
    try:
        real = target.resolve(strict=True)
    except (FileNotFoundError, RuntimeError):
        return "broken link"
    except OSError as error:
        if target.is_symlink():
            return "broken link"
        raise _unreadable(target, error) from error
    if not real.is_relative_to(folder.resolve()):
        return "link out of the folder"
    if real.is_dir():
        return "link to a folder"
    if not stat.S_ISREG(real.stat().st_mode):
        # Opening a pipe or a device could wait for ever.
        return "not a regular file"
    return None


def _walk(folder: Path, prefix: str, follow_links: bool, seen: set[Path]) -> Iterator[str]:
    try:
        entries = list(os.scandir(folder))
    except OSError as error:
        raise _unreadable(folder, error) from error
    for entry in entries:
        if entry.name.startswith(".") or entry.name.lower() in _LITTER:
            continue
        if entry.is_dir(follow_symlinks=follow_links):
            real = Path(entry.path).resolve()
            if real not in seen:
                yield from _walk(Path(entry.path), f"{prefix}{entry.name}/", follow_links, seen | {real})
        else:
            yield prefix + entry.name


def identify_file(path: Path, *, memo: Path | None = None) -> str:
    """Digest a file's bytes, remembered in ``memo`` like those of a folder; raises InputAbsent where it is none."""
    try:
        if path.exists() and not path.is_file():
            # Opening a pipe or a device could wait for ever.
            raise InputAbsent(f"'{path}' is not a regular file", hint="give a file")
        with path.open("rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise InputAbsent(f"'{path}' is not a regular file", hint="take it out of the folder")
            return identify_open(file, memo=memo)
    except OSError as error:
        raise _unreadable(path, error) from error


def identify_open(file: BufferedReader, *, memo: Path | None) -> str:
    """Digest the bytes of an open regular file, remembered in ``memo`` by what the system says of it."""
    before = os.fstat(file.fileno())
    if memo is None or before.st_size < MEMO_WORTH_BYTES:
        return hashlib.file_digest(file, "sha256").hexdigest()
    key = [before.st_dev, before.st_ino, before.st_size, before.st_mtime_ns, before.st_ctime_ns]
    entry = memo / (hashlib.sha256(json.dumps(key).encode()).hexdigest() + ".json")
    known = _recall(entry, key)
    if known is not None:
        return known
    sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    after = os.fstat(file.fileno())
    unchanged = [after.st_size, after.st_mtime_ns, after.st_ctime_ns] == key[2:]
    if unchanged and after.st_ctime_ns < time.time_ns() - SETTLED_SECONDS * 1e9:
        # A cache that cannot be written costs time, not truth.
        with suppress(OSError):
            _remember(entry, {"key": key, "sha256": sha256})
    return sha256


def _recall(entry: Path, key: list[int]) -> str | None:
    """Read one memo; a torn, foreign or unreadable one is as good as none."""
    try:
        memory = json.loads(entry.read_text(encoding="utf-8"))
        return memory["sha256"] if memory["key"] == key and len(bytes.fromhex(memory["sha256"])) == 32 else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _remember(entry: Path, memory: dict[str, Any]) -> None:
    write_json(entry, memory)


def _unreadable(path: Path, error: OSError) -> InputAbsent:
    return InputAbsent(
        f"'{path}' cannot be read: {error.strerror or error}", hint=f"check that this user may read '{path}'"
    )
