"""The reference of the spec, docs/reference.md, written from the models themselves."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from kolora.spec.operators import COMMON, OPERATORS, Operator, Parameter
from kolora.spec.schema import expects
from kolora.spec.sections.filters import Filter
from kolora.spec.sections.scene import Scene
from kolora.spec.story import Story

BEGIN = "<!-- spec reference: begin -->"
END = "<!-- spec reference: end -->"


def insert_reference(text: str) -> str:
    """Return ``text`` with the reference between its two markers; raise ValueError when it lacks them."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"given text without markers, expected {BEGIN} and {END} in it")
    return f"{before}{BEGIN}\n\n{reference()}\n{END}{after}"


def reference() -> str:
    """Return the reference in Markdown: one table a section, with key, what it takes, default and meaning."""
    top = {name: info for name, info in Story.model_fields.items() if not _models(info.annotation)}
    parts = [_table("story", Story, top)]
    for name, info in Story.model_fields.items():
        for model in _models(info.annotation):
            if model is Filter:
                parts.append(_filters(info))
                continue
            parts.append(_table(_heading(name, model), model, model.model_fields))
            for key, field in model.model_fields.items():
                for inner in _models(field.annotation):
                    parts.append(_table(f"{name}.{key}", inner, inner.model_fields))
    return "\n".join(parts)


def _models(annotation: object) -> list[type[BaseModel]]:
    """Return the models that a field holds: one, some variants, or those of a list."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) in (Union, UnionType, Annotated, tuple):
        return list(itertools.chain.from_iterable(map(_models, get_args(annotation))))
    return []


def _heading(name: str, model: type[BaseModel]) -> str:
    if "source" in model.model_fields:
        return f"{name}, source: {' or '.join(get_args(model.model_fields['source'].annotation))}"
    return f"{name}[]" if model is Scene else name


def _table(heading: str, model: type[BaseModel], fields: dict[str, FieldInfo]) -> str:
    # sorted keeps equal ones in order, so each group stays as its model has it.
    inherited_last = sorted(fields, key=lambda name: name not in model.__annotations__)
    rows = ((f"`{name}`", expects(model, name), *_default_and_doc(fields[name])) for name in inherited_last)
    return _section(heading, " ".join((model.__doc__ or "").split()), ("key", "takes", "default", "what it is"), rows)


def _default_and_doc(info: FieldInfo) -> tuple[str, str]:
    default = "required" if info.is_required() else _format_default(info.get_default())
    return default, info.description or ""


def _format_default(value: Any) -> str:
    if value is None:
        return "none"
    return f"`{value}`" if isinstance(value, str) and value else f"`{json.dumps(value, ensure_ascii=False)}`"


def _filters(info: FieldInfo) -> str:
    common = ", ".join(_parameter(parameter) for parameter in COMMON)
    doc = f"{info.description} Each takes its own parameters and {common}."
    rows = (_operator(operator) for operator in OPERATORS.values())
    return _section("filters[]", doc, ("operator", "parameters and defaults", "statistic", "what it does"), rows)


def _operator(operator: Operator) -> tuple[str, ...]:
    parameters = ", ".join(_parameter(parameter) for parameter in operator.parameters)
    return f"`{operator.name}`", parameters, ", ".join(f"`{stat}`" for stat in operator.stats), operator.doc


def _parameter(parameter: Parameter) -> str:
    default = "no limit" if parameter.default is None else json.dumps(parameter.default)
    return f"`{parameter.name}` ({default})"


def _section(heading: str, doc: str, head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    return "\n".join((f"## `{heading}`", "", doc, "", *_lines(head, rows), ""))


def _lines(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"
