"""The story in full as dotted keys, each with its default: what a report marks, and what two runs differ in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel, JsonValue
from pydantic_core import PydanticUndefined

from kolora.report.values import ReportModel
from kolora.spec.operators import OPERATORS
from kolora.spec.story import FolderDataset, HubDataset, PocketDataset, Scene, Story

DATASETS: tuple[type[BaseModel], ...] = (PocketDataset, FolderDataset, HubDataset)


class Setting(ReportModel):
    """One key of the story with the value in force."""

    key: str
    """Dotted, as --set names it: lora.rank, scenes.1.prompt."""
    value: JsonValue
    default: JsonValue = None
    is_default: bool
    """False also where the story must say the value itself."""


def read_settings(story: Mapping[str, Any]) -> tuple[Setting, ...]:
    """List every key of a story as dumped, with the value in force and the default this kolora knows for it."""
    known = _defaults(story)
    return tuple(
        Setting(key=key, value=value, default=known.get(key), is_default=key in known and known[key] == value)
        for key, value in _flat(story)
        # A scene's key without a value says nothing: render's holds, which is listed.
        if not (key.startswith("scenes.") and value is None)
    )


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the leaves with their dotted keys; items are numbered from 1, as --set numbers them."""
    items: Any = None
    if isinstance(value, Mapping) and value:
        items = value.items()
    elif isinstance(value, Sequence) and any(isinstance(each, Mapping) for each in value):
        items = enumerate(value, start=1)
    if items is None:
        yield path, value
        return
    for name, each in items:
        yield from _flat(each, f"{path}.{name}" if path else str(name))


def _defaults(story: Mapping[str, Any]) -> dict[str, Any]:
    known = dict(_flat(_of_model(Story)))
    source = (story.get("dataset") or {}).get("source")
    for dataset in DATASETS:
        if source in get_args(dataset.model_fields["source"].annotation):
            known |= dict(_flat({"dataset": _of_model(dataset)}))
    for number, item in enumerate(story.get("filters") or (), start=1):
        for name in item:
            known[f"filters.{number}.{name}"] = {}
            for parameter in OPERATORS[name].known.values() if name in OPERATORS else ():
                known[f"filters.{number}.{name}.{parameter.name}"] = parameter.default
    for number in range(1, len(story.get("scenes") or ()) + 1):
        known |= dict(_flat({f"scenes.{number}": _of_model(Scene)}))
    return known


def _of_model(model: type[BaseModel]) -> dict[str, Any]:
    """Return the defaults of a part of the story as JSON values; keys that must be given have none."""
    values = {name: field.default for name, field in model.model_fields.items()}
    return {
        name: value.model_dump(mode="json") if isinstance(value, BaseModel) else _listed(value)
        for name, value in values.items()
        if value is not PydanticUndefined
    }


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
