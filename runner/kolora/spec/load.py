"""A story file read and checked: every problem at once, each with its place."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from kolora.errors import InputAbsent, SchemaTooNew
from kolora.spec.document import LARGEST_STORY, Document, UnreadableError, decode, read, spell
from kolora.spec.faults import FAULTS, Fault, PathPart, Problem, StoryProblems
from kolora.spec.migrate import rename_keys, with_former_defaults
from kolora.spec.overrides import apply_overrides
from kolora.spec.schema import Schema, choices, descend, phrase
from kolora.spec.story import SCHEMA_VERSION, Story
from kolora.spec.words import describe, join_choices, nearest, printable
from kolora.version import __version__

_FULL_WIDTH = {"：": "colon and a space", "，": "comma"}
_LONGEST_EXPONENT = 12
"""Numbers with more digits than that before or behind the point are not written out in messages."""


def read_story(path: str | Path, overrides: Iterable[str] = ()) -> Story:
    """Return the story in the file at ``path``, ``overrides`` (each ``path=value``) written over it.

    Raises InputAbsent when the file cannot be read, and what load_story raises. Never reads beyond the size limit.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            # One byte more than is allowed, so that a file that is too long shows, and /dev/zero ends.
            raw = file.read(LARGEST_STORY + 1)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise InputAbsent(
            f"cannot read the story file {path}: {reason}",
            hint="name a story file, or run kolora new",
        ) from error
    return load_story(raw, name=path.name, overrides=overrides)


def load_story(
    source: str | bytes, *, name: str = "story", overrides: Iterable[str] = (), version: str = __version__
) -> Story:
    """Return the story in ``source``, ``overrides`` (each ``path=value``) written over it.

    ``name`` is what messages call the file. ``version`` is the kolora by whose defaults the story is meant. Raises
    StoryProblems with every problem of file and overrides, and SchemaTooNew when the story is for a later kolora.
    """
    text = ""
    try:
        text = (decode(source) if isinstance(source, bytes) else source).removeprefix("\ufeff")
        document, problems = read(text)
    except UnreadableError as error:
        raise StoryProblems(name, [error.problem], source=text) from error
    # Before --set is applied, which writes by today's names.
    document, duplicates = rename_keys(document)
    problems += duplicates
    document, refused_overrides = apply_overrides(document, overrides)
    # Before validation: a story for a later kolora would otherwise be called wrong for its new keys.
    _check_version(document, name)
    if isinstance(document.data, dict):
        document = dataclasses.replace(document, data=with_former_defaults(document.data, version=version))
    story, story_problems = _validate(document)
    # A key that YAML could not read has no value here, and validation would complain about it once more.
    seen = {problem.path for problem in problems}
    problems += refused_overrides + [problem for problem in story_problems if problem.path not in seen]
    if story is None or problems:
        raise StoryProblems(name, sorted(problems, key=_order), source=text)
    return story


def _check_version(document: Document, name: str) -> None:
    version = document.data.get("kolora") if isinstance(document.data, dict) else None
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise SchemaTooNew(
            f"{name}: given kolora: {version}, expected at most {SCHEMA_VERSION}, the newest this one reads",
            hint=f"run it with a newer kolora, or write kolora: {SCHEMA_VERSION}",
        )


def _validate(document: Document) -> tuple[Story | None, list[Problem]]:
    """Return the story, or the problems that keep it from being one."""
    if document.data is None:
        return None, [Problem("", "an empty file", "a story with at least dataset and scenes")]
    try:
        return Story.model_validate(document.data), []
    except ValidationError as error:
        problems: list[Problem] = []
        for details in error.errors():
            if not _repeats_others(details):
                problems += _problems(details, document)
        return None, problems


def _repeats_others(details: ErrorDetails) -> bool:
    """Tell whether an error only repeats others: a list counts as too short when its items are unsound."""
    return details["type"] == "too_short" and len(details["input"]) >= details["ctx"]["min_length"]


def _problems(details: ErrorDetails, document: Document) -> Iterator[Problem]:
    """Yield the problems behind one pydantic error."""
    walk = list(descend(details["loc"]))
    path = tuple(part for part, _ in walk if part is not None)
    faults: Iterable[Fault] = details.get("ctx", {}).get(FAULTS) or [_fault(details, walk)]
    for fault in faults:
        yield _to_problem(fault, path, document)


def _fault(details: ErrorDetails, walk: list[tuple[PathPart | None, Schema]]) -> Fault:
    """Return what one of pydantic's own errors says, in our words."""
    kind, given = details["type"], details["input"]
    part, node = walk[-1]
    if kind == "extra_forbidden":
        return _unknown_key(str(part), choices(walk[-2][1]))
    if kind == "missing":
        return Fault(given="nothing", expected=phrase(node))
    if kind.startswith("union_tag"):
        return _variant_fault(given, node)
    if kind == "string_unicode":
        return Fault(given=describe(given), expected="printable text")
    return Fault(given=describe(given), expected=phrase(node) + _advice(kind, given))


def _unknown_key(key: str, known: list[str]) -> Fault:
    """Return the fault of a key that does not exist, the full-width marks of Chinese typing by name."""
    mark = next((mark for mark in _FULL_WIDTH if mark in key), None)
    if mark:
        expected = f"`key: value` with an ASCII {_FULL_WIDTH[mark]}, not with a full-width {mark}"
        return Fault(given=f'the key "{printable(key)}"', expected=expected, key=True)
    return Fault(
        given=f'unknown key "{printable(key)}"', expected=join_choices(known), nearest=nearest(key, known), key=True
    )


def _advice(kind: str, given: object) -> str:
    """Return what else to say about the slips that YAML makes easy."""
    if kind == "finite_number":
        return ", finite"
    if kind == "string_type" and isinstance(given, int | float):
        return ", in quotes"
    if kind.startswith("model_") and isinstance(given, str) and "：" in given:
        return " written as `key: value`, not with a full-width colon ："
    if kind in ("int_type", "float_type") and isinstance(given, str | float):
        number = _plain_number(given)
        if number is not None and (kind == "float_type" or number.isdecimal()):
            return f": write {number}"
    return ""


def _plain_number(given: str | float) -> str | None:
    """Return a number as YAML and its readers agree on it: no quotes, no exponent. None where it is none, or long."""
    try:
        number = Decimal(str(given))
    except InvalidOperation:
        return None
    if not number.is_finite() or not -_LONGEST_EXPONENT <= number.adjusted() <= _LONGEST_EXPONENT:
        return None
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _variant_fault(given: Any, node: Schema) -> Fault:
    """Return the fault of a data set whose source is missing or unknown."""
    key, variants = node["discriminator"]["propertyName"], list(node["discriminator"]["mapping"])
    value = given.get(key) if isinstance(given, Mapping) else None
    near = nearest(value, variants) if isinstance(value, str) else None
    return Fault(path=(key,), given=describe(value), expected=join_choices(variants), nearest=near)


def _to_problem(fault: Fault, above: tuple[PathPart, ...], document: Document) -> Problem:
    path = above + fault.path
    place = document.place(path, key=fault.key)
    near = spell((*path[:-1], fault.nearest)) if fault.nearest and fault.key else fault.nearest
    return Problem(spell(path), fault.given, fault.expected, place.line, place.column, place.argument, nearest=near)


def _order(problem: Problem) -> tuple[bool, int, int]:
    """Return the key that sorts problems as a reader of the file meets them, arguments last."""
    return problem.argument is not None, problem.line or 0, problem.column or 0
