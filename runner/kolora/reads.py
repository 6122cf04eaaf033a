"""Files of our own, read whole: regular, under their own name, of a bounded size; and JSON that says one thing.

What a kill, a bad disk or a stranger left in such a file's place raises, and never hangs or leads elsewhere.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kolora.folders import Folder
from kolora.limits import check_depth

LARGEST_JSON = 64 * 2**20
"""Far more than anything that kolora writes down."""
OWN_DIGEST = "sha256"
"""The key under which a JSON object holds the digest of all its others."""


def read_own(path: Path, *, most: int | None = None) -> bytes:
    """Read a regular file of ours, of ``most`` bytes at most; raises OSError for anything else, a link included."""
    with Folder.open(path.parent).opened(path.name) as file:
        # By its size first: a sparse file of terabytes takes no room on the disk.
        if most is not None and os.fstat(file.fileno()).st_size > most:
            raise OSError(errno.EFBIG, f"larger than {most:,} bytes", str(path))
        return file.read() if most is None else file.read(most)


def read_json(path: Path) -> Any:
    """Read a JSON file of ours; raises OSError as ``read_own`` does, ValueError as ``parse_json`` does."""
    return parse_json(read_own(path, most=LARGEST_JSON))


def parse_json(content: bytes, *, finite: bool = True) -> Any:
    """Parse JSON in UTF-8; raises ValueError for a key said twice, and for values nested without end.

    finite: raise it also for NaN, infinity and numbers beyond every float; else they are None, as JSON has no word for
    them.
    """
    try:
        value = json.loads(
            content.decode(),
            object_pairs_hook=_object,
            parse_constant=_refuse if finite else lambda _: None,
            parse_float=_finite_float if finite else _float,
        )
    # RecursionError: json reads recursively.
    except RecursionError as problem:
        raise ValueError("its values are nested too deeply") from problem
    check_depth(value)
    return value


def own_digest(values: Mapping[str, Any]) -> str:
    """Digest a JSON object, but for its own digest."""
    others = {key: value for key, value in values.items() if key != OWN_DIGEST}
    return hashlib.sha256(json.dumps(others, sort_keys=True).encode()).hexdigest()


def is_as_written(values: Mapping[str, Any]) -> bool:
    """Tell whether a JSON object is what was written; one that holds no digest, of an earlier kolora, may be."""
    return values.get(OWN_DIGEST, "") in ("", own_digest(values))


def discard(path: Path) -> None:
    """Remove whatever stands under a name of ours, without following a link."""
    Folder.open(path.parent).remove_tree(path.name)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError("a key is said twice")
    return values


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number of JSON")


def _float(digits: str) -> float | None:
    number = float(digits)
    return number if math.isfinite(number) else None


def _finite_float(digits: str) -> float:
    number = _float(digits)
    if number is None:
        raise ValueError(f"{digits[:20]} is beyond every number")
    return number
