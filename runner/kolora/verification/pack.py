"""A submission, folder or zip, read without trusting it: bounded, never unpacked as a whole, links refused."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO

from kolora.errors import InputAbsent, StoryInvalid
from kolora.files import is_file, is_folder
from kolora.limits import MAX_LORA, MAX_MEMBERS, MAX_SUBMISSION
from kolora.names import checked_names, fault_of_name, leads_out
from kolora.ownership import MARK
from kolora.runfolder import layout
from kolora.spec.words import printable
from kolora.verification.zips import METHODS, besides_files, open_zip

MAX_FILES = 20_000
MOST_LISTED = 10 * MAX_FILES
"""With what a run folder holds for kolora itself, in which there is each picture of a data set more than once."""
MAX_DIRECTORY = 8 * 2**20
"""Bytes of a zip's table of contents, which is read into memory."""
MAX_RATIO = 200
"""A zip's file that grows more than this, above a megabyte, is made to fill a disk: pictures and weights hardly do."""
WHOLE_RATIO = 20
"""The same of all its files together, above ``ALLOWANCE``: what grows more is text, of which there is little."""
ALLOWANCE = 64 * 2**20
BLOCK = 1 << 20
RUNNING = (layout.WORK, layout.LOGS, layout.EXPORT)
"""Folders of a run folder that are no part of what it shows."""
OWN_MARKS = (layout.RUN_LOCK, layout.STATUS, MARK)
"""What a run folder holds for kolora itself, beside its results."""
OF_A_MAC = "__MACOSX"
"""The folder that macOS adds beside the one that it packs."""
HINT = "ask for another copy, and do not run what is in this one"


class SubmissionUnsafe(StoryInvalid):
    """A submission is made to harm who opens it, or is damaged reasons reading."""


@dataclass(frozen=True)
class Pack:
    """The regular files of a submission by name; ``prefix`` is the folder in the zip that they all lie in.

    folders: every folder by name, also those that hold nothing. own: what a run folder holds for kolora itself.
    faults: what a zip holds beside its files, as keys of what is said about it.
    """

    root: Path
    sizes: Mapping[str, int]
    prefix: str = ""
    folders: tuple[str, ...] = ()
    own: Mapping[str, int] = field(default_factory=dict)
    faults: tuple[str, ...] = ()

    @property
    def is_zip(self) -> bool:
        """Whether the submission is one file."""
        return is_file(self.root)

    @property
    def is_run(self) -> bool:
        """Whether it is what a run wrote, with its records, and not what was exported of one."""
        return layout.RUN_RECORD in self.sizes

    def read(self, name: str, *, most: int) -> bytes:
        """Read a file of at most ``most`` bytes; raises InputAbsent where there is none, SubmissionUnsafe."""
        with self._open(name) as file:
            # One byte more than is allowed, so that a file that is too long shows.
            content = file.read(most + 1)
        if len(content) > most:
            raise SubmissionUnsafe(f"{name} has more than {most:,} bytes", hint=HINT)
        return content

    def sha256(self, name: str) -> str:
        """Digest a file."""
        digest = hashlib.sha256()
        for block in self._blocks(name):
            digest.update(block)
        return digest.hexdigest()

    def copy(self, name: str, target: Path) -> None:
        """Copy a file to a place of ours."""
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as file:
            for block in self._blocks(name):
                file.write(block)

    def _blocks(self, name: str) -> Iterator[bytes]:
        # Counted while reading: a zip states what sizes it likes, and a file may have grown since it was listed.
        left = self.sizes[name] if name in self.sizes else self.own[name]
        with self._open(name) as file:
            while block := file.read(BLOCK):
                left -= len(block)
                if left < 0:
                    raise SubmissionUnsafe(f"{name} holds more bytes than it says", hint=HINT)
                yield block

    @contextlib.contextmanager
    def _open(self, name: str) -> Iterator[IO[bytes]]:
        if name not in self.sizes and name not in self.own:
            raise InputAbsent(
                f"the submission has no {name}",
                hint="let its run end; kolora export OUT --to submission makes a whole one",
            )
        try:
            if self.is_zip:
                with open_zip(self.root) as archive, archive.open(self.prefix + name) as file:
                    yield file
            else:
                # A file that became a link since it was listed is not followed.
                with os.fdopen(os.open(self.root / name, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
                    yield file
        except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError, OSError) as problem:
            raise SubmissionUnsafe(f"{name} cannot be read: {problem}", hint=HINT) from problem


def open_pack(path: Path) -> Pack:
    """List what a submission holds; raises InputAbsent where there is none and SubmissionUnsafe."""
    if is_folder(path):
        return _folder(path)
    if is_file(path):
        return _zip(path)
    raise InputAbsent(f"no submission at {path}", hint="name a run folder, a submission's folder or its zip")


def _folder(root: Path) -> Pack:
    sizes: dict[str, int] = {}
    folders: list[str] = []
    for name, size in _listed(root):
        if size is None:
            folders.append(name)
        else:
            sizes[name] = size
        if len(sizes) + len(folders) > MOST_LISTED:
            raise SubmissionUnsafe(f"more than {MOST_LISTED:,} files", hint=HINT)
    pack = _parted(root, sizes, folders)
    if len(pack.sizes) + len(pack.folders) > MAX_FILES:
        raise SubmissionUnsafe(f"more than {MAX_FILES:,} files", hint=HINT)
    _check_sizes(pack.sizes)
    return pack


def _listed(root: Path) -> Iterator[tuple[str, int | None]]:
    """Yield every file with its bytes, and every folder with None, in no order; hidden ones too."""
    for folder, folders, files in os.walk(root):
        here = Path(folder)
        for name in [*folders, *files]:
            path = here / name
            status, inside = path.lstat(), path.relative_to(root).as_posix()
            if stat.S_ISLNK(status.st_mode):
                raise SubmissionUnsafe(f"{printable(inside)} is a link; a submission holds plain files", hint=HINT)
            if name in files and not stat.S_ISREG(status.st_mode):
                raise SubmissionUnsafe(f"{printable(inside)} is not a regular file", hint=HINT)
            yield inside, status.st_size if name in files else None


def _zip(path: Path) -> Pack:
    _check_directory(path)
    sizes: dict[str, int] = {}
    try:
        with open_zip(path) as archive:
            for entry in archive.infolist():
                name = entry.filename
                fault = _fault(entry)
                # Of two entries with one name, each tool unpacks the one it likes.
                if fault or name in sizes:
                    given = printable(name)
                    raise SubmissionUnsafe(f"{path.name}: '{given}' {fault or 'is listed twice'}", hint=HINT)
                sizes[name] = entry.file_size
            _check_sizes(sizes)
            faults = tuple(besides_files(archive))
    except (zipfile.BadZipFile, zlib.error, OSError, ValueError, struct.error, NotImplementedError) as problem:
        raise SubmissionUnsafe(f"{path.name} is not a readable zip: {printable(str(problem))}", hint=HINT) from problem
    packed = path.stat().st_size
    if sum(sizes.values()) > ALLOWANCE + WHOLE_RATIO * packed:
        raise SubmissionUnsafe(f"{path.name} unpacks to more than {WHOLE_RATIO} times its {packed:,} bytes", hint=HINT)
    files = {name: size for name, size in sizes.items() if not name.endswith("/")}
    tops = {name.partition("/")[0] for name in files} - {OF_A_MAC}
    prefix = f"{tops.pop()}/" if layout.STORY not in files and len(tops) == 1 else ""
    folders = {name.removesuffix("/") for name in sizes.keys() - files.keys() if name != prefix}
    for name in files:
        folders |= {str(parent) for parent in PurePosixPath(name).parents} - {".", prefix.removesuffix("/")}
    inside = {name.removeprefix(prefix): size for name, size in files.items()}
    return _parted(path, inside, {name.removeprefix(prefix) for name in folders}, prefix=prefix, faults=faults)


def _parted(
    root: Path, sizes: Mapping[str, int], folders: Collection[str], *, prefix: str = "", faults: tuple[str, ...] = ()
) -> Pack:
    """Part what a run folder shows from what it holds for kolora itself; a submission has nothing of that kind."""
    is_run = layout.RUN_RECORD in sizes

    def is_own(name: str) -> bool:
        # At the top alone: a folder of such a name further down is looked at like any other.
        top, _, inside = name.partition("/")
        return is_run and (name in OWN_MARKS or (top in RUNNING and bool(inside or name in folders)))

    return Pack(
        root,
        {name: size for name, size in sizes.items() if not is_own(name)},
        prefix,
        folders=tuple(sorted(name for name in folders if not is_own(name))),
        own={name: size for name, size in sizes.items() if is_own(name)},
        faults=faults,
    )


def _fault(entry: zipfile.ZipInfo) -> str | None:
    # As it was written: the other name ends where a NUL is. A folder's ends in a slash.
    name = entry.orig_filename.removesuffix("/")
    # The upper half is the Unix mode, and 0 in a zip that was made elsewhere.
    kind = stat.S_IFMT(entry.external_attr >> 16)
    # A colon names a drive, or a stream of another file, on Windows, where it may be unpacked.
    if leads_out(name) or ":" in name:
        return "points outside the submission"
    fault = fault_of_name(name)
    if fault is not None:
        return fault
    if kind not in (0, stat.S_IFDIR if entry.is_dir() else stat.S_IFREG):
        return "is a link or a device; a submission holds plain files"
    if entry.flag_bits & 1:
        return "is encrypted"
    if entry.compress_type not in METHODS:
        return "is compressed otherwise than zips usually are; stored or deflated was expected"
    if entry.file_size > BLOCK and entry.file_size > MAX_RATIO * max(1, entry.compress_size):
        return f"unpacks to more than {MAX_RATIO} times its size"
    return None


def _check_directory(path: Path) -> None:
    """Refuse a zip whose table of contents is too large, before the zip module reads all of it."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        # A zip ends in a record of 22 bytes and a comment of up to 65,535; a ZIP64 locator before it has 20.
        file.seek(max(0, size - 65_557 - 20))
        tail = file.read()
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) < at + 22:
        raise SubmissionUnsafe(
            f"{path.name} is not a zip, or its end is missing; expected a run folder, a submission's folder or its zip",
            hint="name one of these, or ask for another copy",
        )
    count, directory = struct.unpack("<HI", tail[at + 10 : at + 16])
    # A ZIP64 locator (PK 6 7) moves the true numbers elsewhere, where this check does not see them.
    if count > MAX_FILES or directory > MAX_DIRECTORY or tail[max(0, at - 20) : at].startswith(b"PK\x06\x07"):
        raise SubmissionUnsafe(f"{path.name} lists more than {MAX_FILES:,} files", hint=HINT)


def _check_sizes(sizes: Mapping[str, int]) -> None:
    if len(sizes) > MAX_MEMBERS.value:
        raise SubmissionUnsafe(f"the submission holds more than {MAX_MEMBERS}", hint=MAX_MEMBERS.hint)
    for name, size in sizes.items():
        # Nothing in one is larger than its LoRA, and what is compared is copied.
        if size > MAX_LORA.value:
            raise SubmissionUnsafe(f"{name} has {size:,} bytes, more than {MAX_LORA}", hint=MAX_LORA.hint)
    if sum(sizes.values()) > MAX_SUBMISSION.value:
        # A rank-256 LoRA of Kolors in three formats is about 4.5 GB.
        raise SubmissionUnsafe(f"the submission holds more than {MAX_SUBMISSION}", hint=MAX_SUBMISSION.hint)
    # Of two names that are one file to some systems, each tool reads the one it likes.
    files = [name for name in sizes if not name.endswith("/")]
    checked_names(files, source="the submission", folded=True, error=SubmissionUnsafe, hint=HINT)
