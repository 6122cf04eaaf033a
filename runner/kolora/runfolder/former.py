"""Run folders of before there was a mark: known by their record, and by what they list as kolora's files."""

from __future__ import annotations

import json
from typing import Any

from pydantic import ValidationError

from kolora.errors import StoryInvalid
from kolora.folders import Folder
from kolora.ownership import Mark
from kolora.runfolder import layout
from kolora.runfolder.manifest import parse_manifest
from kolora.runfolder.migrate import migrate_record, migrate_run
from kolora.runfolder.published import published_files
from kolora.runfolder.records import RunRecord, StepRecord

MALFORMED = (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError, ValidationError)


def mark_of_former_run(folder: Folder) -> Mark | None:
    """Return what would stand in the mark of a run folder that has none; None where it is no run folder."""
    try:
        run = RunRecord.model_validate(migrate_run(_json(folder, layout.RUN_RECORD)))
    except MALFORMED:
        return None
    names = set(layout.ALWAYS) | set(_listed(folder))
    for file in folder.names(layout.RECORDS):
        name = f"{layout.RECORDS}/{file}"
        try:
            record = StepRecord.model_validate(migrate_record(_json(folder, name)))
        except MALFORMED:
            continue
        names |= {name, *published_files(record)}
    files = frozenset(name for name in names if folder.is_file(name))
    # What lies there came of an export: nothing else is written there, and nothing of a run's is.
    exports = list(folder.files(layout.EXPORT)) if folder.kind(layout.EXPORT) == "folder" else []
    digests = {name: folder.sha256(name) for name in exports if folder.is_file(name)}
    return Mark("run", run.name, files, exports=digests)


def _listed(folder: Folder) -> dict[str, str]:
    try:
        return parse_manifest(folder.read(layout.MANIFEST).decode("utf-8", errors="replace"))
    except (OSError, StoryInvalid):
        return {}


def _json(folder: Folder, name: str) -> Any:
    return json.loads(folder.read(name))
