"""What the report wanted to read and could not, so that a reader never takes silence for success."""

from __future__ import annotations

from kolora.report.section import no_picture_groups, no_scope
from kolora.report.values import ReportModel, Words
from kolora.runfolder.reader import Gap, RunReader

NAME = "gaps"
IS_LISTED = False
picture_groups = no_picture_groups
scope = no_scope


class Fields(ReportModel):
    """All that is missing."""

    gaps: tuple[Gap, ...]


def gather(reader: RunReader) -> Fields:
    """List each gap once. To be called after all other sections were gathered: they find the gaps."""
    return Fields(gaps=tuple(dict.fromkeys(reader.gaps)))


WORDS: Words = {
    "en": {
        "gaps": "Missing from this report",
        "gap_absent": "is not there",
        "gap_torn": "cannot be read",
        "gap_changed": "is not the file that the run recorded, and is left out",
    },
    "zh": {
        "gaps": "本报告缺少的内容",
        "gap_absent": "不存在",
        "gap_torn": "无法读取",
        "gap_changed": "与运行时记录的文件不一致，未予采用",
    },
}
