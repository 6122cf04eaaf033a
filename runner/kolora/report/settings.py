"""The story in full as dotted keys, each with its default: what a report marks, and what two runs differ in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from pydantic import BaseModel, JsonValue
from pydantic_core import PydanticUndefined

from kolora.report.values import ReportModel
from kolora.spec.flat import flatten
from kolora.spec.operators import OPERATORS
from kolora.spec.sections.dataset import FolderDataset, HubDataset, PocketDataset
from kolora.spec.sections.lora import defaults_by_choice
from kolora.spec.sections.scene import Scene
from kolora.spec.story import Story

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
        for key, value in flatten(story).items()
        # A scene's key without a value says nothing: render's holds, which is listed.
        if key and not (key.startswith("scenes.") and value is None)
    )


def _defaults(story: Mapping[str, Any]) -> dict[str, Any]:
    """Return the defaults by dotted key, of data set, filters and scenes as the story has them."""
    known = flatten(_of_model(Story))
    dataset, filters, scenes = story.get("dataset"), story.get("filters"), story.get("scenes")
    lora = story.get("lora")
    if isinstance(lora, Mapping):
        known |= flatten(defaults_by_choice(lora), "lora")
    if isinstance(dataset, Mapping):
        known |= _of_dataset(dataset.get("source"))
    if isinstance(filters, list):
        for number, item in enumerate(filters, start=1):
            known |= _of_filter(f"filters.{number}", item)
    if isinstance(scenes, list):
        for number in range(1, len(scenes) + 1):
            known |= flatten(_of_model(Scene), f"scenes.{number}")
    return known


def _of_dataset(source: object) -> dict[str, Any]:
    for dataset in DATASETS:
        if source in get_args(dataset.model_fields["source"].annotation):
            return flatten(_of_model(dataset), "dataset")
    return {}


def _of_filter(key: str, item: object) -> dict[str, Any]:
    known: dict[str, Any] = {}
    for name in item if isinstance(item, Mapping) else ():
        known[f"{key}.{name}"] = {}
        for parameter in OPERATORS[name].known.values() if name in OPERATORS else ():
            known[f"{key}.{name}.{parameter.name}"] = parameter.default
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
