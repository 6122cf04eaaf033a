"""Every scene: what it was asked for, its picture with and without the LoRA, and its scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from kolora.report.formats import number as number_words
from kolora.report.section import PictureGroup
from kolora.report.values import ReportModel, Words
from kolora.runfolder.reader import RunReader
from kolora.runfolder.records import PlannedScene
from kolora.spec.sections.render import Render
from kolora.stages import render, score
from kolora.stages.render import IMAGE

if TYPE_CHECKING:
    from kolora.report.data import ReportData

NAME = "scenes"
IS_LISTED = True
FEW = 12
BASELINE_WIDTH = 384


class Settings(ReportModel):
    """How a scene was rendered."""

    width: int | None = None
    height: int | None = None
    steps: int | None = None
    guidance_scale: float | None = None
    lora_scale: float | None = None
    scheduler: str | None = None


class Scene(ReportModel):
    """One scene, rendered or not."""

    number: int
    state: Literal["done", "failed", "pending"]
    title: str
    prompt: str | None
    negative_prompt: str | None
    seed: int | None
    settings: Settings
    differs: Settings
    """Of the settings, those that are not the story's own."""
    image: str | None
    """Path of the full picture, relative to the run folder; null where there is none to show."""
    sha256: str | None = None
    """Of that picture's file."""
    baseline: str | None = None
    """Path of the same scene from the same seed without the LoRA."""
    aesthetics: float | None = None
    clip: float | None = None
    coherence: float | None = None
    """Likeness to the other scenes, their mean."""
    style: float | None = None
    """Likeness to the training pictures, their mean."""


class Fields(ReportModel):
    """The scenes, and what the story says of all of them."""

    settings: Settings
    """What the story renders with; a scene's `differs` says where it goes its own way."""
    scenes: tuple[Scene, ...]


def gather(reader: RunReader) -> Fields:
    """Read every scene that was planned or rendered."""
    common = _settings(reader.story.render) if reader.story else Settings()
    rendered = rendered_scenes(reader)
    scenes = {number: PlannedScene(number=number, **facts.model_dump()) for number, facts in rendered.items()}
    for planned in reader.run.scenes if reader.run else ():
        scenes[planned.number] = planned
    scores = _scores(reader)
    return Fields(
        settings=common,
        scenes=tuple(
            _scene(reader, scene, common, scores.get(number, _Scores())) for number, scene in sorted(scenes.items())
        ),
    )


def rendered_scenes(reader: RunReader) -> dict[int, render.Facts]:
    """Return what the finished scenes were rendered from, by number."""
    rendered = {}
    for number in reader.scenes_of("render"):
        facts = reader.facts("render", render.Facts, number)
        if facts is not None:
            rendered[number] = facts
    return rendered


def read_image(reader: RunReader, stage: str, number: int) -> str | None:
    """Return the path of a scene's picture, with the LoRA or without, only where it is the recorded one."""
    record = reader.record(stage, number)
    return reader.path(record, IMAGE) if record else None


def _settings(scene: PlannedScene | Render) -> Settings:
    return Settings(
        width=scene.width,
        height=scene.height,
        steps=scene.steps,
        guidance_scale=scene.guidance_scale,
        lora_scale=scene.lora_scale,
        scheduler=scene.scheduler,
    )


def difference(settings: Settings, common: Settings) -> Settings:
    """Return only those settings that are not the common ones."""
    others = common.model_dump()
    return Settings(**{name: value for name, value in settings.model_dump().items() if value != others[name]})


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
            pairs.append((words[key], number_words(value, 6)))
    if settings.scheduler is not None:
        pairs.append((words["scheduler"], settings.scheduler))
    return pairs


def scope(_report: ReportData, words: Mapping[str, str]) -> Mapping[str, Any]:
    """Give the templates the settings in words."""
    return {"settings_words": partial(settings_words, words=words)}


def picture_groups(report: ReportData) -> Sequence[PictureGroup]:
    """List the scenes, with and without the LoRA."""
    images, baseline = [each.image for each in report.scenes], [each.baseline for each in report.scenes]
    return (
        PictureGroup(width=scene_width(len(images)), share=52, paths=images),
        PictureGroup(width=BASELINE_WIDTH, share=14, paths=baseline),
    )


def scene_width(count: int) -> int:
    """Return the width, in pixels, that a page shows each of so many scenes at."""
    return 1024 if count <= FEW else 512


@dataclass(frozen=True)
class _Scores:
    aesthetics: float | None = None
    clip: float | None = None
    coherence: float | None = None
    style: float | None = None


def _scores(reader: RunReader) -> dict[int, _Scores]:
    found = reader.facts("score", score.Facts)
    if found is None:
        return {}
    coherence, style = _by_number(found.coherence), _by_number(found.style)
    return {
        line.number: _Scores(line.aesthetics, line.clip, coherence.get(line.number), style.get(line.number))
        for line in found.scenes
    }


def _by_number(likeness: score.Likeness | None) -> dict[int, float | None]:
    return dict(enumerate(likeness.scenes, start=1)) if likeness else {}


def _scene(reader: RunReader, scene: PlannedScene, common: Settings, scores: _Scores) -> Scene:
    record, settings = reader.record("render", scene.number), _settings(scene)
    is_done = reader.facts("render", render.Facts, scene.number) is not None
    return Scene(
        number=scene.number,
        state="done" if is_done else "failed" if _has_failed(reader, scene.number) else "pending",
        title=scene.title.strip(),
        prompt=scene.prompt,
        negative_prompt=scene.negative_prompt,
        seed=scene.seed,
        settings=settings,
        differs=difference(settings, common),
        image=read_image(reader, "render", scene.number) if is_done else None,
        sha256=record.files[IMAGE].sha256 if record and IMAGE in record.files else None,
        baseline=read_image(reader, "baseline", scene.number),
        aesthetics=scores.aesthetics,
        clip=scores.clip,
        coherence=scores.coherence,
        style=scores.style,
    )


def _has_failed(reader: RunReader, number: int) -> bool:
    steps = reader.run.steps if reader.run else ()
    return any(step.stage == "render" and step.scene == number and step.action == "failed" for step in steps)


WORDS: Words = {
    "en": {
        "scenes": "Scenes",
        "scenes_none": "No scene is known yet.",
        "scene_pending": "Not rendered yet",
        "scene_failed": "Rendering failed",
        "negative_prompt": "Negative prompt",
        "seed": "Seed",
        "common": "Every scene, unless it says otherwise",
        "size": "Size",
        "steps_setting": "Steps",
        "guidance_scale": "Guidance",
        "lora_scale": "LoRA strength",
        "scheduler": "Scheduler",
        "baseline": "Without the LoRA",
        "baseline_note": "same seed",
        "copy_prompt": "Copy prompt",
    },
    "zh": {
        "scenes": "画面",
        "scenes_none": "尚无画面信息。",
        "scene_pending": "尚未渲染",
        "scene_failed": "渲染失败",
        "negative_prompt": "负面提示词",
        "seed": "种子",
        "common": "除另有说明外，各画面均为",
        "size": "尺寸",
        "steps_setting": "步数",
        "guidance_scale": "引导系数",
        "lora_scale": "LoRA 强度",
        "scheduler": "调度器",
        "baseline": "不用 LoRA",
        "baseline_note": "同一种子",
        "copy_prompt": "复制提示词",
    },
}
