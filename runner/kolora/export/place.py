"""The folder that an export goes to: the run's mark lists what kolora has written there, and the rest is the user's."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from pathlib import Path

from kolora.errors import OutputUnwritable
from kolora.files import writing
from kolora.folders import Folder, new_name
from kolora.ownership import Mark, OwnedFolder
from kolora.runfolder.layout import MANIFEST
from kolora.runfolder.manifest import parse_manifest
from kolora.runfolder.store import RunFolder

_UNFINISHED = re.compile(r"\.new-[0-9a-f]{16}")


class ExportFolder(OwnedFolder):
    """A folder that may hold anything; what was exported there before is known from the mark of the run folder.

    prefix: what the folder's files are called there, relative where it lies in the run folder.
    """

    def __init__(self, folder: Folder, run: OwnedFolder | None, prefix: str) -> None:
        known = run.exports if run is not None else ()
        files = frozenset(name.removeprefix(prefix) for name in known if name.startswith(prefix))
        super().__init__(folder, Mark("export", "", files))
        self._run, self._prefix = run, prefix

    def _write_mark(self) -> None:
        if self._run is None:
            return
        try:
            self._run.list_exports(self._prefix + name for name in self.files)
        except OSError as problem:
            # A judge's run folder is mounted to be read; the export lies elsewhere, and only its mark is not kept.
            if problem.errno not in (errno.EROFS, errno.EACCES, errno.EPERM):
                raise


def claim_export(into: Path, *, run: Path) -> ExportFolder:
    """Take a folder to export a run into; one inside the run folder is reached without following a link.

    Raises OutputUnwritable where it cannot be written.
    """
    try:
        owner = RunFolder(run).claim()
    except OutputUnwritable:
        # Somebody else's run, or one on a disk that is not written to: nothing is known of earlier exports.
        owner = None
    inside = into.relative_to(run).as_posix() if into.is_relative_to(run) and ".." not in into.parts else ""
    with writing(into):
        if inside:
            Folder.open(run).make(inside)
        folder = Folder.open(into, create=True)
        for name in folder.names():
            # What a kill left of a pack that was being made.
            if _UNFINISHED.fullmatch(name):
                folder.remove_tree(name)
    return ExportFolder(folder, owner, f"{inside or into.resolve().as_posix()}/")


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
    if _is_promised(folder, name, there):
        owned.adopt([f"{name}.zip"])
    else:
        owned.refuse(there)
    owned.adopt(f"{name}/{path}" for path in _files(partial))
    folder.remove_tree(name)
    folder.rename(partial.name, name)


def _files(folder: Path) -> Iterator[str]:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield path.relative_to(folder).as_posix()


def _is_promised(folder: Folder, name: str, there: list[str]) -> bool:
    try:
        promised = parse_manifest(folder.read(f"{name}/{MANIFEST}").decode("utf-8", errors="replace"))
        own = {f"{name}/{file}": digest for file, digest in promised.items()}
        if not set(there) <= own.keys() | {f"{name}/{MANIFEST}"}:
            return False
        return all(folder.sha256(file) == digest for file, digest in own.items())
    except (OSError, ValueError):
        return False
