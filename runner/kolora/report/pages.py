"""The two pages: ReportData poured into the templates, every word of it escaped for the page it goes to."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import groupby
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

import kolora.report.say as say
from kolora.report.card import card_metadata, usage
from kolora.report.curve import draw_curve
from kolora.report.data import Dropped, Language, ReportData, Settings, Step
from kolora.report.heat import draw_heat
from kolora.report.pictures import Preview
from kolora.report.words import WORDS

TEMPLATES = Path(str(files("kolora") / "templates"))

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
    memory: Mapping[str, int]
    """Peak bytes by device, the largest of its steps."""


def render_html(data: ReportData, previews: Mapping[str, Preview], *, other: str = "") -> str:
    """Return report.html: one file, pictures inside, no request; its script only copies text.

    other: file name of the same page in the other language.
    """
    return html_page("report.html.j2", data.language, **_scope(data), previews=previews, other=other)


def html_page(template: str, language: Language, /, **scope: Any) -> str:
    """Pour values into a page that may run our one script and load nothing."""
    script = (TEMPLATES / "page.js").read_text(encoding="utf-8").strip()
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    # The script is ours, and stands in the page as it is.
    own = {"script": Markup(script), "script_digest": Markup(digest)}  # noqa: S704
    return _environment(language, _visible).get_template(template).render(**own, **scope)


def render_markdown(data: ReportData, *, head: Mapping[str, Any] | None = None) -> str:
    """Return report.md: pictures by relative path, for pages that show Markdown. head: more for its front matter."""
    scope = _scope(data) | {"card": card_metadata(data) | dict(head or {}), "usage": usage(data)}
    return _environment(data.language, markdown_text).get_template("report.md.j2").render(**scope)


def markdown_text(value: object) -> Markup:
    """Return text as one line of Markdown that shows exactly it: no mark, tag, link, table bar or line break acts.

    Character references and not backslashes: they also hold inside HTML attributes and before emoji and maths.
    """
    if isinstance(value, Markup):
        return value
    line = re.sub(r"\s+", " ", str(value).translate(_UNSEEN)).translate(_MARKS)
    # Every mark was escaped just above.
    return Markup(_SOMETIMES.sub(lambda mark: f"&#{ord(mark[0])};", line))  # noqa: S704


def fenced(text: str, language: str = "") -> Markup:
    """Return text as a Markdown code block that nothing in the text can close."""
    text = text.translate(_UNSEEN).replace("\r", "\n").strip("\n")
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    # Inside a fence longer than any in the text nothing acts.
    return Markup(f"{fence}{language}\n{text}\n{fence}")  # noqa: S704


def stage_times(steps: Sequence[Step], language: Language = "en") -> tuple[StageTime, ...]:
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
            reasons=tuple(dict.fromkeys(said for step in group if (said := say.reason(step, language)))),
            memory=_peaks(group),
        )
        for stage, group in stages.items()
    )


def _peaks(steps: Sequence[Step]) -> dict[str, int]:
    peaks: dict[str, int] = {}
    for step in steps:
        for device, used in step.peak_memory_bytes.items():
            if used is not None:
                peaks[device] = max(used, peaks.get(device, 0))
    return peaks


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


def _losses(data: ReportData) -> Sequence[Dropped]:
    return data.data.losses if data.data else ()


def _by(loss: Dropped) -> str:
    return loss.by or ""


def _visible(value: object) -> object:
    """Show characters that would act unseen as the replacement character."""
    return value.translate(_UNSEEN) if isinstance(value, str) and not isinstance(value, Markup) else value


def foreign(text: str | None, language: Language) -> Markup:
    """Return the attribute that tells fonts and voices that a text is not in the page's language."""
    own: Language = "zh" if re.search("[\u3400-\u9fff]", text or "") else "en"
    # One of two constants.
    return Markup("" if own == language or not text else f' lang="{ {"zh": "zh-CN", "en": "en"}[own] }"')  # noqa: S704


def shortened(text: str, letters: int = 300) -> str:
    """Cut what a reader has beside it in full, or nobody reads in full."""
    return text if len(text) <= letters else f"{text[:letters]}…"


def yaml_value(value: object) -> str:
    """Say a value of the story as its YAML would, in one line."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def front_matter(values: Mapping[str, Any]) -> Markup:
    """Return values as the YAML head of a Markdown file; YAML's own writer quotes whatever could act."""
    text = yaml.safe_dump(dict(values), allow_unicode=True, sort_keys=False, width=1000).translate(_UNSEEN)
    return Markup(f"---\n{text}---")  # noqa: S704


def _environment(language: Language, finalize: Callable[[object], object]) -> Environment:
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
        duration=lambda seconds: say.duration(seconds, language),
        number=say.number,
        count=say.count,
        memory=say.memory,
        when=say.when,
        scene_name=lambda scene: scene.title or shortened(scene.prompt or f"{WORDS[language]['scene']} {scene.number}"),
        fenced=fenced,
        foreign=lambda text: foreign(text, language),
        shortened=shortened,
        yaml_value=yaml_value,
        front_matter=front_matter,
        reason=lambda step: say.reason(step, language),
        loss_reason=lambda loss: say.loss_reason(loss, language),
    )
    return environment


def _scope(data: ReportData) -> dict[str, Any]:
    words = WORDS[data.language]
    training = data.training
    coherence = data.coherence
    return {
        "d": data,
        "w": words,
        "curve": draw_curve(training.step, training.loss, training.learning_rate) if training else None,
        "rate": draw_curve(training.step, training.learning_rate)
        if training and len(training.learning_rate) == len(training.step) and len(set(training.learning_rate)) > 1
        else None,
        "heat": draw_heat(coherence.matrix) if coherence else None,
        "stages": stage_times(data.steps, data.language),
        "devices": sorted({device for step in data.steps for device, used in step.peak_memory_bytes.items() if used}),
        "losses_by": [(name, list(group)) for name, group in groupby(sorted(_losses(data), key=_by), key=_by)],
        "brief": lambda names: brief_steps(names, data.steps, words),
        "settings_words": lambda settings: settings_words(settings, words),
    }
