"""What a file states, leaf by leaf, held against what is stated here."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from kolora.reads import parse_json
from kolora.verification.words import Finding, brief, excerpt

NAMES_OF_ITEMS = ("key", "number", "name", "source")
"""Keys by which the items of a list are told apart, where each item has another value there."""
Judge = Callable[[str, Any, Any], str | None]
"""Called with a statement's name, what it says and what is said here; returns ``different``, the key of a finding on
why it is not checked, or None where it holds."""


class _Absent:
    def __repr__(self) -> str:
        return "not there"


ABSENT = _Absent()
"""Stands for a statement that only the other side makes."""


def leaves_of(value: Any, name: str = "") -> dict[str, Any]:
    """Return every single value by its dotted name; what is empty is one too. Items of lists go by name or number."""
    items = _items(value)
    if not items:
        return {name: value}
    found: dict[str, Any] = {}
    for key, item in items:
        found.update(leaves_of(item, f"{name}.{key}" if name else str(key)))
    return found


def _items(value: Any) -> Sequence[tuple[str | int, Any]]:
    if isinstance(value, Mapping):
        return list(value.items())
    if not isinstance(value, list):
        return []
    if all(isinstance(item, Mapping) for item in value):
        for key in NAMES_OF_ITEMS:
            names = [item.get(key) for item in value]
            if all(isinstance(each, str | int) for each in names) and len(set(names)) == len(names):
                return list(zip(names, value, strict=True))
    return list(enumerate(value, start=1))


def compare_statements(file: str, theirs: Any, ours: Any, judge: Judge) -> Iterator[Finding]:
    """Hold all that a file states against what is stated here; statements that are not checked are told together."""
    stated, made = leaves_of(theirs), leaves_of(ours)
    unchecked: dict[str, list[str]] = {}
    for name in sorted(stated.keys() | made.keys()):
        one, other = stated.get(name, ABSENT), made.get(name, ABSENT)
        if _are_equal(one, other):
            continue
        reason = judge(name, one, other)
        if reason == "different":
            yield Finding("statement", (file, excerpt(name), said(one), said(other)))
        elif reason is not None:
            unchecked.setdefault(reason, []).append(excerpt(name))
    for reason, names in unchecked.items():
        yield Finding(reason, (file, brief(names)), "unchecked")


def says_nothing(value: Any) -> bool:
    """Tell whether a statement is left out, or is empty."""
    return value is ABSENT or value == [] or value == {}


def are_near(one: Any, other: Any, allowed: float) -> bool:
    """Tell whether two values are numbers no further apart than that; NaN is near nothing."""
    return _is_number(one) and _is_number(other) and abs(one - other) <= allowed


def read_json(text: str | bytes) -> Any:
    """Read JSON that may be a stranger's; raises ValueError for what is none or says a thing twice."""
    return parse_json(text.encode() if isinstance(text, str) else text)


def _are_equal(one: Any, other: Any) -> bool:
    if _is_number(one) and _is_number(other):
        return bool(one == other)
    return type(one) is type(other) and bool(one == other)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def said(value: Any) -> str:
    """Say a value within a line, or that there is none."""
    return repr(value) if value is ABSENT else excerpt(value)
