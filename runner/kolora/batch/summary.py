"""How the stories of a batch ended, all shards together: batch.json, and batch.html rendered from it.

Each shard writes one small file a story, and whoever ends last finds all of them; nothing is shared but a folder.
"""

from __future__ import annotations

import datetime
import fcntl
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from kolora.batch.work import Task
from kolora.errors import OutputUnwritable, SchemaTooNew
from kolora.files import writing
from kolora.folders import Folder
from kolora.report import parse_report
from kolora.report.pages import html_page
from kolora.report.sections.environment import Service
from kolora.report.values import Language, Words
from kolora.report.words import WORDS
from kolora.version import __version__

_SUMMARY = "batch.json"
_PAGE = "batch.html"
_OUTCOMES = ".batch"
"""The folder under OUT that holds one outcome a story."""
State = Literal["waiting", "running", "complete", "failed", "stopped"]

BATCH_WORDS: Words = {
    "en": {
        "batch": "Stories",
        "story": "Story",
        "waiting": "Waiting",
        "running": "Running",
    },
    "zh": {
        "batch": "个故事",
        "story": "故事",
        "waiting": "等待中",
        "running": "进行中",
    },
}
"""What only this page says."""


class Outcome(BaseModel):
    """How one story of a batch ended, as the shard that ran it knows; its exit code is None before the end."""

    model_config = ConfigDict(frozen=True)

    label: str
    story: str
    state: State = "waiting"
    code: int | None = None
    error: str = ""
    hint: str = ""
    seconds: float | None = None
    service: Service | None = None


class Line(Outcome):
    """An outcome and what the story's own report says."""

    title: str = ""
    language: Language | None = None
    checkpoint: str | None = None
    scenes: int | None = None
    scenes_done: int | None = None
    aesthetics_mean: float | None = None
    clip_mean: float | None = None
    valid: str | None = None
    grid: str | None = None
    """Path of the picture of all scenes, relative to OUT."""
    report: str | None = None


class Summary(BaseModel):
    """All that batch.json says."""

    model_config = ConfigDict(frozen=True)

    kolora: str
    time: str
    counts: dict[State, int]
    stories: tuple[Line, ...]


def refuse_others(out: Path) -> None:
    """Raise OutputUnwritable where files of the user's lie where the summary is written."""
    with writing(out):
        folder = Folder.open(out, create=True)
        there = [name for name in (_SUMMARY, _PAGE) if folder.kind(name) is not None]
    if there and _read_summary(folder) is None:
        raise OutputUnwritable(
            f"{out} holds {' and '.join(there)}, which kolora batch did not write and would have to replace",
            hint="move that elsewhere, or choose another folder with -o",
        )


def write_outcome(out: Path, outcome: Outcome) -> None:
    """Write what is known of a story now."""
    with writing(out):
        text = outcome.model_dump_json(indent=1) + "\n"
        Folder.open(out, create=True).write(f"{_OUTCOMES}/{outcome.label}.json", text.encode())


def write_summary(out: Path, tasks: Sequence[Task]) -> Summary:
    """Write batch.json and batch.html over all tasks, whichever shard has them."""
    with writing(out):
        folder = Folder.open(out, create=True)
        folder.make(_OUTCOMES)
        with folder.lock_file(f"{_OUTCOMES}/.lock") as lock:
            # Two shards that end together write one after the other, so the last one has seen both.
            fcntl.flock(lock, fcntl.LOCK_EX)
            lines = tuple(_line(folder, task) for task in tasks)
            summary = Summary(
                kolora=__version__,
                time=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
                counts=dict(Counter(line.state for line in lines)),
                stories=lines,
            )
            folder.write(_SUMMARY, (summary.model_dump_json(indent=1) + "\n").encode(), by_way_of=_OUTCOMES)
            folder.write(_PAGE, render_summary(summary).encode(), by_way_of=_OUTCOMES)
    return summary


def render_summary(summary: Summary) -> str:
    """Return batch.html: a line a story, in the language of most of them."""
    languages = Counter(line.language for line in summary.stories if line.language)
    language: Language = max(languages, key=lambda each: languages[each], default="zh")
    words = {**WORDS[language], **BATCH_WORDS[language]}
    return html_page("batch.html.j2", language, d=summary, w=words, language=language)


def _read_summary(folder: Folder) -> Summary | None:
    try:
        return Summary.model_validate_json(folder.read(_SUMMARY))
    except (OSError, ValidationError):
        return None


def _line(out: Folder, task: Task) -> Line:
    try:
        outcome = Outcome.model_validate_json(out.read(f"{_OUTCOMES}/{task.label}.json"))
    except (OSError, ValidationError):
        # No shard has come to it yet.
        outcome = Outcome(label=task.label, story=task.story)
    try:
        report = parse_report(out.read(f"{task.label}/report.json"))
    except (OSError, ValueError, SchemaTooNew):
        return Line(**outcome.model_dump())
    return Line(
        **outcome.model_dump(),
        title=report.title,
        language=report.language,
        checkpoint=report.checkpoint.name if report.checkpoint else None,
        scenes=len(report.scenes),
        scenes_done=sum(scene.state == "done" for scene in report.scenes),
        aesthetics_mean=report.verdict.aesthetics_mean,
        clip_mean=report.verdict.clip_mean,
        valid=report.verdict.state,
        grid=f"{task.label}/{report.grid.path}" if report.grid else None,
        report=f"{task.label}/report.html",
    )
