"""Nested values as one mapping from dotted keys, as ``--set`` spells them, to what stands there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    """Return the leaves of nested mappings and lists by their dotted keys; items are numbered from 1.

    A list of plain values, and whatever is empty, is a leaf.
    """
    leaves: dict[str, Any] = {}
    for name, item in _items(value):
        leaves.update(flatten(item, f"{prefix}.{name}" if prefix else str(name)))
    return leaves or {prefix: value}


def _items(value: Any) -> list[tuple[str | int, Any]]:
    if isinstance(value, Mapping):
        return list(value.items())
    if isinstance(value, Sequence) and any(isinstance(item, Mapping | list) for item in value):
        return list(enumerate(value, start=1))
    return []
