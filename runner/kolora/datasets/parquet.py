"""Pictures and texts out of parquet files, a few rows at a time."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow
from pyarrow import parquet

from kolora.datasets.columns import picture_column, text_column
from kolora.errors import InputAbsent, StoryInvalid
from kolora.limits import MAX_PICTURE
from kolora.names import LONGEST_PART, printable
from kolora.spec.sections.dataset import HubDataset

ROWS = 16
"""Rows read at a time: pictures are large."""
_LARGEST_RATIO = 20
"""Times its own size that a group of rows may unpack to: pictures hardly compress."""


@dataclass(frozen=True)
class ParquetRow:
    """One row: the bytes of its picture (None where it has none), the name it came with, and its text."""

    content: bytes | None
    name: str
    text: str


def count_rows(path: Path) -> int:
    """Count the rows of a parquet file; raises InputAbsent where it is none."""
    return int(_open_file(path).metadata.num_rows)


def read_rows(path: Path, dataset: HubDataset) -> Iterator[ParquetRow]:
    """Yield a file's rows; pictures are bytes, or structs of ``bytes`` and ``path`` as `datasets` writes them."""
    file = _open_file(path)
    columns = {field.name: field.type for field in file.schema_arrow}
    candidates = [name for name, kind in columns.items() if _holds_bytes(kind)]
    image = picture_column(dataset, list(columns), candidates=candidates, where=path.name)
    text = text_column(dataset, list(columns), where=path.name)
    _check_sizes(path, file, {image, text})
    try:
        for batch in file.iter_batches(batch_size=ROWS, columns=[image, *([text] if text else [])]):
            for row in batch.to_pylist():
                content, name = _content(row[image])
                yield ParquetRow(content, name, str(row.get(text) or "").strip() if text else "")
    except (pyarrow.ArrowException, OSError) as problem:
        raise _damage(path, problem) from problem


def _open_file(path: Path) -> Any:
    try:
        return parquet.ParquetFile(path)
    except (pyarrow.ArrowException, OSError) as problem:
        raise _damage(path, problem) from problem


def _check_sizes(path: Path, file: Any, columns: Collection[str | None]) -> None:
    """Refuse rows that unpack to much more than they take in the file: a page is unpacked whole."""
    for number in range(file.metadata.num_row_groups):
        group = file.metadata.row_group(number)
        chunks = [group.column(index) for index in range(group.num_columns)]
        for chunk in chunks:
            if chunk.path_in_schema.split(".")[0] in columns:
                most = MAX_PICTURE.value + _LARGEST_RATIO * chunk.total_compressed_size
                if chunk.total_uncompressed_size > most:
                    raise StoryInvalid(
                        f"{path.name} unpacks to {chunk.total_uncompressed_size:,} bytes in a group of rows, more than "
                        f"{_LARGEST_RATIO} times what it takes and {MAX_PICTURE}",
                        hint="take another data set",
                    )


def _damage(path: Path, problem: Exception) -> InputAbsent:
    reason = str(problem).partition("\n")[0]
    return InputAbsent(f"{path.name} is no whole parquet file: {reason}", hint="kolora cache verify looks at the cache")


def _holds_bytes(kind: Any) -> bool:
    types = pyarrow.types
    if types.is_struct(kind):
        return any(field.name == "bytes" and _holds_bytes(field.type) for field in kind)
    return bool(types.is_binary(kind) or types.is_large_binary(kind))


def _content(cell: Any) -> tuple[bytes | None, str]:
    if isinstance(cell, dict):
        path = cell.get("path")
        # Never a path of ours, only told: what it does to a terminal is not.
        return cell.get("bytes"), printable(Path(path).name, most=LONGEST_PART) if isinstance(path, str) else ""
    return cell, ""
