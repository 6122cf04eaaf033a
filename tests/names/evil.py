"""Evil names, one table for all doors, and a folder that shows whether any of them led out."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

CANARY = "canary.txt"
"""The file beside the place that names are put below; many names of the table aim at it."""

_LEADING_OUT = (
    "..",
    "../canary.txt",
    "../../canary.txt",
    "../../../../../../canary.txt",
    "../canary.txt.png",
    "a/../../canary.txt",
    "a/b/../../../canary.txt",
    "images/../../canary.txt",
    "./../canary.txt",
    "a/..",
    "../",
    "..//canary.txt",
    "lora/../../../canary.txt",
    "/",
    "//",
    "/canary.txt",
    "//canary.txt",
    "//server/share/canary.txt",
    "/dev/null",
    "/proc/self/mem",
    "/proc/kmsg",
    "/etc/passwd",
    "\\canary.txt",
    "\\\\server\\share\\canary.txt",
    "\\\\?\\C:\\canary.txt",
    "..\\canary.txt",
    "a\\..\\..\\canary.txt",
    "a\\b.png",
    "C:\\canary.txt",
    "C:/canary.txt",
    "C:canary.txt",
    "z:",
)
_SHAPES = (
    "",
    ".",
    "./",
    "./.",
    "a/",
    "a//b.png",
    "a/./b.png",
    "a/b/.",
)
_LETTERS = (
    "nul\x00.png",
    "\x00",
    "images/01.png\x00.txt",
    "line\nbreak.png",
    "carriage\rreturn.png",
    "tab\t.png",
    "bell\x07.png",
    "back\x08\x08.png",
    "vertical\x0b.png",
    "form\x0c.png",
    "\x1b[2J\x1b[31mred.png",
    "\x1b]0;title\x07.png",
    "\x1b]8;;http://evil.invalid\x1b\\link.png",
    "unit\x1f.png",
    "delete\x7f.png",
    "next\x85line.png",
    "csi\x9b31m.png",
    "osc\x9d0;title\x9c.png",
    "line\u2028separator.png",
    "paragraph\u2029separator.png",
    "exe\u202egnp.png",
    "\u202dforced.png",
    "\u202aleft\u202c.png",
    "\u202bright.png",
    "\u2066isolate\u2069.png",
    "\u2067isolate.png",
    "\u2068first.png",
    "\u200emark.png",
    "\u200fmark.png",
    "\u061cmark.png",
    "half\ud800.png",
    "half\udfff.png",
    "bytes\udc80\udcff.png",
    "\udcc4\udce3.png",
)
_LENGTHS = (
    "n" * 300,
    "n" * 300 + ".png",
    "图" * 86 + ".png",
    "a/" + "n" * 256 + "/b.png",
    "d/" * 600 + "b.png",
    "n" * 10_000,
    "/".join(["n" * 200] * 30) + ".png",
)
EVIL = (*_LEADING_OUT, *_SHAPES, *_LETTERS, *_LENGTHS)
"""Names that no door lets in."""

EVIL_ON_WINDOWS = (
    "con",
    "NUL",
    "nul.png",
    "aux.tar.gz",
    "a/PRN.txt",
    "com1.png",
    "LPT9",
    "com¹",
    "conin$",
    "a./b.png",
    "dot.",
    "space ",
    "a /b.png",
    "stream.png:hidden",
    "star*.png",
    "what?.png",
    'quote".png',
    "less<.png",
    "pipe|.png",
)
"""Names that are refused only where a file is made for other people's machines."""

LEGAL = (
    "01.png",
    "images/01.png",
    "图一.jpg",
    "水墨/山水 画.png",
    "my picture (1).png",
    "it's #1 100%.png",
    "~home.png",
    "-rf.png",
    "$(touch x).png",
    "`id`.png",
    "a&b;c.png",
    "家庭👨‍👩‍👧.png",
    "Ünïcödé.png",
    "e\u0301.png",
    ".hidden.png",
    "...png",
    "a..b.png",
    "..a.png",
    "emoji🏴\U000e0067\U000e0062\U000e007f.png",
    "n" * 251 + ".png",
    "a/b/c/d/e/f/g.png",
)
"""Names that people have, and that every door lets in."""

EVIL_SETS: Mapping[str, tuple[str, ...]] = {
    "twice": ("a.png", "a.png"),
    "file below a file": ("a.png", "a.png/b.png"),
    "file below a file, the other way round": ("a.png/b.png", "a.png"),
    "file far below a file": ("a", "b.png", "a/b/c/d.png"),
}
"""Names that are legal one by one and cannot lie in one folder."""

EVIL_SETS_FOLDED: Mapping[str, tuple[str, ...]] = {
    "upper case": ("a.png", "A.png"),
    "upper case of a folder": ("images/01.png", "IMAGES/01.png"),
    "sharp s": ("straße.png", "STRASSE.png"),
    "composed": ("\u00e9.png", "e\u0301.png"),
    "composed Hangul": ("\uac00.png", "\u1100\u1161.png"),
    "Kelvin": ("k.png", "\u212a.png"),
    "below a file in upper case": ("a.png", "A.PNG/b.png"),
}
"""Names that are one file on macOS or Windows, and several on Linux."""


class Canary:
    """A tree of a user's files around the place that a door writes to; ``changes`` says what became of it."""

    def __init__(self, root: Path) -> None:
        """Plant it: ``root/a/b/c/d`` is the place, and each folder above it has files that names may aim at."""
        self.root = root
        self.place = root / "a" / "b" / "c" / "d"
        self.place.mkdir(parents=True)
        for folder in (root, *self.place.parents[:4]):
            for name in (CANARY, "canary.txt.png", "images", "story.yaml"):
                if folder.is_relative_to(root) and not (folder / name).exists():
                    (folder / name).write_text(f"the user's own {name}\n", encoding="utf-8")
        self._before = self._tree()

    def changes(self) -> list[str]:
        """List what was made, changed or deleted outside of the place, nothing if all is well."""
        after = self._tree()
        return sorted(path for path in {*self._before, *after} if self._before.get(path) != after.get(path))

    def _tree(self) -> dict[str, str]:
        tree = {}
        for place, folders, names in os.walk(self.root):
            if Path(place) == self.place:
                folders.clear()
                continue
            for name in (*folders, *names):
                path = Path(place) / name
                tree[str(path)] = _told(path)
        return tree


def _told(path: Path) -> str:
    status = path.lstat()
    if path.is_symlink():
        return f"link to {path.readlink()}"
    if path.is_dir():
        return f"folder {status.st_mode:o}"
    return f"file {status.st_mode:o} {status.st_mtime_ns} {hashlib.sha256(path.read_bytes()).hexdigest()}"


def is_plain(text: str) -> bool:
    """Tell whether a terminal shows a text as it is: nothing in it moves the cursor or turns its direction."""
    evil = {*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029, 0x61C, 0x200E, 0x200F}
    evil |= {*range(0x202A, 0x202F), *range(0x2066, 0x2070), *range(0xD800, 0xE000)}
    return not any(ord(letter) in evil - {0x0A} for letter in text)


def label_of(name: str) -> str:
    """Name a name of the table in a test's title: short, plain, and its own."""
    plain = name.encode("ascii", "backslashreplace").decode().encode("unicode_escape").decode()
    return f"{EVIL.index(name) if name in EVIL else ''}-{plain[:24]}"
