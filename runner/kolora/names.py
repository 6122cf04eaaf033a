"""Names from outside - of a hub, an archive, a pack, a record - checked before they meet the file system."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from kolora.characters import show
from kolora.errors import InputAbsent, KoloraError
from kolora.redaction import redact

LONGEST_PART = 255
"""Bytes of one part of a name that every file system takes."""
LONGEST_NAME = 1024
"""Bytes of a whole name: systems take 4,096 of a path, and the folder that the name is put into needs its share."""
_PRINTED = 60
"""Characters of a given text that a message repeats."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
# Marks that turn the direction of text show another name than the one that is opened: U+202E makes gpj.exe of exe.jpg.
_DIRECTION = re.compile(r"[\u061c\u200e\u200f\u202a-\u202e\u2066-\u206f]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_DRIVE = re.compile(r"[A-Za-z]:")
_DIGEST = re.compile(r"[0-9a-f]{64}")
# What Windows opens instead of a file, with any ending behind it.
_DEVICE = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|clock\$|(com|lpt)[0-9\u00b9\u00b2\u00b3])", re.IGNORECASE)
_WINDOWS = re.compile(r'[<>:"|?*]')


def printable(text: str, *, most: int = _PRINTED) -> str:
    """Return text of a stranger's as a message may hold it: short, on one line, no secret and no control at work."""
    # Secrets first: half of one, cut off, would no longer be known as one.
    text = redact(text)
    return show(text[:most], allowed="") + ("…" if len(text) > most else "")


def fault_of_name(name: str, *, portable: bool = False) -> str | None:
    """Say what is wrong with a relative name from outside, as words that go on from it; None where nothing is.

    Names of every language, spaces, quotes, emoji, ``#``, ``%`` and ``~`` are legal, as people have them. portable: the
    file is made for other people's machines, so what Windows cannot hold is a fault too.
    """
    if not name:
        return "is empty"
    fault = fault_of_letters(name) or _fault_of_way(name) or _fault_of_shape(name)
    return fault or (_fault_on_windows(name) if portable else None)


def fault_of_part(name: str) -> str | None:
    """Say what is wrong with a name from outside that is to be one file's or folder's, for other people too."""
    return "has a slash" if "/" in name.strip("/") else fault_of_name(name, portable=True)


def fault_of_letters(name: str) -> str | None:
    """Say which character of a text acts unseen, as words that go on from it; None where none does."""
    control, direction = _CONTROL.search(name), _DIRECTION.search(name)
    if control:
        return f"holds the control character U+{ord(control[0]):04X}"
    if direction:
        return f"holds U+{ord(direction[0]):04X}, which turns the direction of text"
    if _SURROGATE.search(name):
        return "is no text in UTF-8"
    return None


def leads_out(name: str) -> bool:
    """Tell whether a name leads out of its folder, here or on Windows; nothing else is looked at."""
    return _fault_of_way(name) is not None


def _fault_of_way(name: str) -> str | None:
    if name.startswith("/") or _DRIVE.match(name):
        return "is absolute and leads out of its folder"
    # A backslash is a letter here and a folder on Windows, where the name may have been made, or end up.
    if "\\" in name:
        return "has a backslash, which leads out of its folder on Windows"
    return "leads out of its folder" if ".." in name.split("/") else None


def _fault_of_shape(name: str) -> str | None:
    parts = name.split("/")
    if "" in parts or "." in parts:
        return "has an empty part or a '.' between its slashes"
    if any(len(part.encode()) > LONGEST_PART for part in parts) or len(name.encode()) > LONGEST_NAME:
        return f"is too long: {LONGEST_PART} bytes are the most between slashes, {LONGEST_NAME:,} in all"
    return None


def _fault_on_windows(name: str) -> str | None:
    parts = name.split("/")
    letter = _WINDOWS.search(name)
    if letter:
        return f"has a {letter[0]}, which Windows does not allow"
    if any(part.endswith((".", " ")) for part in parts):
        return "ends in a dot or a space, which Windows takes away"
    if any(_DEVICE.fullmatch(part.partition(".")[0].rstrip(" ")) for part in parts):
        return "is the name of a device on Windows"
    return None


def checked_name(
    name: str,
    *,
    source: str,
    portable: bool = False,
    error: type[KoloraError] = InputAbsent,
    hint: str = "do not use it, or ask its maker for another",
) -> str:
    """Return a relative name from outside that may be read and written below a folder; raises ``error`` otherwise.

    source: who gives the name, as a message begins. portable: as ``fault_of_name`` has it.
    """
    fault = fault_of_name(name, portable=portable)
    if fault:
        raise error(f"{source} names a file '{printable(name)}', which {fault}", hint=hint)
    return name


def checked_part(name: str, *, source: str, error: type[KoloraError] = InputAbsent, hint: str) -> str:
    """Return a name that is one file's or folder's, for other people too; raises ``error`` for every other."""
    fault = fault_of_part(name)
    if fault:
        raise error(f"{source} is '{printable(name)}', which {fault}", hint=hint)
    return name


def checked_names(
    names: Iterable[str],
    *,
    source: str,
    folded: bool = False,
    error: type[KoloraError] = InputAbsent,
    hint: str = "do not use it, or ask its maker for another",
) -> tuple[str, ...]:
    """Return names that may lie in one folder together, each checked as ``checked_name`` does; raises ``error``.

    folded: as ``faults_of_names`` has it.
    """
    checked = tuple(checked_name(name, source=source, error=error, hint=hint) for name in names)
    for name, fault in faults_of_names(checked, folded=folded):
        raise error(f"{source} names a file '{printable(name)}', which {fault}", hint=hint)
    return checked


def faults_of_names(names: Collection[str], *, folded: bool = True) -> Iterator[tuple[str, str]]:
    """Yield each name that cannot lie in one folder with those before it, and why, as words that go on from it.

    That is one given twice, and a file below a file: ``a`` and ``a/b``. folded: upper and lower case, and the ways in
    which Unicode composes a letter, are one name, as they are on macOS and Windows.
    """
    fold = fold_name if folded else str
    files = {fold(name) for name in names}
    seen: dict[str, str] = {}
    for name in names:
        key = fold(name)
        if key in seen:
            twice = "is there twice" if seen[key] == name else "is the same file as another of them on some systems"
            yield name, twice
        seen.setdefault(key, name)
        parts = key.split("/")
        if any("/".join(parts[:depth]) in files for depth in range(1, len(parts))):
            yield name, "lies below a file"


def fold_name(name: str) -> str:
    """Spell a name in the way that all spellings which may be one file have in common."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def is_sha256(text: object) -> bool:
    """Tell whether a text from outside is a sha256 in hexadecimal, and so may be part of a path."""
    return isinstance(text, str) and _DIGEST.fullmatch(text) is not None


def path_below(root: Path, name: str, *, source: str, error: type[KoloraError] = InputAbsent) -> Path:
    """Join a folder and a name from outside; raises ``error`` for one that leads out, also by a link on the way.

    Only the name itself may be a link, as who writes replaces it and who reads decides about links.
    """
    path = root / checked_name(name, source=source, error=error)
    # Path's own resolve() fails on a link that leads to itself.
    if not Path(os.path.realpath(path.parent)).is_relative_to(os.path.realpath(root)):
        raise error(
            f"{source} names a file '{printable(name)}', and a link leads from there out of '{root}'",
            hint="take the link out",
        )
    return path
