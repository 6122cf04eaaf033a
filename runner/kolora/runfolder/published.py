"""Where the files of a finished step are shown at the top of a run folder."""

from __future__ import annotations

from kolora.runfolder import layout
from kolora.runfolder.migrate import PICTURES_OF_0_1
from kolora.runfolder.records import RECORD_FORMAT, StepRecord


def published_path(record: StepRecord, name: str) -> str | None:
    """Name where a step's file is published, None for one that is not; inside a folder only the last name counts."""
    former = PICTURES_OF_0_1.get(record.stage) if record.format < RECORD_FORMAT else None
    if former is not None and record.scene is not None:
        return f"{former}/{record.scene:02d}.png"
    published = layout.published_paths(record.stage, record.scene)
    folder, _, file = name.rpartition("/")
    if not folder:
        return published.get(name)
    return f"{published[folder]}/{file}" if folder in published else None


def published_files(record: StepRecord) -> dict[str, str]:
    """Map the public names of a step's files to their names in its own folder."""
    files = {published_path(record, name): name for name in record.files}
    return {public: name for public, name in files.items() if public is not None}
