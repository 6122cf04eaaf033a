"""Reads every report.json that a kolora ever wrote as what this one says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kolora.errors import SchemaTooNew
from kolora.limits import parse_json
from kolora.report.data import SCHEMA, ReportData
from kolora.version import __version__


def parse_report(content: bytes) -> ReportData:
    """Read report.json, of this schema or an earlier one.

    Keys that this version does not know are left out, unless it wrote them itself. Raises SchemaTooNew for a report of
    a later schema, ValueError for what is no report.
    """
    value = parse_json(content)
    if not isinstance(value, Mapping):
        raise ValueError("it is no JSON object")
    # This version knows every key that it writes: one more was put in by somebody else.
    is_own = value.get("kolora") == __version__
    return ReportData.model_validate(migrate_report(value), extra="forbid" if is_own else "ignore")


def migrate_report(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a report in this schema; values that are not as they should be are left for the reader."""
    schema = report.get("schema", 1)
    if isinstance(schema, int) and schema > SCHEMA:
        raise SchemaTooNew(
            f"report.json has schema {schema}, this kolora reads up to {SCHEMA}",
            hint="use the kolora that wrote it, or a later one",
        )
    migrated = _from_schema_1(report) if schema == 1 else dict(report)
    return {"practice": _is_of_pocket(report.get("checkpoint"))} | migrated


def _from_schema_1(report: Mapping[str, Any]) -> dict[str, Any]:
    """Rename what schema 2 calls otherwise: plain is baseline, what a filter asks for is its thresholds."""
    migrated = {**report, "schema": 2}
    for key in ("coherence", "style"):
        migrated[key] = _renamed(report.get(key), plain_mean="baseline_mean")
    if isinstance(report.get("scenes"), list):
        migrated["scenes"] = [_renamed(scene, plain="baseline") for scene in report["scenes"]]
    data = report.get("data")
    if isinstance(data, Mapping):
        data = {**data, "losses": [_renamed(file, asked="thresholds") for file in data.get("losses") or ()]}
    migrated["data"] = data
    return migrated


def _is_of_pocket(checkpoint: Any) -> bool:
    """Say what reports without ``practice`` tell only by the checkpoint's name."""
    return isinstance(checkpoint, Mapping) and checkpoint.get("name") == "pocket"


def _renamed(value: Any, **names: str) -> Any:
    """Return an object with other names for some of its keys; anything else stays what it is."""
    if not isinstance(value, Mapping):
        return value
    return {names.get(key, key): item for key, item in value.items()}
