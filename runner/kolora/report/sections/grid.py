"""All scenes in one picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from kolora.report.section import PictureGroup, no_scope
from kolora.report.values import ReportModel, Words
from kolora.runfolder.reader import RunReader
from kolora.stages import grid

if TYPE_CHECKING:
    from kolora.report.data import ReportData


NAME = "grid"
IS_LISTED = False
scope = no_scope
WIDTH = 1600


class Grid(ReportModel):
    """All scenes in one picture."""

    path: str
    width: int | None
    height: int | None
    columns: int | None
    rows: int | None


class Fields(ReportModel):
    """The grid, where it was drawn."""

    grid: Grid | None


def gather(reader: RunReader) -> Fields:
    """Read the grid, only where the picture is the recorded one."""
    record, facts = reader.record("grid"), reader.facts("grid", grid.Facts)
    path = reader.path(record, "grid.png") if record else None
    if facts is None or path is None:
        return Fields(grid=None)
    return Fields(grid=Grid(path=path, width=facts.width, height=facts.height, columns=facts.columns, rows=facts.rows))


def picture_groups(report: ReportData) -> Sequence[PictureGroup]:
    """List the grid."""
    return (PictureGroup(width=WIDTH, share=18, paths=[report.grid.path if report.grid else None]),)


WORDS: Words = {
    "en": {
        "grid": "All scenes",
        "grid_absent": "There is no grid yet.",
    },
    "zh": {
        "grid": "全部画面",
        "grid_absent": "尚无拼图。",
    },
}
