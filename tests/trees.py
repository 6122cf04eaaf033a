"""What a folder holds, to say after an attack whether anything in it changed."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path


def tree_of(root: Path) -> dict[str, str]:
    """Map every name below a folder to what it is: a file by its bytes, a link by where it leads."""
    return {path.relative_to(root).as_posix(): _what(path) for path in sorted(root.rglob("*"))}


def _what(path: Path) -> str:
    mode = path.lstat().st_mode
    if stat.S_ISLNK(mode):
        return f"link to {path.readlink()}"
    if stat.S_ISREG(mode):
        return hashlib.sha256(path.read_bytes()).hexdigest()
    return "folder" if stat.S_ISDIR(mode) else "other"


def _file(path: Path, victim: Path) -> None:
    path.write_bytes(b"the user's own")


def _folder(path: Path, victim: Path) -> None:
    path.mkdir()
    (path / "mine.txt").write_text("the user's own")


def _link_to_file(path: Path, victim: Path) -> None:
    path.symlink_to(victim / "profile")


def _link_to_folder(path: Path, victim: Path) -> None:
    path.symlink_to(victim)


def _link_to_nothing(path: Path, victim: Path) -> None:
    path.symlink_to(victim / "not-there-yet")


def _link_to_itself(path: Path, victim: Path) -> None:
    path.symlink_to(path.name)


def _pipe(path: Path, victim: Path) -> None:
    os.mkfifo(path)


PLANTS: Mapping[str, Callable[[Path, Path], None]] = {
    "file": _file,
    "folder": _folder,
    "link to a file": _link_to_file,
    "link to a folder": _link_to_folder,
    "link to nothing": _link_to_nothing,
    "link to itself": _link_to_itself,
    "pipe": _pipe,
}
"""What may stand under a name; each is given the name's path, and a folder outside for links to lead to."""


def plant(kind: str, path: Path, victim: Path) -> None:
    """Put something under a name, whatever stood there."""
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.is_dir():
        path.rename(path.with_name(f"{path.name}-was-here"))
    path.parent.mkdir(parents=True, exist_ok=True)
    PLANTS[kind](path, victim)


def make_victim(folder: Path) -> Path:
    """Make a folder of somebody else's, with a file and a folder."""
    victim = folder / "victim"
    (victim / "01-0000").mkdir(parents=True)
    (victim / "profile").write_text("alias ls='ls'\n")
    (victim / "01-0000" / "keep.png").write_bytes(b"keep")
    return victim
