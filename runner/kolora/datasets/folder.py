"""A folder of pictures with captions: metadata.csv, metadata.jsonl, .txt sidecars, or one caption for all."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from kolora.datasets.metadata import CSV, JSONL, parse_metadata
from kolora.errors import InputAbsent, StoryInvalid
from kolora.hubs.identity import refusal
from kolora.limits import MAX_CAPTION, MAX_TABLE, Limit, TooLarge, as_invalid, read_file
from kolora.names import printable


@dataclass(frozen=True)
class CaptionedFile:
    """One file of the folder that claims to be a picture.

    path: relative to the folder, as the file system spells it. text: its caption, empty where it has none.
    refusal_reason: why it must not be opened; None where it may.
    """

    path: str
    text: str
    refusal_reason: str | None


def read_folder(folder: Path, files: Sequence[str], *, caption: str) -> tuple[CaptionedFile, ...]:
    """Pair every file that is not itself a caption with its caption, in the order of ``files``.

    A picture's own line in the metadata comes first, then its sidecar (same name, ending .txt), then ``caption``.
    ``files`` are the folder's, as ``identity.files_in`` lists them. Raises StoryInvalid for metadata that cannot be
    read as such and for a folder without any caption, InputAbsent for metadata that names files which are not there.
    """
    metadata = [name for name in (CSV, JSONL) if name in files]
    if len(metadata) > 1:
        raise StoryInvalid(
            f"'{folder}' has both metadata.csv and metadata.jsonl; one of them was expected",
            hint="take out the one that is not meant",
        )
    captions = _read_metadata(folder, metadata[0], files) if metadata else {}
    sidecars = _find_sidecars([path for path in files if path not in metadata])
    captioned = []
    for path in files:
        sidecar = sidecars.get(_stem(path))
        if path not in metadata and path != sidecar:
            text = captions.get(path) or _read_sidecar(folder, sidecar) or caption.strip()
            captioned.append(CaptionedFile(path, text, refusal(folder, path)))
    if captioned and not any(each.text for each in captioned):
        raise StoryInvalid(
            f"no picture in '{folder}' has a caption: there is no metadata.csv, no metadata.jsonl, no .txt file beside "
            "a picture and no dataset.caption",
            hint="set dataset.caption to one caption for all",
        )
    return tuple(captioned)


def _find_sidecars(files: Sequence[str]) -> dict[str, str]:
    """Find the .txt files that stand beside a file of the same name, by that name without its ending."""
    texts = {path for path in files if path.lower().endswith(".txt")}
    stems = {_stem(path) for path in files if path not in texts}
    return {_stem(path): path for path in files if path in texts and _stem(path) in stems}


def printable_path(path: str) -> str:
    """Spell a file's path so that it can be printed: bytes that are no UTF-8 become question marks."""
    return os.fsencode(path).decode("utf-8", "replace")


def _stem(path: str) -> str:
    return str(PurePosixPath(path).with_suffix(""))


def _read_sidecar(folder: Path, path: str | None) -> str:
    return "" if path is None else _read_text(folder, path, MAX_CAPTION).strip()


def _read_text(folder: Path, path: str, limit: Limit) -> str:
    refusal_reason = refusal(folder, path)
    if refusal_reason:
        raise InputAbsent(
            f"'{printable_path(path)}' in '{folder}' holds captions but cannot be opened: {refusal_reason}",
            hint="put the file itself into the folder",
        )
    try:
        return _with_plain_ends(read_file(folder / path, limit).decode("utf-8-sig"))
    except TooLarge as problem:
        raise as_invalid(problem, f"'{printable_path(path)}' in '{folder}' holds captions") from problem
    except UnicodeDecodeError as error:
        raise StoryInvalid(
            f"'{printable_path(path)}' in '{folder}' is not UTF-8: "
            f"byte {error.object[error.start]:#04x} at {error.start}",
            hint="save it again as UTF-8 (in a spreadsheet: CSV UTF-8)",
        ) from error


def _with_plain_ends(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _read_metadata(folder: Path, name: str, files: Sequence[str]) -> Mapping[str, str]:
    """Read the captions of a metadata file by the path of the picture they belong to."""
    # Some systems decompose accents in file names, some spreadsheets compose them.
    paths_by_name = {unicodedata.normalize("NFC", path): path for path in files}
    captions: dict[str, str] = {}
    lines: dict[str, int] = {}
    absent = []
    for file_name, text, line in parse_metadata(_read_text(folder, name, MAX_TABLE), name):
        path_in_folder = PurePosixPath(unicodedata.normalize("NFC", file_name.strip().replace("\\", "/")))
        if path_in_folder.is_absolute() or ".." in path_in_folder.parts:
            raise StoryInvalid(
                f"{name} line {line} names '{printable(file_name)}', which is outside the folder",
                hint=f"name files of '{folder}' by their path inside it",
            )
        path = paths_by_name.get(str(path_in_folder))
        if path is None:
            absent.append(f"line {line}: '{printable(file_name)}'")
        elif path in lines:
            raise StoryInvalid(
                f"{name} names '{printable(file_name)}' twice, in lines {lines[path]} and {line}",
                hint="keep one of the two lines",
            )
        else:
            captions[path], lines[path] = text.strip(), line
    if absent:
        more = f" and {len(absent) - 3} more" if len(absent) > 3 else ""
        raise InputAbsent(
            f"{name} in '{folder}' names files that are not there: {', '.join(absent[:3])}{more}",
            hint=f"add the files, or take their lines out of {name}",
        )
    return captions
