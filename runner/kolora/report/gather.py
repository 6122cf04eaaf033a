"""Turns a run folder into what the report says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kolora.files import real_path
from kolora.report.data import SECTIONS, Head, ReportData
from kolora.report.sections import gaps
from kolora.runfolder.reader import RunReader, read_run


def read_report_data(out: Path) -> ReportData:
    """Return what the report of the run folder `out` says.

    Works on a run that is done, failed, stopped or half done; whatever is absent, torn or not what was recorded becomes
    a gap. Raises InputAbsent where `out` is no run folder at all.
    """
    return gather_report(read_run(out))


def gather_report(reader: RunReader) -> ReportData:
    """Return what the report says of a run folder that is being read."""
    fields: dict[str, Any] = dict(_head(reader))
    # What is missing is known when all else has been read.
    for section in sorted(SECTIONS, key=lambda section: section is gaps):
        fields.update(section.gather(reader))
    return ReportData.model_validate(fields, by_name=True)


def _head(reader: RunReader) -> Head:
    run, folder = reader.run, real_path(reader.root).name
    if run is None:
        version = next((record.kolora for record in reader.records.values()), None)
        return Head(kolora=version, name=folder, title=folder, language="en")
    own_title = reader.story.report.title if reader.story else None
    return Head(kolora=run.kolora, name=run.name, title=own_title or run.title or run.name, language=run.language)
