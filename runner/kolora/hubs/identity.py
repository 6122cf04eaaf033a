"""What a folder holds, named by its bytes: the identity of a local data set or checkpoint."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

from kolora.errors import InputAbsent
from kolora.files import is_folder, open_regular, real_path, write_json
from kolora.names import printable
from kolora.ownership import is_of_kolora
from kolora.reads import OWN_DIGEST, own_digest, read_json

_LITTER = frozenset({"thumbs.db", "desktop.ini"})
"""What desktops leave in folders, in lower case; never part of one, like everything whose name begins with a dot."""

_SHOWN = 300
"""Characters of a path in a message."""

MEMO_WORTH_BYTES = 1 << 20
"""Smaller files are hashed sooner than their memo is read."""

SETTLED_SECONDS = 2.0
"""A file changed more recently could change again within one tick of the file system's clock: it gets no memo."""


def files_in(folder: Path) -> tuple[str, ...]:
    """List the files of a folder and its subfolders, sorted, as paths relative to it with forward slashes.

    Hidden names and the litter of desktops are left out, and so are folders in it that kolora wrote: a run would else
    train on its own pictures. A link to a folder is listed like a file. Raises InputAbsent where there is no readable
    folder.
    """
    _check_folder(folder)
    return tuple(sorted(_walk(folder, "", [])))


def runs_in(folder: Path) -> tuple[str, ...]:
    """List the folders in a folder that kolora wrote, which are no part of a data set; none where nothing is there."""
    left_out: list[str] = []
    if is_folder(folder):
        for _ in _walk(folder, "", left_out):
            pass
    return tuple(sorted(left_out))


def identify_folder(folder: Path, *, memo: Path | None = None) -> tuple[str, dict[str, str]]:
    """Digest a data set's folder.

    Returns what ``identity_of_files`` gives, and each file's sha256 by its path. Neither the folder's place nor any
    time counts. Links may not leave the folder: such a link, like anything that is no regular file, is listed with an
    empty sha256. ``memo`` is a folder that remembers hashes of large unchanged files; it only saves reading them.
    """
    files = {
        path: "" if refusal(folder, path) else identify_file(folder / path, memo=memo) for path in files_in(folder)
    }
    return identity_of_files(files), files


def identify_model(
    folder: Path,
    *,
    parts: Sequence[str],
    choose: Callable[[Sequence[str]], Sequence[str]],
    roots: Sequence[Path] | None = None,
    memo: Path | None = None,
) -> tuple[str, dict[str, str]]:
    """Digest what is loaded of a checkpoint's or scorer's folder, as ``identify_folder`` does a data set's.

    parts: the subfolders that are looked into, the empty one for the folder itself. choose: picks, of the paths found
    there, those that are loaded; nothing else is read. Some caches keep files as links: each must lead into ``roots``,
    those of ``link_roots`` if none are given. Raises InputAbsent naming what leads elsewhere or is no regular file.
    """
    _check_folder(folder)
    allowed = link_roots(folder) if roots is None else roots
    paths: list[str] = []
    for part in parts:
        paths += _names_in(folder, part, allowed)
    files = {path: identify_file(_followed(folder / path, allowed), memo=memo) for path in choose(paths)}
    return identity_of_files(files), files


def link_roots(folder: Path) -> tuple[Path, ...]:
    """List where the links of a folder may lead: into itself, and to the files of the Hugging Face cache it is in.

    There, ``models--OWNER--NAME/snapshots/REVISION`` holds links to ``models--OWNER--NAME/blobs``.
    """
    real = real_path(folder)
    for snapshot in (real, *real.parents):
        repository = snapshot.parent.parent
        if snapshot.parent.name == "snapshots" and repository.name.startswith(("models--", "datasets--")):
            # Not resolved: blobs that are themselves a link would let everything in.
            return real, repository / "blobs"
    return (real,)


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
    if not _leads_into(real, link_roots(folder)):
        return "link out of the folder"
    if real.is_dir():
        return "link to a folder"
    if not stat.S_ISREG(real.stat().st_mode):
        # Opening a pipe or a device could wait for ever.
        return "not a regular file"
    return None


def _leads_into(real: Path, roots: Sequence[Path]) -> bool:
    return any(real.is_relative_to(root) for root in roots)


def _check_folder(folder: Path) -> None:
    if not is_folder(folder):
        raise InputAbsent(
            f"'{folder}' is not a folder; a folder of files was expected there",
            hint="check the path, and that the folder is mounted into the container",
        )


def _walk(folder: Path, prefix: str, left_out: list[str]) -> Iterator[str]:
    for entry in _entries(folder):
        if not entry.is_dir(follow_symlinks=False):
            yield prefix + entry.name
        elif is_of_kolora(Path(entry.path)):
            left_out.append(prefix + entry.name)
        else:
            yield from _walk(Path(entry.path), f"{prefix}{entry.name}/", left_out)


def _names_in(folder: Path, part: str, roots: Sequence[Path]) -> list[str]:
    """List what is no folder in a part of a checkpoint, none where the part is not there."""
    place = folder / part
    if not is_folder(place):
        return []
    prefix = f"{part}/" if part else ""
    entries = _entries(_followed(place, roots))
    return [prefix + entry.name for entry in entries if not is_folder(Path(entry.path))]


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """List a folder without hidden names and litter."""
    try:
        entries = list(os.scandir(folder))
    except OSError as error:
        raise _unreadable(folder, error) from error
    return [entry for entry in entries if not entry.name.startswith(".") and entry.name.lower() not in _LITTER]


def _followed(path: Path, roots: Sequence[Path]) -> Path:
    """Follow a link to what it names; raises InputAbsent where that is outside of the roots, or nothing."""
    try:
        real = path.resolve(strict=True)
    except (OSError, RuntimeError) as error:
        raise _unreadable(path, error) from error
    if not _leads_into(real, roots):
        # A folder may be a stranger's: the digest of what it leads to would stand in the lock that is handed in.
        raise InputAbsent(
            f"'{printable(str(path), most=_SHOWN)}' leads to '{printable(str(real), most=_SHOWN)}', outside of the "
            "folder; a link may lead into the folder itself, into the cache or into a folder of KOLORA_ROOTS",
            hint="put the file itself there, or, if it is yours, name its folder in KOLORA_ROOTS",
        )
    return real


def identify_file(path: Path, *, memo: Path | None = None) -> str:
    """Digest a file's bytes, remembered in ``memo`` like those of a folder; raises InputAbsent where it is none."""
    try:
        # Opening a pipe or a device could wait for ever.
        with open_regular(path) as file:
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
            _remember(entry, key, sha256)
    return sha256


FileStatus = tuple[int, ...]
"""Device, inode, size, and times of change: one file's bytes have not changed where these have not."""


def see_files(paths: Iterable[Path]) -> dict[Path, FileStatus | None]:
    """Ask the system about files, before they are read; None for one that cannot be asked about."""
    return {path: _see(path) for path in paths}


@dataclass(frozen=True)
class SeenFiles:
    """Files as they were when they were identified; before: what the system said of them, sha256: of their bytes."""

    before: Mapping[Path, FileStatus | None]
    sha256: Mapping[Path, str]

    def changed(self) -> list[Path]:
        """List those whose bytes may be others since. One more link to a file, or other rights, change nothing."""
        touched = [path for path, status in self.before.items() if status is None or _see(path) != status]
        return [path for path in touched if not self._is_the_same(path)]

    def _is_the_same(self, path: Path) -> bool:
        before, now = self.before[path], _see(path)
        # All but the last, the time when anything about the file changed, its links among it.
        if before is None or now is None or before[:-1] != now[:-1]:
            return False
        with suppress(InputAbsent):
            return identify_file(path) == self.sha256.get(path)
        return False


def _see(path: Path) -> FileStatus | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _recall(entry: Path, key: list[int]) -> str | None:
    """Read one memo; a torn, foreign, damaged or unreadable one is as good as none."""
    try:
        memory = read_json(entry)
        # Without its own digest, one flipped bit of a memo would be another identity.
        is_sound = memory[OWN_DIGEST] == own_digest(memory) and memory["key"] == key
        return memory["identity"] if is_sound and len(bytes.fromhex(memory["identity"])) == 32 else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _remember(entry: Path, key: list[int], identity: str) -> None:
    memory = {"key": key, "identity": identity}
    write_json(entry, memory | {OWN_DIGEST: own_digest(memory)})


def _unreadable(path: Path, error: OSError | RuntimeError) -> InputAbsent:
    reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
    name = printable(str(path), most=_SHOWN)
    return InputAbsent(f"'{name}' cannot be read: {reason}", hint=f"check that this user may read '{name}'")
