"""Tables of a hub's data set, CSV or JSON lines, that name pictures by their paths."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from kolora.datasets.columns import picture_column, text_column
from kolora.errors import StoryInvalid
from kolora.limits import MAX_TABLE, TooLarge, as_invalid, parse_json, read_file
from kolora.spec.sections.dataset import HubDataset


def read_table(folder: Path, name: str, files: Collection[str], dataset: HubDataset) -> list[tuple[str, str]]:
    """Read path and text of every row of a table that names any of ``files``; empty for a table of something else.

    A path starts from the table's own folder, else from the data set's. Raises StoryInvalid for a table that cannot
    be read, or that names pictures in no clear column.
    """
    rows = _rows(_content(folder, name), name)
    columns: dict[str, None] = {}
    # JSON lines need not all have the same keys; a dict keeps the order in which they were met.
    for row in rows:
        columns |= dict.fromkeys(row)
    folder_of_table = PurePosixPath(name).parent

    def find(cell: Any) -> str | None:
        if not isinstance(cell, str) or not cell.strip():
            return None
        path = cell.strip().replace("\\", "/").removeprefix("./")
        return next((each for each in (str(folder_of_table / path), path) if each in files), None)

    paths = {}
    for column in columns:
        paths[column] = [find(row.get(column)) for row in rows]
    candidates = [column for column in columns if any(paths[column])]
    if not candidates:
        return []
    image = picture_column(dataset, list(columns), candidates=candidates, where=name)
    text = text_column(dataset, list(columns), where=name)
    pairs = []
    for row, path in zip(rows, paths[image], strict=True):
        if path is not None:
            pairs.append((path, str(row.get(text) or "").strip() if text else ""))
    return pairs


def _content(folder: Path, name: str) -> str:
    try:
        text = read_file(folder / name, MAX_TABLE).decode("utf-8-sig", errors="replace")
    except TooLarge as problem:
        raise as_invalid(problem, f"the table {name}") from problem
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _rows(content: str, name: str) -> Sequence[dict[str, Any]]:
    try:
        if name.lower().endswith(".csv"):
            return list(csv.DictReader(io.StringIO(content, newline="")))
        rows = [parse_json(line) for line in content.split("\n") if line.strip()]
    except (csv.Error, ValueError) as problem:
        raise StoryInvalid(f"{name} cannot be read: {problem}", hint="take another data set, or a folder") from problem
    return [row for row in rows if isinstance(row, dict)]
