"""What disks, kills and people do to a file: each damage is a function of its path, and may need a file outside."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

Damage = Callable[[Path, Path], None]
"""``damage(path, outside)``; outside: a file elsewhere, which must stay as it is."""


def flip_first(path: Path, _outside: Path) -> None:
    _flip(path, 0)


def flip_middle(path: Path, _outside: Path) -> None:
    _flip(path, path.stat().st_size // 2)


def flip_last(path: Path, _outside: Path) -> None:
    _flip(path, path.stat().st_size - 1)


def flip_in_silence(path: Path, _outside: Path) -> None:
    """Flip a bit, size and time of change being what they were: bad disks tell nobody."""
    status = path.stat()
    _flip(path, status.st_size // 3)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def truncate(path: Path, _outside: Path) -> None:
    _writable(path)
    os.truncate(path, path.stat().st_size // 2)


def empty(path: Path, _outside: Path) -> None:
    _writable(path)
    os.truncate(path, 0)


def zero(path: Path, _outside: Path) -> None:
    """Put zeros in place of all bytes, as a power cut may."""
    _writable(path)
    with path.open("r+b") as file:
        file.write(bytes(path.stat().st_size))


def lengthen(path: Path, _outside: Path) -> None:
    _writable(path)
    with path.open("ab") as file:
        file.write(b"\n")


def other_bytes(path: Path, outside: Path) -> None:
    path.unlink()
    shutil.copyfile(outside, path)


def folder(path: Path, _outside: Path) -> None:
    path.unlink()
    path.mkdir()


def full_folder(path: Path, _outside: Path) -> None:
    folder(path, _outside)
    (path / "a").write_text("b")


def pipe(path: Path, _outside: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def link_outside(path: Path, outside: Path) -> None:
    path.unlink()
    path.symlink_to(outside)


def link_to_folder(path: Path, outside: Path) -> None:
    path.unlink()
    path.symlink_to(outside.parent)


def link_to_itself(path: Path, _outside: Path) -> None:
    path.unlink()
    path.symlink_to(path)


def link_to_nothing(path: Path, outside: Path) -> None:
    path.unlink()
    path.symlink_to(outside.with_name("absent"))


def hard_link_outside(path: Path, outside: Path) -> None:
    path.unlink()
    path.hardlink_to(outside)


def remove(path: Path, _outside: Path) -> None:
    path.unlink()


def nested(path: Path, _outside: Path) -> None:
    """Write JSON that is nested without end."""
    _rewrite(path, b"[" * 100_000)


def deep(path: Path, _outside: Path) -> None:
    """Write JSON that is nested just so deep that it can be parsed."""
    _rewrite(path, b'{"config": ' * 500 + b"{}" + b"}" * 500)


def no_utf8(path: Path, _outside: Path) -> None:
    _rewrite(path, '{"name": "小猫"}'.encode("utf-16"))


def doubled_keys(path: Path, _outside: Path) -> None:
    """Say every key of a JSON object twice."""
    _change(path, lambda text: text.replace("{", '{"format": 2, "format": 2, "name": "a", "name": "b",', 1))


def no_numbers(path: Path, _outside: Path) -> None:
    """Write NaN for every number."""
    _change(path, lambda text: _NUMBER.sub(r"\1NaN", text))


def infinite_numbers(path: Path, _outside: Path) -> None:
    _change(path, lambda text: _NUMBER.sub(r"\g<1>1e999", text))


def huge_numbers(path: Path, _outside: Path) -> None:
    _change(path, lambda text: _NUMBER.sub(r"\g<1>1" + "0" * 400, text))


def negative_numbers(path: Path, _outside: Path) -> None:
    _change(path, lambda text: _NUMBER.sub(r"\1-7", text))


def texts_for_numbers(path: Path, _outside: Path) -> None:
    _change(path, lambda text: _NUMBER.sub(r'\1"7"', text))


def numbers_for_texts(path: Path, _outside: Path) -> None:
    _change(path, lambda text: _TEXT.sub(r"\g<1>7", text))


def lists_for_all(path: Path, _outside: Path) -> None:
    _change(path, lambda text: _TEXT.sub(r"\1[]", _NUMBER.sub(r"\1[]", text)))


def lone_surrogates(path: Path, _outside: Path) -> None:
    _change(path, lambda text: _TEXT.sub(r'\1"\\ud800"', text))


_NUMBER = re.compile(r'((?:": |\n +))-?\d[\d.e+-]*(?=[,\n}\]])')
_TEXT = re.compile(r'((?:": |\n +))"[^"]*"(?=[,\n}\]])')
_DIGEST = re.compile(r',\s*"sha256": "[0-9a-f]{64}"(?=\s*}\s*$)')


def _change(path: Path, change: Callable[[str], str]) -> None:
    """Change a file's text; the digest of a record goes, as one of an earlier kolora has none."""
    _rewrite(path, change(_DIGEST.sub("", path.read_text(errors="replace"))).encode(errors="replace"))


def _rewrite(path: Path, content: bytes) -> None:
    _writable(path)
    path.write_bytes(content)


def _flip(path: Path, place: int) -> None:
    if path.stat().st_size == 0:
        return lengthen(path, path)
    _writable(path)
    with path.open("r+b") as file:
        file.seek(place)
        byte = file.read(1)[0]
        file.seek(place)
        file.write(bytes([byte ^ 1]))
    return None


def _writable(path: Path) -> None:
    path.chmod(0o644)


ALL: Mapping[str, Damage] = {
    each.__name__: each
    for each in (
        flip_first,
        flip_middle,
        flip_last,
        flip_in_silence,
        truncate,
        empty,
        zero,
        lengthen,
        other_bytes,
        folder,
        full_folder,
        pipe,
        link_outside,
        link_to_folder,
        link_to_itself,
        link_to_nothing,
        hard_link_outside,
        remove,
        nested,
        deep,
        no_utf8,
        doubled_keys,
        no_numbers,
        infinite_numbers,
        huge_numbers,
        negative_numbers,
        texts_for_numbers,
        numbers_for_texts,
        lists_for_all,
        lone_surrogates,
    )
}

GARBLES = tuple(ALL)[tuple(ALL).index("nested") :]
"""Those that make sense of a text, JSON above all; of other files they leave other bytes, or the same."""
DAMAGES: Mapping[str, Damage] = {name: damage for name, damage in ALL.items() if name not in GARBLES}


def make_outside(folder: Path) -> Path:
    """Make a folder with a file that no run may change."""
    folder.mkdir()
    outside = folder / "outside"
    outside.write_text("somebody else's\n")
    return outside


def is_untouched(outside: Path) -> bool:
    """Tell whether the folder outside is as it was made."""
    return [each.name for each in outside.parent.iterdir()] == ["outside"] and (
        outside.read_text() == "somebody else's\n"
    )
