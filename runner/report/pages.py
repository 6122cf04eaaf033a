"""The two pages: ReportData poured into the templates, every word of it escaped for the page it goes to."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from runner.report import say
from runner.report.curve import draw_curve
from runner.report.data import ReportData, Settings, Step
from runner.report.pictures import Preview
from runner.report.words import WORDS

TEMPLATES = Path(__file__).resolve().parents[2] / "templates"

_MARKS = str.maketrans({mark: f"&#{ord(mark)};" for mark in '\\`*[]<>&|#~$@"'})
_SOMETIMES = re.compile(r"(?i)(?<=www)\.|:(?!\s|\d\d\b)|(?<![a-z0-9])_|_(?![a-z0-9])")
"""Marks that act only in their place: of a bare address, of an emoji, of emphasis."""
_UNSEEN = dict.fromkeys(
    (*range(0x09), 0x0B, *range(0x0E, 0x20), *range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A)),
    "\ufffd",
)
"""Control characters, and those that turn the direction of what follows, are shown as U+FFFD."""


@dataclass(frozen=True)
class StageTime:
    """All steps of one stage: what they took together and how many were done in which way."""

    stage: str
    seconds: float | None
    """None where no step of it has been timed."""
    share: float
    """Of the longest stage."""
    kept: bool
    """Whether nothing of it ran this time."""
    actions: Mapping[str, int]
    reasons: tuple[str, ...]


def render_html(data: ReportData, previews: Mapping[str, Preview]) -> str:
    """Return report.html: one file, pictures inside, no script, no request."""
    return _environment(data, _visible).get_template("report.html.j2").render(**_scope(data), previews=previews)


def render_markdown(data: ReportData) -> str:
    """Return report.md: pictures by relative path, for pages that show Markdown."""
    return _environment(data, markdown_text).get_template("report.md.j2").render(**_scope(data))


def markdown_text(value: object) -> Markup:
    """Return text as one line of Markdown that shows exactly it: no mark, tag, link, table bar or line break acts.

    Character references and not backslashes: they also hold inside HTML attributes and before emoji and maths.
    """
    if isinstance(value, Markup):
        return value
    line = re.sub(r"\s+", " ", str(value).translate(_UNSEEN)).translate(_MARKS)
    # Every mark was escaped just above.
    return Markup(_SOMETIMES.sub(lambda mark: f"&#{ord(mark[0])};", line))  # noqa: S704


def fenced(text: str) -> Markup:
    """Return text as a Markdown code block that nothing in the text can close."""
    text = text.translate(_UNSEEN).replace("\r", "\n").strip("\n")
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    # Inside a fence longer than any in the text nothing acts.
    return Markup(f"{fence}\n{text}\n{fence}")  # noqa: S704


def stage_times(steps: Sequence[Step]) -> tuple[StageTime, ...]:
    """Sum up the steps by stage, in the order of their first step."""
    stages = {step.stage: [other for other in steps if other.stage == step.stage] for step in steps}
    timed = {stage: [step.seconds for step in group if step.seconds is not None] for stage, group in stages.items()}
    longest = max(map(sum, timed.values()), default=0.0) or 1.0
    return tuple(
        StageTime(
            stage=stage,
            seconds=sum(timed[stage]) if timed[stage] else None,
            share=sum(timed[stage]) / longest,
            kept=all(step.action == "kept" for step in group),
            actions=Counter(step.action for step in group),
            reasons=tuple(dict.fromkeys(step.reason for step in group if step.reason)),
        )
        for stage, group in stages.items()
    )


def brief_steps(names: Sequence[str], steps: Sequence[Step], words: Mapping[str, str]) -> str:
    """Say many steps briefly, by stage: Encode, Train, Render × 8."""
    stages = {step.name: step.stage for step in steps}
    counts = Counter(stages.get(name, name) for name in names)
    return words["comma"].join(
        words.get(f"stage_{stage}", stage) + (f" × {times}" if times > 1 else "") for stage, times in counts.items()
    )


def settings_words(settings: Settings, words: Mapping[str, str]) -> list[tuple[str, str]]:
    """Say settings as pairs of name and value, leaving out what is not set."""
    pairs = []
    if settings.width is not None or settings.height is not None:
        pairs.append((words["size"], f"{settings.width or '…'} × {settings.height or '…'}"))
    for key, value in (
        ("steps_setting", settings.steps),
        ("guidance_scale", settings.guidance_scale),
        ("lora_scale", settings.lora_scale),
    ):
        if value is not None:
            pairs.append((words[key], say.number(value, 6)))
    if settings.scheduler is not None:
        pairs.append((words["scheduler"], settings.scheduler))
    return pairs


def _visible(value: object) -> object:
    """Show characters that would act unseen as the replacement character."""
    return value.translate(_UNSEEN) if isinstance(value, str) and not isinstance(value, Markup) else value


def _environment(data: ReportData, finalize: Callable[[object], object]) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        finalize=finalize,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(
        duration=lambda seconds: say.duration(seconds, data.language),
        number=say.number,
        count=say.count,
        memory=say.memory,
        when=say.when,
        scene_name=lambda scene: scene.title or scene.prompt or f"{WORDS[data.language]['scene']} {scene.number}",
        fenced=fenced,
    )
    return environment


def _scope(data: ReportData) -> dict[str, Any]:
    words = WORDS[data.language]
    training = data.training
    return {
        "d": data,
        "w": words,
        "curve": draw_curve(training.step, training.loss, training.learning_rate) if training else None,
        "stages": stage_times(data.steps),
        "brief": lambda names: brief_steps(names, data.steps, words),
        "settings_words": lambda settings: settings_words(settings, words),
    }
