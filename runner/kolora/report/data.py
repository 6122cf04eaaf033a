"""What a report says, as one frozen value: its JSON is report.json, and both pages are drawn from nothing else."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from kolora.report.section import Section
from kolora.report.sections import (
    again,
    coherence,
    data,
    environment,
    gaps,
    grid,
    outcome,
    scenes,
    timings,
    training,
    usage,
    verdict,
)
from kolora.report.values import Language, ReportModel

SCHEMA: Literal[2] = 2
"""1: of kolora 0.1; `kolora.report.migrate` reads it."""
DIALECT = "https://json-schema.org/draft/2020-12/schema"

SECTIONS: tuple[Section, ...] = (
    outcome,
    gaps,
    grid,
    verdict,
    scenes,
    usage,
    coherence,
    training,
    data,
    timings,
    again,
    environment,
)
"""Every section, in the order of the pages."""


class Head(ReportModel):
    """What the report is of."""

    schema_version: Literal[2] = Field(default=SCHEMA, alias="schema")
    kolora: str | None
    name: str
    title: str
    language: Language


class ReportData(
    # The fields of the last come first.
    again.Fields,
    environment.Fields,
    coherence.Fields,
    timings.Fields,
    data.Fields,
    training.Fields,
    usage.Fields,
    scenes.Fields,
    verdict.Fields,
    grid.Fields,
    gaps.Fields,
    outcome.Fields,
    Head,
):
    """All that a report says."""


def report_json_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of report.json."""
    return {"$schema": DIALECT} | ReportData.model_json_schema(by_alias=True, mode="serialization")
