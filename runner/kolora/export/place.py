"""The folder that an export goes to: the run's mark lists what kolora has written there, and the rest is the user's."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, cast

from kolora.errors import OutputUnwritable
from kolora.files import real_path, writing
from kolora.folders import Folder, new_name
from kolora.ownership import Mark, OwnedFolder
from kolora.runfolder.layout import MANIFEST, PUBLIC, SIGNATURE
from kolora.runfolder.manifest import parse_manifest
from kolora.runfolder.store import RunFolder

_UNFINISHED = re.compile(r"\.new-[0-9a-f]{16}")


class ExportFolder(OwnedFolder):
    """A folder that may hold anything; the mark of the run folder tells what was exported there before.

    A file is known as kolora's by its bytes, not by its name alone: the run may be a stranger's, and so its mark.
    prefix: what the folder's files are called there, relative where it lies in the run folder.
    """

    def __init__(self, folder: Folder, run: OwnedFolder | None, prefix: str) -> None:
        known = run.exports if run is not None else {}
        self._digests = {name.removeprefix(prefix): each for name, each in known.items() if name.startswith(prefix)}
        super().__init__(folder, Mark("export", "", frozenset(self._digests)))
        self._run, self._prefix = run, prefix

    @contextlib.contextmanager
    def replacing(self, name: str) -> Iterator[IO[bytes]]:
        """Give a new file to write, which takes its name in one move unless a file of the user's has it."""
        with self.folder.replacing(name) as file:
            yield file
            file.seek(0)
            sha256 = hashlib.file_digest(cast("Any", file), "sha256").hexdigest()
            # The same bytes are no loss: a kill may have come before they were listed.
            if not self._is(name, sha256):
                self.refuse([name])
        self.list_files({name: sha256})

    def not_ours(self, names: Iterable[str]) -> list[str]:
        """List which of these names stand for something that kolora did not write."""
        return sorted(name for name in names if self.folder.kind(name) is not None and not self._is_known(name))

    def list_files(self, digests: Mapping[str, str]) -> None:
        """List files as kolora's in the run's mark, by their sha256."""
        self._digests |= digests
        if self._run is None:
            return
        try:
            self._run.list_exports({self._prefix + name: each for name, each in digests.items()})
        except OSError as problem:
            # A judge's run folder is mounted to be read; the export lies elsewhere, and only its mark is not kept.
            if problem.errno not in (errno.EROFS, errno.EACCES, errno.EPERM):
                raise

    def _is_known(self, name: str) -> bool:
        return name in self._digests and self._is(name, self._digests[name])

    def _is(self, name: str, sha256: str) -> bool:
        return self.folder.is_file(name) and self.folder.sha256(name) == sha256


def claim_export(into: Path, *, run: Path) -> ExportFolder:
    """Take a folder to export a run into; one inside the run folder is reached without following a link.

    Raises OutputUnwritable where it cannot be written, or where it is the run's own.
    """
    try:
        owner = RunFolder(run).claim()
    except OutputUnwritable:
        # Somebody else's run, or one on a disk that is not written to: nothing is known of earlier exports.
        owner = None
    inside = into.relative_to(run).as_posix() if into.is_relative_to(run) and ".." not in into.parts else ""
    _refuse_published(into, run)
    with writing(into):
        if inside:
            Folder.open(run).make(inside)
        folder = Folder.open(into, create=True)
        for name in folder.names():
            # What a kill left of a pack that was being made.
            if _UNFINISHED.fullmatch(name):
                folder.remove_tree(name)
    return ExportFolder(folder, owner, f"{inside or real_path(into).as_posix()}/")


def _refuse_published(into: Path, run: Path) -> None:
    """Refuse the run folder itself and the folders of what it publishes: they promise what lies in them."""
    real, root = real_path(into), real_path(run)
    if real.is_relative_to(root) and real.relative_to(root).parts[:1] in ((), *((name,) for name in PUBLIC)):
        raise OutputUnwritable(
            f"{into} is where the run's own files are, and an export is no part of it",
            hint="leave -o out, or choose another folder with -o",
        )


def begin_pack(owned: ExportFolder) -> Path:
    """Make an empty folder to write a pack into, under a name that nobody can foresee."""
    name = f".{new_name()}"
    owned.folder.make(name)
    return owned.folder.path / name


def replace_pack(owned: ExportFolder, partial: Path, name: str) -> None:
    """Give a finished pack its name, in place of an earlier one; raises OutputUnwritable where something else is there.

    A pack of which no mark tells is known by its manifest: it promises each of its files.
    """
    folder = owned.folder
    there = list(folder.files(name)) if folder.kind(name) == "folder" else [name]
    archive = f"{name}.zip"
    if not _is_promised(folder, name, there):
        owned.refuse([*there, archive])
    elif folder.is_file(archive):
        owned.list_files({archive: folder.sha256(archive)})
    digests = {f"{name}/{path}": folder.sha256(f"{partial.name}/{path}") for path in _files(partial)}
    folder.remove_tree(name)
    folder.rename(partial.name, name)
    owned.list_files(digests)


def _files(folder: Path) -> Iterator[str]:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield path.relative_to(folder).as_posix()


def _is_promised(folder: Folder, name: str, there: list[str]) -> bool:
    try:
        promised = parse_manifest(folder.read(f"{name}/{MANIFEST}").decode("utf-8", errors="replace"))
        own = {f"{name}/{file}": digest for file, digest in promised.items()}
        if not set(there) <= own.keys() | {f"{name}/{each}" for each in (MANIFEST, SIGNATURE)}:
            return False
        return all(folder.sha256(file) == digest for file, digest in own.items())
    except (OSError, ValueError):
        return False
