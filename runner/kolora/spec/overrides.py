"""The ``--set`` arguments: ``lora.steps=50`` written over what the file says, with the same checks to come.

A path is spelled as problems spell it: scenes and filters are counted from 1, so ``scenes[3].seed`` (or
``scenes.3.seed``) is the scene of images/03.png. The value is read as YAML; an empty one is empty text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from copy import deepcopy
from typing import Any

from kolora.spec.document import Document, Path, Place, UnreadableError, read, spell
from kolora.spec.faults import PathPart, Problem
from kolora.spec.migrate import current_path
from kolora.spec.words import describe, printable

_STEP = re.compile(r"(?:^|\.)([A-Za-z_]\w*)|(?:\.([0-9]{1,6})(?=[.=\[]|\Z))|\[([0-9]{1,6})\]")


def apply_overrides(document: Document, overrides: Iterable[str]) -> tuple[Document, list[Problem]]:
    """Return ``document`` with ``overrides`` (each ``path=value``) written over it, and those that make no sense."""
    problems: list[Problem] = []
    for argument in overrides:
        try:
            path, value = _parse(argument)
            document = _replace(document, path, value, argument)
        except UnreadableError as error:
            problems.append(error.problem)
    return document, problems


def _parse(argument: str) -> tuple[Path, Any]:
    """Return the path and the value of one argument, or raise UnreadableError."""
    path_text, equals, text = argument.partition("=")
    if not equals:
        raise _unreadable(argument, "", describe(argument), "path=value, such as lora.steps=50")
    return current_path(_path(argument, path_text.strip())), _value(argument, path_text.strip(), text)


def _path(argument: str, path_text: str) -> Path:
    path: list[str | int] = []
    at = 0
    while at < len(path_text):
        match = _STEP.match(path_text, at)
        if not match or (at == 0 and not match[1]):
            break
        path.append(match[1] or int(match[2] or match[3]) - 1)
        at = match.end()
    if at < len(path_text) or not path:
        raise _unreadable(
            argument, "", f'the path "{printable(path_text)}"', "a path such as lora.steps or scenes[2].seed"
        )
    if -1 in path:
        raise _unreadable(argument, "", f"item 0 in {path_text}", "items counted from 1, as the pictures are")
    return tuple(path)


def _value(argument: str, path_text: str, text: str) -> Any:
    if not text.strip():
        # YAML would read nothing as null, which most keys refuse; `--set title=` is meant to empty it.
        return ""
    try:
        document, problems = read(text.strip())
    except UnreadableError as error:
        raise _unreadable(argument, path_text, error.problem.given, error.problem.expected) from error
    if problems:
        raise _unreadable(argument, path_text, problems[0].given, problems[0].expected)
    return document.data


def _replace(document: Document, path: Path, value: Any, argument: str) -> Document:
    """Return the document with ``value`` at ``path``, every place below it now the argument's."""
    # The document stays as it was: an argument that fails halfway must leave no trace.
    data = deepcopy(document.data) if document.data is not None else {}
    place = Place(argument=argument)
    holder, keys = data, dict(document.keys)
    for depth, part in enumerate(path):
        _check_part(holder, path[:depth], part, argument)
        if depth == len(path) - 1:
            holder[part] = value
        else:
            if isinstance(part, str) and holder.get(part) is None:
                holder[part] = {}
                keys[path[: depth + 1]] = place
            holder = holder[part]
    # What stood below is gone: its lines would send the reader of a problem to text that no longer counts.
    places = {at: where for at, where in document.places.items() if at[: len(path)] != path}
    return Document(data, places | {path: place}, keys | {path: place})


def _check_part(holder: object, above: Path, part: PathPart, argument: str) -> None:
    """Raise UnreadableError where ``part`` cannot be taken from ``holder``."""
    if isinstance(part, str) and not isinstance(holder, dict):
        raise _unreadable(argument, spell(above), f"{part} in {describe(holder)}", "a key of a mapping")
    if isinstance(part, int) and not isinstance(holder, list):
        raise _unreadable(argument, spell(above), f"item {part + 1} of {describe(holder)}", "an item of a list")
    if isinstance(part, int) and isinstance(holder, list) and part >= len(holder):
        expected = f"one of the {len(holder)} items of {spell(above)}, counted from 1"
        raise _unreadable(argument, spell(above), f"item {part + 1}", expected)


def _unreadable(argument: str, path: str, given: str, expected: str) -> UnreadableError:
    return UnreadableError(Problem(path, given, expected, argument=argument))
