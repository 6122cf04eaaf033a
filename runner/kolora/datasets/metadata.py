"""metadata.csv and metadata.jsonl: which text belongs to which picture of a folder, read and written."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from kolora.errors import StoryInvalid
from kolora.limits import parse_json

CSV, JSONL = "metadata.csv", "metadata.jsonl"

FILE_NAME, TEXT = "file_name", "text"
"""The two columns that metadata must have; others are left alone."""


class MetadataRow(NamedTuple):
    """One record: the picture's path inside the folder, its text, and the line (from 1) on which the record starts."""

    file_name: str
    text: str
    line: int


def read_metadata(folder: Path) -> list[MetadataRow]:
    """Read the metadata.csv that kolora itself wrote into ``folder``."""
    return list(parse_metadata((folder / CSV).read_bytes().decode(), CSV))


def write_metadata(folder: Path, rows: Iterable[tuple[str, str]]) -> None:
    """Write file names and texts as metadata.csv, as DiffSynth's own training script reads it."""
    with (folder / CSV).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([FILE_NAME, TEXT])
        writer.writerows(rows)


def parse_metadata(content: str, name: str) -> Iterator[MetadataRow]:
    """Yield the records of a file named ``metadata.csv`` or ``metadata.jsonl``; raises StoryInvalid with the line."""
    return _parse_csv(content, name) if name.endswith(".csv") else _parse_jsonl(content, name)


def _parse_csv(content: str, name: str) -> Iterator[MetadataRow]:
    reader = csv.reader(io.StringIO(content, newline=""), strict=True)
    try:
        header = next(reader, [])
        _check_header(header, name)
        start = reader.line_num + 1
        for record in reader:
            if record and len(record) != len(header):
                raise StoryInvalid(
                    f"{name} line {start} has {len(record)} columns; {len(header)} were expected",
                    hint='put captions that contain commas into double quotes: "..."',
                )
            if record:
                yield MetadataRow(record[header.index(FILE_NAME)], record[header.index(TEXT)], start)
            start = reader.line_num + 1
    except csv.Error as error:
        raise StoryInvalid(
            f"{name} line {reader.line_num} is not CSV: {error}", hint=f"mend that line of {name}"
        ) from error


def _check_header(header: list[str], name: str) -> None:
    for column in (FILE_NAME, TEXT):
        if column not in header:
            raise StoryInvalid(
                f"{name} has no column '{column}'; its first line has {', '.join(map(repr, header)) or 'nothing'}",
                hint=f"make the first line of {name}: {FILE_NAME},{TEXT}",
            )


def _parse_jsonl(content: str, name: str) -> Iterator[MetadataRow]:
    # Not splitlines(): it would also split at separators that JSON allows inside a string.
    for line, text in enumerate(content.split("\n"), start=1):
        if not text.strip():
            continue
        try:
            record = parse_json(text)
        except ValueError as error:
            raise StoryInvalid(f"{name} line {line} is not JSON: {error}", hint=f"mend that line of {name}") from error
        for column in (FILE_NAME, TEXT):
            if not isinstance(record, dict) or not isinstance(record.get(column), str):
                raise StoryInvalid(
                    f"{name} line {line} has no '{column}' that is a string",
                    hint=f'write each line like {{"{FILE_NAME}": "01.jpg", "{TEXT}": "..."}}',
                )
        yield MetadataRow(record[FILE_NAME], record[TEXT], line)
