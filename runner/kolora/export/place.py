"""The folder that an export goes to: a mark in it lists what kolora has written there, and the rest is the user's."""

from __future__ import annotations

import re
from pathlib import Path

from kolora.files import writing
from kolora.folders import Folder, new_name
from kolora.ownership import OwnedFolder, open_folder
from kolora.runfolder.layout import MANIFEST
from kolora.runfolder.manifest import parse_manifest

_UNFINISHED = re.compile(r"\.new-[0-9a-f]{16}")


def claim_export(into: Path, *, run: Path) -> OwnedFolder:
    """Take a folder to export into, which may hold anything else; raises OutputUnwritable for one of another kind.

    run: the run folder that is exported. A folder inside it is reached without following a link.
    """
    inside = into.relative_to(run).as_posix() if into.is_relative_to(run) and ".." not in into.parts else ""
    if inside:
        with writing(run):
            Folder.open(run).make(inside)
    owned = OwnedFolder.claim(
        open_folder(into), kind="export", name="export", shared=True, way_out="choose another folder with -o"
    )
    for name in owned.folder.names():
        # What a kill left of a pack that was being made.
        if _UNFINISHED.fullmatch(name):
            owned.folder.remove_tree(name)
    return owned


def begin_pack(owned: OwnedFolder) -> Path:
    """Make an empty folder to write a pack into, under a name that nobody can foresee."""
    name = f".{new_name()}"
    owned.folder.make(name)
    return owned.folder.path / name


def replace_pack(owned: OwnedFolder, partial: Path, name: str) -> None:
    """Give a finished pack its name, in place of an earlier one; raises OutputUnwritable where something else is there.

    A pack of an earlier kolora, which marked no folder, is known by its manifest: it promises each of its files.
    """
    folder = owned.folder
    there = list(folder.files(name)) if folder.kind(name) == "folder" else [name]
    if _is_promised(folder, name, there):
        owned.adopt([f"{name}.zip"])
    else:
        owned.refuse(there)
    owned.adopt(f"{name}/{path}" for path in sorted(path.relative_to(partial).as_posix() for path in _files(partial)))
    folder.remove_tree(name)
    folder.rename(partial.name, name)


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def _is_promised(folder: Folder, name: str, there: list[str]) -> bool:
    try:
        promised = parse_manifest(folder.read(f"{name}/{MANIFEST}").decode("utf-8", errors="replace"))
        own = {f"{name}/{file}": digest for file, digest in promised.items()}
        return set(there) <= own.keys() | {f"{name}/{MANIFEST}"} and all(
            folder.sha256(file) == digest for file, digest in own.items()
        )
    except (OSError, ValueError):
        return False
