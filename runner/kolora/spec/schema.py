"""The story's JSON Schema, and what it expects at a path, in words."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

from pydantic import BaseModel

from kolora.spec.faults import PathPart
from kolora.spec.story import Story
from kolora.spec.types import PATTERNS
from kolora.spec.words import join_choices

Schema = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
FEW = 5
"""Keys of a mapping that a message lists."""


def story_json_schema() -> Schema:
    """Return the JSON Schema (draft 2020-12) of a story file, for editors to complete and check by."""
    return {"$schema": DIALECT} | Story.model_json_schema()


@cache
def _schema() -> Schema:
    return story_json_schema()


def _resolve(node: Schema) -> Schema:
    """Return ``node`` with its reference followed and its nothing-is-fine-too taken off."""
    if "$ref" in node:
        return _resolve(_schema()["$defs"][node["$ref"].rsplit("/", 1)[1]])
    some = [choice for choice in node.get("anyOf", ()) if choice.get("type") != "null"]
    if len(some) == 1:
        return _resolve(some[0])
    return node


def descend(location: tuple[PathPart, ...]) -> Iterator[tuple[PathPart | None, Schema]]:
    """Yield the story's schema, then each part of a validator's location with the schema below it.

    The part is None for the story itself and where a location names a variant; the schema is empty where the story
    knows no such part.
    """
    node = _resolve(_schema())
    yield None, node
    for part in location:
        variants = node.get("discriminator", {}).get("mapping", {})
        if part in variants:
            node = _resolve({"$ref": variants[part]})
            yield None, node
            continue
        below = node.get("items") if isinstance(part, int) else node.get("properties", {}).get(part)
        node = _resolve(below) if below else {}
        yield part, node


def choices(node: Schema) -> list[str]:
    """Return the keys that a mapping of this schema may have."""
    return list(node.get("properties", ()))


def phrase(node: Schema) -> str:
    """Return what a schema asks for, in words: ``a whole number from 1 to 256``."""
    node = _resolve(node)
    if "const" in node:
        return str(node["const"])
    if "enum" in node:
        return join_choices(node["enum"])
    if "discriminator" in node:
        sources = join_choices(node["discriminator"]["mapping"])
        return f"a mapping with {node['discriminator']['propertyName']}: {sources}"
    kind = node.get("type")
    if kind in ("integer", "number"):
        return ("a whole number" if kind == "integer" else "a number") + _range(node)
    if kind == "string":
        return _text(node)
    if kind == "array":
        return f"a list of {node.get('minItems', 0)} to {node['maxItems']}"
    if kind == "object":
        return "a mapping" + _keys(node)
    return {"boolean": "true or false"}.get(str(kind), "a value")


def _keys(node: Schema) -> str:
    """Return the keys that a mapping must have; else those that it may have, where they are few."""
    if node.get("required"):
        return f" with {join_choices(node['required'], end='and')}"
    return f" with {join_choices(choices(node))}" if 0 < len(choices(node)) <= FEW else ""


def _range(node: Schema) -> str:
    low, high = node.get("exclusiveMinimum", node.get("minimum")), node.get("exclusiveMaximum", node.get("maximum"))
    above = "above" if "exclusiveMinimum" in node else "from"
    below = "to below" if "exclusiveMaximum" in node else "to"
    step = f", a multiple of {node['multipleOf']}" if "multipleOf" in node else ""
    return f" {above} {_figure(low)} {below} {_figure(high)}{step}"


def _figure(number: float | None) -> str:
    """Return a bound of ours, large ones with their thousands apart."""
    return "any" if number is None else f"{number:,}".removesuffix(".0")


def _text(node: Schema) -> str:
    if "pattern" in node:
        return PATTERNS[node["pattern"]]
    if node.get("minLength"):
        return f"text of {node['minLength']} to {node['maxLength']:,} characters"
    return f"text of at most {node['maxLength']:,} characters"


def expects(model: type[BaseModel], name: str) -> str:
    """Return what the key ``name`` of one of the story's models takes, in words."""
    node = _schema() if model is Story else _schema()["$defs"][model.__name__]
    return phrase(node["properties"][name])
