"""Which folder is kolora's to write into, and which files in it are: everything else there is its user's."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

from kolora.characters import show
from kolora.errors import OutputUnwritable
from kolora.files import is_file, writing
from kolora.folders import Folder, NotPlain
from kolora.names import fault_of_name
from kolora.version import __version__

MARK = ".kolora.json"
"""The file by which a folder is known as kolora's."""
_UNFINISHED_MARK = re.compile(rf"\.{re.escape(MARK)}\.new-[0-9a-f]{{16}}")
LARGEST_MARK = 16 * 2**20
LITTER = frozenset({"lost+found", "thumbs.db", "desktop.ini"})
"""What systems leave in folders that hold nothing, in lower case, besides names that begin with a dot."""
SHOWN = 3
LARGEST_HEAD = 2**20
"""Bytes that are looked at of a file in the way."""

FolderKind = Literal["run", "verification", "export"]
_TITLES: Mapping[str, str] = {"run": "the run folder of {!r}", "verification": "the folder of a verification"}


@dataclass(frozen=True)
class Mark:
    """What a folder's mark says: what kind of folder it is, whose, and which files kolora has written there.

    source: the name of the file that it was last made from, empty where that is not known. exports: the files that were
    written elsewhere of what is in it, those inside it by their names, each with its sha256: a mark may be a
    stranger's, who knows what a file of the user's is called, and not what is in it.
    """

    kind: str
    name: str
    files: frozenset[str] = frozenset()
    source: str = ""
    exports: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def title(self) -> str:
        """Say whose folder it is."""
        return _TITLES.get(self.kind, "a folder of another kind").format(self.name)


def is_of_kolora(path: Path) -> bool:
    """Tell whether a folder is one that kolora wrote: a run's, of whatever version, or a submission."""
    signs = (MARK, "records/run.json", "story.lock.yaml")
    return any(is_file(path / sign) for sign in signs)


def no_other_mark(_: Folder) -> Mark | None:
    """Know a folder by its mark alone."""
    return None


class OwnedFolder:
    """A folder with kolora's mark, in which only the files that it lists are ever replaced or removed.

    Methods raise OutputUnwritable where something of the user's stands in the way, and OSError as ``Folder`` does.
    """

    def __init__(self, folder: Folder, mark: Mark, *, staging: str | None = None) -> None:
        self.folder = folder
        self.mark = mark
        self._files = set(mark.files)
        self._exports = dict(mark.exports)
        self._staging = staging

    @classmethod
    def claim(
        cls,
        folder: Folder,
        *,
        kind: FolderKind,
        name: str | None,
        source: str = "",
        staging: str | None = None,
        other_mark: Callable[[Folder], Mark | None] = no_other_mark,
        way_out: str,
    ) -> OwnedFolder:
        """Take a folder that is kolora's already, or an empty one, which is marked.

        name: whose it is to be; None takes whose it is. source: the file that it is made from. staging: the folder in
        which files are written before they take their place. other_mark: reads what marked a folder in former versions.
        Raises OutputUnwritable for every other folder.
        """
        mark = mark_of(folder, other_mark)
        refuse_others(folder, mark, kind=kind, name=name, way_out=way_out)
        mark = mark or Mark(kind, name or "")
        is_new = source not in ("", mark.source)
        owned = cls(folder, dataclasses.replace(mark, source=source or mark.source), staging=staging)
        owned._refuse_other_kinds()
        for each in folder.names():
            if _UNFINISHED_MARK.fullmatch(each):
                folder.remove(each)
        if not folder.is_file(MARK):
            # Beside its place: a kill before the mark is there must leave no folder that nobody knows.
            folder.write(MARK, owned._mark_bytes())
        elif is_new:
            owned._write_mark()
        return owned

    @property
    def files(self) -> frozenset[str]:
        """The files that kolora has written here, or is about to."""
        return frozenset(self._files)

    @property
    def exports(self) -> Mapping[str, str]:
        """The sha256 of the files that were written elsewhere of what is here."""
        return dict(self._exports)

    def list_exports(self, digests: Mapping[str, str]) -> None:
        """List files that were written elsewhere, with their sha256."""
        if any(self._exports.get(name) != sha256 for name, sha256 in digests.items()):
            self._exports |= digests
            self._write_mark()

    def expect(self, names: Iterable[str]) -> None:
        """List files before they are written, so that a kill leaves none that nobody owns up to.

        Raises OutputUnwritable where one is there and was not written by kolora.
        """
        new = {name for name in names if name not in self._files}
        in_the_way = sorted(name for name in new if self.folder.kind(name) is not None)
        if in_the_way:
            raise self._not_ours(in_the_way)
        if new:
            self._files |= new
            self._write_mark()

    def not_ours(self, names: Iterable[str]) -> list[str]:
        """List which of these names stand for something that kolora did not write."""
        return sorted(name for name in names if name not in self._files and self.folder.kind(name) is not None)

    def refuse(self, names: Iterable[str]) -> None:
        """Raise OutputUnwritable where one of these names stands for something that kolora did not write."""
        in_the_way = self.not_ours(names)
        if in_the_way:
            raise self._not_ours(in_the_way)

    @contextmanager
    def replacing(self, name: str) -> Iterator[IO[bytes]]:
        """Give a new file to write, which takes its name in one move."""
        self.expect([name])
        with self.folder.replacing(name, by_way_of=self._staging) as file:
            yield file

    def write(self, name: str, content: bytes) -> None:
        """Write a file in one move."""
        with self.replacing(name) as file:
            file.write(content)

    def write_text(self, name: str, text: str) -> None:
        """Write a file in UTF-8 with plain line ends, in one move."""
        self.write(name, text.encode())

    def write_json(self, name: str, value: Any) -> None:
        """Write a value as JSON, in one move."""
        self.write_text(name, show(json.dumps(value, ensure_ascii=False, indent=1)) + "\n")

    def copy(self, source: str, name: str) -> str:
        """Copy a file within the folder to its public name, in one move; returns its sha256."""
        self.expect([name])
        return self.folder.copy(source, name, by_way_of=self._staging)

    def remove(self, names: Iterable[str]) -> None:
        """Remove files of kolora's; others stay, and so does a folder in which one is left."""
        gone = {name for name in names if name in self._files}
        for name in sorted(gone):
            try:
                self.folder.remove(name)
            except NotPlain:
                # What stands in the way on the path to it is not ours.
                continue
        for above in sorted({name.rpartition("/")[0] for name in gone} - {""}, reverse=True):
            self.folder.remove_empty(above)
        if gone:
            self._files -= gone
            self._write_mark()

    def _refuse_other_kinds(self) -> None:
        """Refuse a folder in which a link, a pipe or a folder stands where kolora wrote a file; before any work."""
        for name in sorted(self._files):
            kind = self.folder.kind(name)
            if kind not in (None, "file"):
                raise NotPlain(self.folder.path / name, kind)

    def _write_mark(self) -> None:
        self.folder.write(MARK, self._mark_bytes(), by_way_of=self._staging)

    def _mark_bytes(self) -> bytes:
        mark = {
            "kolora": __version__,
            "folder": self.mark.kind,
            "name": self.mark.name,
            "source": self.mark.source,
            "files": sorted(self._files),
            "exports": dict(sorted(self._exports.items())),
        }
        return (show(json.dumps(mark, ensure_ascii=False, indent=0)) + "\n").encode()

    def _not_ours(self, names: list[str]) -> OutputUnwritable:
        shown = ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
        return OutputUnwritable(
            f"{self.folder.path} holds {shown}, which kolora did not write and would have to replace",
            hint="move that elsewhere, or choose another folder with -o",
        )


def mark_of(folder: Folder, other_mark: Callable[[Folder], Mark | None] = no_other_mark) -> Mark | None:
    """Read what marks a folder as kolora's; None where nothing does. Raises OutputUnwritable for a torn mark."""
    try:
        with folder.opened(MARK) as file:
            content = file.read(LARGEST_MARK)
    except FileNotFoundError:
        return other_mark(folder)
    try:
        values = json.loads(content)
        kind, name, files = values["folder"], values["name"], values["files"]
        source, exports = values.get("source", ""), values.get("exports", {})
        # Names without a sha256, as marks had them for a while, tell of nothing.
        exports = exports if isinstance(exports, dict) else {}
        texts = (kind, name, source, *files, *exports, *exports.values())
        if not isinstance(files, list) or not all(isinstance(each, str) for each in texts):
            raise ValueError("a mark of another form")
    except (ValueError, KeyError, TypeError, RecursionError) as problem:
        raise OutputUnwritable(
            f"{folder.path / MARK} cannot be read; it says which files in {folder.path} are kolora's",
            hint="remove it if the folder is otherwise empty, or choose another folder with -o",
        ) from problem
    # A name that leads elsewhere was never written by kolora.
    return Mark(kind, name, frozenset(each for each in files if fault_of_name(each) is None), source, exports)


def refuse_others(folder: Folder, mark: Mark | None, *, kind: FolderKind, name: str | None, way_out: str) -> None:
    """Raise OutputUnwritable for a folder that is neither empty nor marked as this one's."""
    if mark is not None:
        if mark.kind != kind or (name is not None and mark.name != name):
            raise OutputUnwritable(f"{folder.path} is {mark.title}, and nothing else is written there", hint=way_out)
        return
    if name is None:
        raise OutputUnwritable(f"{folder.path} has no mark of kolora's, and nothing is written there", hint=way_out)
    there = [each for each in folder.names() if not each.startswith(".") and each.lower() not in LITTER]
    if there:
        shown = ", ".join(there[:SHOWN]) + (f" and {len(there) - SHOWN} more" if len(there) > SHOWN else "")
        raise OutputUnwritable(
            f"{folder.path} is not empty and has no mark of kolora's: it holds {shown}", hint=way_out
        )


def set_aside(path: Path, *, unless: Callable[[bytes], bool]) -> Path | None:
    """Move a file of the user's out of the way of one that is to be written; returns where it is now, None if none was.

    unless: tells, by its first bytes, whether it may be replaced. Raises OSError where something else than a file is.
    """
    if not os.path.lexists(path):
        return None
    with Folder.open(path.parent).opened(path.name) as file:
        if unless(file.read(LARGEST_HEAD)):
            return None
    names = (path.with_name(f"{path.name}.old{number or ''}") for number in itertools.count())
    free = next(name for name in names if not os.path.lexists(name))
    path.rename(free)
    return free


def open_folder(path: Path) -> Folder:
    """Make and open a folder to write into; raises OutputUnwritable where that cannot be."""
    with writing(path):
        return Folder.open(path, create=True)
