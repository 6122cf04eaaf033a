"""How much of this machine a stranger's file may take: limits that its owner sets, and no story raises.

Each is read where it is used, from the variable of its name, in its unit. What stays below them is bounded by the
file's own size. Reading what comes from outside goes through ``read_file`` and ``parse_json``.
"""

from __future__ import annotations

import json
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kolora.errors import InputAbsent, StoryInvalid, UsageError
from kolora.files import open_regular

MIB, GIB = 2**20, 2**30


@dataclass(frozen=True)
class Limit:
    """One limit: the variable that sets it, its value where that is not set, and what it bounds."""

    variable: str
    default: int
    what: str
    about: str

    @property
    def value(self) -> int:
        """The limit in force; raises UsageError where the variable holds no number above 0."""
        given = os.environ.get(self.variable, "").strip()
        if not given:
            return self.default
        if not (given.isascii() and given.isdecimal()) or len(given) > 18 or not int(given):
            raise UsageError(
                f"{self.variable} is {given!r}; a whole number of {self.what} above 0 was expected",
                hint=f"{self.variable}={self.default}",
            )
        return int(given)

    @property
    def hint(self) -> str:
        """What the owner does who wants more."""
        return f"if it is meant, and you own this machine: set {self.variable} to more than {self.value}"

    def __str__(self) -> str:
        return f"{self.value:,} {self.what} ({self.variable})"


MAX_PIXELS = Limit(
    "KOLORA_MAX_PIXELS", 100_000_000, "pixels", "of a picture, by its header; a story may allow fewer, not more"
)
MAX_PICTURE = Limit("KOLORA_MAX_PICTURE_BYTES", GIB, "bytes", "of the file of a picture")
MAX_CAPTION = Limit("KOLORA_MAX_CAPTION_BYTES", MIB, "bytes", "of a caption's text file")
MAX_TABLE = Limit("KOLORA_MAX_TABLE_BYTES", 64 * MIB, "bytes", "of a table of captions, CSV or JSON lines")
MAX_JSON = Limit("KOLORA_MAX_JSON_BYTES", 16 * MIB, "bytes", "of a JSON file: configs, indexes, records, tokenizers")
MAX_RECORD = Limit("KOLORA_MAX_RECORD_BYTES", 256 * MIB, "bytes", "of a record, ledger or page of a run folder")
MAX_MEMBERS = Limit("KOLORA_MAX_MEMBERS", 200_000, "files", "in an archive, a repository or a submission")
MAX_UNPACKED = Limit("KOLORA_MAX_UNPACKED_BYTES", 64 * GIB, "bytes", "that one archive of pictures may unpack to")
MAX_SUBMISSION = Limit("KOLORA_MAX_SUBMISSION_BYTES", 8 * GIB, "bytes", "that a submission may hold")
MAX_DOWNLOAD = Limit("KOLORA_MAX_DOWNLOAD_BYTES", 256 * GIB, "bytes", "that one repository may announce")
MAX_HEADER = Limit("KOLORA_MAX_HEADER_BYTES", 16 * MIB, "bytes", "of a safetensors file's header, of a pickle's names")
MAX_LORA = Limit("KOLORA_MAX_LORA_BYTES", 4 * GIB, "bytes", "of a LoRA file")
MAX_WIDTH = Limit("KOLORA_MAX_WIDTH", 65_536, "units", "of any width, depth or length in a checkpoint's config.json")
MAX_HOURS = Limit("KOLORA_MAX_HOURS", 24, "hours", "that a run is expected to take, unless --yes-large says so")

LIMITS = (
    MAX_PIXELS,
    MAX_PICTURE,
    MAX_CAPTION,
    MAX_TABLE,
    MAX_JSON,
    MAX_RECORD,
    MAX_MEMBERS,
    MAX_UNPACKED,
    MAX_SUBMISSION,
    MAX_DOWNLOAD,
    MAX_HEADER,
    MAX_LORA,
    MAX_WIDTH,
    MAX_HOURS,
)

YES_LARGE = "KOLORA_YES_LARGE"
"""Stands for --yes-large where nobody types options."""

_DEEPEST = 100
"""Lists and objects inside each other that any JSON of ours or of a checkpoint has room for, several times."""
_BLOCK = MIB
_ZIP_END = 22
"""Bytes of the record that a zip ends in; a comment of up to 65,535 follows, a ZIP64 locator of 20 comes before."""


class TooLarge(ValueError):
    """A stranger's file is larger or deeper than the owner allows; limit: which one says so, None where none can."""

    def __init__(self, problem: str, limit: Limit | None) -> None:
        super().__init__(problem)
        self.limit = limit


def says_yes_large() -> bool:
    """Tell whether the owner allows runs of any length."""
    return os.environ.get(YES_LARGE, "0") not in ("", "0")


def read_file(path: Path, limit: Limit) -> bytes:
    """Read a file of at most ``limit`` bytes; raises TooLarge, OSError."""
    most = limit.value
    with open_regular(path) as file:
        # One byte more than is allowed, so that a file that is too long shows, also one that grows meanwhile.
        content = file.read(most + 1) if os.fstat(file.fileno()).st_size <= most else b""
        size = os.fstat(file.fileno()).st_size
    if size > most or len(content) > most:
        raise TooLarge(f"{path.name} has {size:,} bytes; at most {limit} are read", limit)
    return content


def parse_json(content: str | bytes) -> Any:
    """Parse JSON from outside; raises ValueError where it is none, or what no file can hold.

    That is what is nested too deeply, too long a number, and half of a letter.
    """
    try:
        value = json.loads(content)
    except RecursionError as problem:
        raise TooLarge("its lists and objects are nested too deeply", None) from problem
    check_depth(value)
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as problem:
        half = f"\\u{ord(problem.object[problem.start]):04x}"
        raise ValueError(f"it holds {half}, half of a letter that was cut in two") from problem
    return value


def check_depth(value: Any) -> None:
    """Raise TooLarge for lists and objects inside each other deeper than any JSON of ours or of a checkpoint."""
    level = [value]
    # Level by level: what is deep must not be walked by recursion.
    for _ in range(_DEEPEST + 1):
        level = [each for each in level if isinstance(each, dict | list)]
        if not level:
            return
        below: list[Any] = []
        for each in level:
            below += each.values() if isinstance(each, dict) else each
        level = below
    raise TooLarge(f"its lists and objects are nested more than {_DEEPEST} deep", None)


def read_json(path: Path, limit: Limit = MAX_JSON) -> Any:
    """Read a JSON file from outside; raises ValueError as ``parse_json`` does, TooLarge, OSError."""
    return parse_json(read_file(path, limit))


def check_pixels(key: str, asked: int) -> None:
    """Raise StoryInvalid where a story allows pictures larger than the owner does."""
    if asked > MAX_PIXELS.value:
        raise StoryInvalid(
            f"{key} is {asked:,}; this machine's owner allows {MAX_PIXELS}",
            hint=f"lower {key}, or, if you own this machine: {MAX_PIXELS.variable}={asked}",
        )


def check_zip_directory(path: Path) -> None:
    """Raise TooLarge for a zip whose table of contents is large, before the zip module reads all of it into memory."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 65_535 - _ZIP_END - 20))
        tail = file.read()
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) < at + _ZIP_END:
        return  # the zip module says better what is wrong
    count, directory = struct.unpack("<HI", tail[at + 10 : at + 16])
    locator = tail[max(0, at - 20) : at]
    if locator.startswith(b"PK\x06\x07"):
        count, directory = _zip64_directory(path, int.from_bytes(locator[8:16], "little"))
    # An entry takes 46 bytes and its name, and a few hundred in memory.
    if count > MAX_MEMBERS.value or directory > MAX_MEMBERS.value * 512:
        raise TooLarge(f"{path.name} lists {count:,} files; at most {MAX_MEMBERS} are read", MAX_MEMBERS)


def _zip64_directory(path: Path, start: int) -> tuple[int, int]:
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(min(start, size))
        record = file.read(56)
    if len(record) < 56:
        return 0, 0
    count, directory = struct.unpack("<QQ", record[32:48])
    return count, directory


def check_safetensors(path: Path) -> None:
    """Raise TooLarge for a safetensors file with too large a header, before any of it is parsed."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        size = os.fstat(file.fileno()).st_size
    # A length beyond the file's end is a damaged file, which the library says.
    if MAX_HEADER.value < length <= size:
        raise TooLarge(f"its header has {length:,} bytes; at most {MAX_HEADER} are read", MAX_HEADER)


def as_absent(problem: TooLarge, what: str) -> InputAbsent:
    """Say that an input is larger than its owner allows."""
    hint = problem.limit.hint if problem.limit is not None else "take another one"
    return InputAbsent(f"{what}: {problem}", hint=hint)


def as_invalid(problem: TooLarge, what: str) -> StoryInvalid:
    """Say that a story's data are larger than the owner allows."""
    hint = problem.limit.hint if problem.limit is not None else "take another one"
    return StoryInvalid(f"{what}: {problem}", hint=hint)
