"""Where the training pictures came from, which were kept, and why the others were dropped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from kolora.report.formats import number
from kolora.report.section import PictureGroup
from kolora.report.values import Language, ReportModel, Scalar, Words
from kolora.runfolder.layout import DROPPED, LEDGER, RUN_RECORD, TRAINING_SET
from kolora.runfolder.reader import RunReader
from kolora.stages import fetch
from kolora.stages import filter as filter_stage
from kolora.stages.filter import LedgerLine

if TYPE_CHECKING:
    from kolora.report.data import ReportData

NAME = "data"
IS_LISTED = True
THUMBNAIL_WIDTH = 192
DROPPED_SHOWN = 24
"""Of each filter."""
EXAMPLES_SHOWN = 24


class FilterCount(ReportModel):
    """One filter: how many pictures went in and how many came out."""

    name: str
    entered: int
    left: int


class DroppedFile(ReportModel):
    """One picture that was not trained on."""

    source: str
    by: str | None
    kind: str | None = None
    """What was wrong with a file that is no picture, in one of a few fixed words."""
    reason: str | None
    measured: dict[str, Scalar] = Field(default_factory=dict)
    """What the filter found, by the names of its statistics."""
    thresholds: dict[str, Scalar] = Field(default_factory=dict)
    """What the filter asks for, by the keys of the story."""
    thumbnail: str | None = None
    """Path of the picture, small, relative to the run folder; the first that each filter dropped have one."""


class Example(ReportModel):
    """One picture that was trained on, and its caption."""

    path: str
    text: str


class Data(ReportModel):
    """Where the training pictures came from and which were left."""

    source: str | None
    kept: int | None
    dropped: int | None
    funnel: tuple[FilterCount, ...] = ()
    losses: tuple[DroppedFile, ...] = ()
    """The first that each filter dropped; the complete list is the ledger."""
    ledger: str | None = None
    """Path of the complete ledger, relative to the run folder."""
    examples: tuple[Example, ...] = ()
    """Some of the training pictures, spread over all of them."""


class Fields(ReportModel):
    """The training pictures, where any were gathered."""

    data: Data | None


def gather(reader: RunReader) -> Fields:
    """Read what fetch and the filters found; filters that left too few pictures tell it in the run's error."""
    fetched, filtered = reader.facts("fetch", fetch.Facts), _filtered(reader)
    if fetched is None and filtered is None:
        return Fields(data=None)
    ledger = _ledger(reader) if filtered else None
    return Fields(
        data=Data(
            source=fetched.source if fetched else None,
            kept=filtered.kept if filtered else None,
            dropped=filtered.dropped if filtered else None,
            funnel=_funnel(fetched, filtered),
            losses=tuple(_dropped_files(reader, ledger or ())),
            ledger=LEDGER if ledger is not None else None,
            examples=_examples(reader, ledger or ()),
        )
    )


def scope(report: ReportData, _words: Mapping[str, str]) -> Mapping[str, Any]:
    """Give the templates the dropped pictures by their filter, and their reasons in words."""
    files = sorted(report.data.losses if report.data else (), key=_filter_name)
    return {
        "dropped_by": [(name, list(group)) for name, group in groupby(files, key=_filter_name)],
        "reason": partial(drop_reason, language=report.language),
    }


def picture_groups(report: ReportData) -> Sequence[PictureGroup]:
    """List some of the training pictures, and some that were dropped."""
    if report.data is None:
        return ()
    return (
        PictureGroup(width=THUMBNAIL_WIDTH, share=6, paths=[each.path for each in report.data.examples]),
        PictureGroup(width=THUMBNAIL_WIDTH, share=5, paths=[each.thumbnail for each in report.data.losses]),
    )


def drop_reason(file: DroppedFile, language: Language) -> str:
    """Say why a picture was dropped; in English as it was recorded, and what was asked for by the story's keys."""
    names = STATISTICS.get(language, {})
    if not file.measured or any(name not in names for name in file.measured):
        return KINDS.get(language, {}).get(file.kind or "", file.reason or "–")
    found = "，".join(f"{names[name]} {_value_words(value)}" for name, value in file.measured.items())
    asked = "，".join(f"{key} {_value_words(value)}" for key, value in file.thresholds.items())
    return f"{found}；设定 {asked}" if asked else found


def _value_words(value: Scalar) -> str:
    return number(value, 4) if isinstance(value, float) else str(value)


def _filter_name(file: DroppedFile) -> str:
    return file.by or ""


def _filtered(reader: RunReader) -> filter_stage.Facts | None:
    error = reader.run.error if reader.run else None
    if reader.record("filter") is None and error and error.facts:
        return reader.parse(error.facts, RUN_RECORD, filter_stage.Facts)
    return reader.facts("filter", filter_stage.Facts)


def _funnel(fetched: fetch.Facts | None, filtered: filter_stage.Facts | None) -> tuple[FilterCount, ...]:
    if filtered:
        return tuple(FilterCount(name=each.name, entered=each.entered, left=each.left) for each in filtered.funnel)
    if fetched:
        return (FilterCount(name="fetch", entered=fetched.images + fetched.dropped, left=fetched.images),)
    return ()


def _ledger(reader: RunReader) -> list[LedgerLine] | None:
    """Read the ledger; one that failed filters left is in no record."""
    record = reader.record("filter")
    content = reader.content(record, "ledger.jsonl") if record else reader.bytes_of(LEDGER)
    if content is None:
        return None
    lines = []
    for place, text in enumerate(content.splitlines(), start=1):
        line = reader.parse_json(text, f"{LEDGER}:{place}", LedgerLine) if text.strip() else None
        if line is not None:
            lines.append(line)
    return lines


def _dropped_files(reader: RunReader, ledger: Sequence[LedgerLine]) -> Iterator[DroppedFile]:
    """Yield the first that each filter dropped, in the order of the ledger."""
    has_pictures = reader.has_folder(DROPPED) if any(line.thumbnail for line in ledger) else False
    listed: Counter[str | None] = Counter()
    for line in ledger:
        if line.verdict == "kept" or listed[line.by] == DROPPED_SHOWN:
            continue
        listed[line.by] += 1
        yield _dropped_file(line, _thumbnail(reader, line.thumbnail) if line.thumbnail and has_pictures else None)


def _thumbnail(reader: RunReader, name: str) -> str | None:
    record = reader.record("filter")
    return reader.path(record, name) if record else f"{DROPPED}/{Path(name).name}"


def _dropped_file(line: LedgerLine, thumbnail: str | None) -> DroppedFile:
    operator = line.dropping_operator
    thresholds = operator.thresholds if operator else {}
    return DroppedFile(
        source=line.source,
        by=line.by,
        kind=line.kind,
        reason=line.reason,
        measured=operator.values if operator else {},
        thresholds={key: value for key, value in thresholds.items() if value is not None},
        thumbnail=thumbnail,
    )


def _examples(reader: RunReader, ledger: Sequence[LedgerLine]) -> tuple[Example, ...]:
    """Choose training pictures from all over the data set, not only its beginning."""
    record = reader.record("filter")
    kept = [line.train for line in ledger if line.train]
    if record is None or not kept or not reader.has_folder(TRAINING_SET):
        return ()
    texts = {line.train: line.text for line in ledger}
    count = min(EXAMPLES_SHOWN, len(kept))
    spread = [kept[at * len(kept) // count] for at in range(count)]
    paths = {name: reader.path(record, name) for name in spread}
    return tuple(Example(path=path, text=texts[name]) for name, path in paths.items() if path)


WORDS: Words = {
    "en": {
        "data": "Data",
        "data_none": "No training pictures have been gathered here.",
        "source": "Source",
        "kept_pictures": "Pictures kept",
        "dropped": "Dropped",
        "dropped_none": "No picture was dropped.",
        "dropped_first": "The first {} of {} are listed.",
        "dropped_by": "Dropped by",
        "ledger": "Complete ledger",
        "funnel": "What the filters left",
        "funnel_in": "In",
        "funnel_out": "Left",
        "filter": "Filter",
        "examples": "From the training pictures",
        "dropped_count": "dropped {}",
        "no_thumbnail": "no picture",
    },
    "zh": {
        "data": "数据",
        "data_none": "这里没有收集过训练图片。",
        "source": "来源",
        "kept_pictures": "保留图片",
        "dropped": "剔除",
        "dropped_none": "没有图片被剔除。",
        "dropped_first": "列出前 {} 张，共 {} 张。",
        "dropped_by": "剔除者",
        "ledger": "完整台账",
        "funnel": "逐级过滤后剩余",
        "funnel_in": "进入",
        "funnel_out": "剩余",
        "filter": "过滤器",
        "examples": "训练图片选",
        "dropped_count": "剔除 {} 张",
        "no_thumbnail": "无图",
    },
}

KINDS: Words = {
    "zh": {
        "empty file": "空文件",
        "not a picture": "不是图片",
        "truncated file": "文件残缺",
        "damaged file": "文件损坏",
        "too many pixels": "像素过多",
        "too long": "边长过大",
        "file too large": "文件过大",
        "unknown range": "像素取值范围不明",
        "no caption": "没有说明文字",
        "empty row": "空行",
    }
}
"""What was wrong with a file that is no picture; in English the ledger's own words are shown."""

STATISTICS: Words = {
    "zh": {
        "image_width": "宽",
        "image_height": "高",
        "aspect_ratios": "宽高比",
        "image_sizes": "字节数",
        "text_len": "字数",
        "num_words": "词数",
        "alnum_ratio": "字母与数字占比",
        "special_char_ratio": "特殊字符占比",
        "avg_line_length": "平均行长",
        "max_line_length": "最长行",
        "char_rep_ratio": "字符重复率",
        "word_rep_ratio": "词语重复率",
    }
}
"""What a filter measured; in English the ledger's own words are shown."""
