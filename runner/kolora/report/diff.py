"""Two runs side by side: what their stories say otherwise, how their scores differ, and which pictures are the same."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from kolora.files import real_path, write_text, writing
from kolora.folders import Folder
from kolora.ownership import set_aside
from kolora.report.data import ReportData
from kolora.report.gather import read_report_data
from kolora.report.pages import html_page
from kolora.report.pictures import PAGE_BYTES, Preview, encode
from kolora.report.sections.scenes import Scene, scene_width
from kolora.report.settings import Setting
from kolora.report.values import Words
from kolora.report.words import WORDS

TEXT_SHARE = 0.15
"""Of the page, kept for what is not pictures."""

DIFF_WORDS: Words = {
    "en": {
        "diff": "Two runs side by side",
        "diff_story": "What the stories say otherwise",
        "diff_story_none": "Both stories say the same.",
        "diff_absent": "not there",
        "diff_scores": "Scores",
        "diff_change": "change",
        "diff_pictures": "Pictures",
        "diff_identical": "the same picture, byte for byte",
        "diff_different": "other picture",
        "diff_one_sided": "only on one side",
    },
    "zh": {
        "diff": "两次运行对照",
        "diff_story": "设置的不同",
        "diff_story_none": "两次设置完全相同。",
        "diff_absent": "无",
        "diff_scores": "评分",
        "diff_change": "变化",
        "diff_pictures": "图片",
        "diff_identical": "图片逐字节相同",
        "diff_different": "图片不同",
        "diff_one_sided": "仅一方有",
    },
}
"""What only this page says."""


@dataclass(frozen=True)
class Changed:
    """One key that the two stories do not say alike; None where a story does not have it."""

    key: str
    one: Setting | None
    other: Setting | None


@dataclass(frozen=True)
class Score:
    """One number of both runs, by the key of its name among the report's words."""

    name: str
    one: float | None
    other: float | None

    @property
    def change(self) -> float | None:
        """How much the other run has more."""
        return None if self.one is None or self.other is None else self.other - self.one


@dataclass(frozen=True)
class Pair:
    """One scene of both runs."""

    number: int
    one: Scene | None
    other: Scene | None

    @property
    def state(self) -> Literal["identical", "different", "one_sided"]:
        """identical: the same bytes. one_sided: drawn in one run only, or in none."""
        if not (self.one and self.other and self.one.image and self.other.image):
            return "one_sided"
        same = self.one.sha256 is not None and self.one.sha256 == self.other.sha256
        return "identical" if same else "different"


@dataclass(frozen=True)
class Difference:
    """What differs between two runs."""

    one: ReportData
    other: ReportData
    settings: tuple[Changed, ...]
    scores: tuple[Score, ...]
    scenes: tuple[Pair, ...]


def read_difference(one: Path, other: Path) -> Difference:
    """Compare two run folders by what their reports say. Raises InputAbsent where one is no run folder."""
    return difference_of(read_report_data(one), read_report_data(other))


def difference_of(one: ReportData, other: ReportData) -> Difference:
    """Compare two reports; scenes are paired by their numbers."""
    return Difference(
        one=one,
        other=other,
        settings=tuple(_changes(one.again.settings, other.again.settings)),
        scores=tuple(_scores(one, other)),
        scenes=tuple(_pairs(one.scenes, other.scenes)),
    )


def _changes(one: Sequence[Setting], other: Sequence[Setting]) -> Iterator[Changed]:
    """Yield the keys that differ, in the order of the first story, then those that only the other has."""
    left = {setting.key: setting for setting in one}
    right = {setting.key: setting for setting in other}
    for key in dict.fromkeys([*left, *right]):
        if key not in left or key not in right or left[key].value != right[key].value:
            yield Changed(key, left.get(key), right.get(key))


def _scores(one: ReportData, other: ReportData) -> Iterator[Score]:
    """Yield the numbers that at least one side has."""
    right = _numbers(other)
    for name, value in _numbers(one).items():
        if (value, right[name]) != (None, None):
            yield Score(name, value, right[name])


def _pairs(one: Sequence[Scene], other: Sequence[Scene]) -> Iterator[Pair]:
    left = {scene.number: scene for scene in one}
    right = {scene.number: scene for scene in other}
    for number in sorted({*left, *right}):
        yield Pair(number, left.get(number), right.get(number))


def _numbers(report: ReportData) -> dict[str, float | None]:
    verdict, coherence, style, training = report.verdict, report.coherence, report.style, report.training
    return {
        "aesthetics_mean": verdict.aesthetics_mean,
        "clip_mean": verdict.clip_mean,
        "coherence_mean": coherence.mean if coherence else None,
        "style_mean": style.mean if style else None,
        "loss_last": training.loss_last if training else None,
        "total": report.seconds,
    }


def write_difference(difference: Difference, one: Path, other: Path, page: Path) -> Path | None:
    """Write the two runs side by side as one HTML file; returns where a file of the user's is that was in the way.

    Raises OutputUnwritable.
    """
    language = difference.one.language
    sides = ((one, difference.one), (other, difference.other))
    text = html_page(
        "diff.html.j2",
        language,
        w={**WORDS[language], **DIFF_WORDS[language]},
        x=difference,
        previews=[_previews(out, report) for out, report in sides],
        links=[quote(Path(os.path.relpath(out, page.parent)).as_posix()) for out, _ in sides],
        names=[real_path(out).name for out, _ in sides],
    )
    with writing(page.parent):
        aside = set_aside(page, unless=_is_ours)
        write_text(page, text)
    return aside


def _is_ours(head: bytes) -> bool:
    return any(f"<title>{words['diff']}".encode() in head for words in DIFF_WORDS.values())


def _previews(out: Path, report: ReportData) -> Mapping[str, Preview]:
    paths = [scene.image for scene in report.scenes if scene.image]
    width = scene_width(len(paths)) // 2
    # Half the page for each run; base64 adds a third to what is encoded.
    room = round(PAGE_BYTES * (1 - TEXT_SHARE) / 2 * 3 / 4)
    return encode(Folder.open(out), {path: (width, room // len(paths)) for path in paths})
