"""What all values of a report have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict

Language = Literal["zh", "en"]
Scalar = str | bool | int | float | None
Words = Mapping[Language, Mapping[str, str]]
"""Texts by their key, the same keys in every language."""


class ReportModel(BaseModel):
    """A part of the report: frozen, complete, finite."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
