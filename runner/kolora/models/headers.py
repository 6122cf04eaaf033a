"""Headers of safetensors files from outside: what two readers could take for two things is refused."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from kolora.limits import MAX_HEADER, check_safetensors


def check_header(path: Path) -> None:
    """Raise ValueError where a file's header gives a name twice, TooLarge where it is large, OSError.

    One reader takes the first of two, another the last: the strength that was checked would not be the one that is
    used. What else can be wrong (offsets, lengths, metadata that are no text) the format's own reader refuses.
    """
    check_safetensors(path)
    with path.open("rb") as file:
        header = file.read(min(MAX_HEADER.value, int.from_bytes(file.read(8), "little")))
    try:
        json.loads(header, object_pairs_hook=once, parse_constant=_refuse)
    except json.JSONDecodeError:
        return  # its own reader says better what is wrong
    except (RecursionError, UnicodeDecodeError) as problem:
        raise ValueError(f"its header cannot be read: {type(problem).__name__}") from problem


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object of JSON; raises ValueError where it gives a name twice."""
    values = dict(pairs)
    if len(values) < len(pairs):
        ((twice, _),) = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"its header has {twice[:60]!r} twice")
    return values


def _refuse(constant: str) -> None:
    raise ValueError(f"its header has the number {constant}")
