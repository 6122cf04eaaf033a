"""Stories of older versions read as today's: keys that were renamed, and defaults that have changed since.

A key that was renamed is read by its old name for ever. A default that changes is written down here with the version
before which stories meant the old one, so that a lock of that time is still held against what it meant.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kolora.spec.document import Document, Path, Place
from kolora.spec.faults import Problem

RENAMED_KEYS: Mapping[tuple[str, ...], str] = {
    ("lora", "schedule"): "lr_scheduler",
}
"""The old path of a key, and its name today in the same section."""

FORMER_DEFAULTS: Mapping[str, Mapping[tuple[str, ...], Any]] = {}
"""By the last package version that had them: defaults that have changed since, by today's path. None has so far."""


def rename_keys(document: Document) -> tuple[Document, list[Problem]]:
    """Return the document with today's names in place of old ones; giving both names of a key is a problem."""
    problems: list[Problem] = []
    for old, name in RENAMED_KEYS.items():
        new = (*old[:-1], name)
        holder = _section(document.data, old[:-1])
        if holder is None or old[-1] not in holder:
            continue
        if name in holder:
            place = document.place(old, key=True)
            given = f"{old[-1]}, the old name of {name}, beside {name} itself"
            problems.append(
                Problem(".".join(old), given, f"{name} alone", place.line, place.column, argument=place.argument)
            )
            continue
        document = Document(
            _with_key_renamed(document.data, old, name),
            _move_places(document.places, old, new),
            _move_places(document.keys, old, new),
        )
    return document, problems


def current_path(path: Path) -> Path:
    """Return the path of a key by the names of today: ``lora.schedule`` is ``lora.lr_scheduler``."""
    for old, name in RENAMED_KEYS.items():
        if path[: len(old)] == old:
            return (*old[:-1], name, *path[len(old) :])
    return path


def migrate_dump(story: Mapping[str, Any], *, version: str) -> dict[str, Any]:
    """Return a story as an older kolora wrote it into a lock, by the names and defaults of today.

    version: of the package that wrote it.
    """
    document, _ = rename_keys(Document(dict(story)))
    return with_former_defaults(document.data, version=version)


def with_former_defaults(data: dict[str, Any], *, version: str) -> dict[str, Any]:
    """Return a story's values with those spelled out that an older kolora meant when they were not given.

    version: of the package that the story was written for. Only defaults that have changed since are spelled out.
    """
    for last, defaults in FORMER_DEFAULTS.items():
        if _version_numbers(version) <= _version_numbers(last):
            for path, value in defaults.items():
                data = _with_default(data, path, value)
    return data


def _section(data: Any, path: tuple[str, ...]) -> Mapping[str, Any] | None:
    for name in path:
        data = data.get(name) if isinstance(data, Mapping) else None
    return data if isinstance(data, Mapping) else None


def _with_key_renamed(data: Mapping[str, Any], old: tuple[str, ...], name: str) -> dict[str, Any]:
    """Copy nested mappings along ``old`` and rename its last key in place, so that the order of keys stays."""
    head, *rest = old
    if not rest:
        return {(name if key == head else key): value for key, value in data.items()}
    return {**data, head: _with_key_renamed(data[head], tuple(rest), name)}


def _with_default(data: Mapping[str, Any], path: tuple[str, ...], value: Any) -> dict[str, Any]:
    head, *rest = path
    if not rest:
        # What the story says itself comes last, and wins.
        return {head: value, **data}
    # `or {}`: a section without keys is null in YAML.
    return {**data, head: _with_default(data.get(head) or {}, tuple(rest), value)}


def _move_places(places: Mapping[Path, Place], old: tuple[str, ...], new: tuple[str, ...]) -> dict[Path, Place]:
    places_now = {}
    for path, place in places.items():
        below = path[: len(old)] == old
        places_now[(*new, *path[len(old) :]) if below else path] = place
    return places_now


def _version_numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdecimal())
