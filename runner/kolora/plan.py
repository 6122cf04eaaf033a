"""Story -> steps with digests, and for each step whether it runs and why: pure, no disk, no clock, no model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Protocol

from pydantic import BaseModel

from kolora.inputs import Inputs, LoraFile
from kolora.spec import ResolvedScene, Story
from kolora.spec.story import SampleScene
from kolora.stages import condition, convert, encode, fetch, grid, prior, render, score, train
from kolora.stages import filter as filter_stage

STAGES: dict[str, ModuleType] = {
    "fetch": fetch,
    "filter": filter_stage,
    "condition": condition,
    "encode": encode,
    "prior": prior,
    "train": train,
    "convert": convert,
    "render": render,
    "grid": grid,
    "score": score,
}
"""Every stage, in the order in which a story goes through them: the two that need the text encoder stand together."""

SHOWN_CHANGES = 3
SHOWN_LETTERS = 40


@dataclass(frozen=True)
class Step:
    """One piece of work: a stage, the part of the story it may see, and the steps whose results it needs."""

    name: str
    stage: str
    part: BaseModel
    inputs: tuple[str, ...]
    digest: str

    @property
    def version(self) -> int:
        """The stage's version: raised when it would make other bytes of the same inputs."""
        return int(STAGES[self.stage].VERSION)


REASONS = {
    "forced": "asked for by --force",
    "same": "nothing it depends on has changed",
    "interrupted": "was interrupted, goes on where it was saved",
    "first": "not done yet",
    "damaged": "its files are gone or damaged",
    "version": "this kolora does the {} stage anew (version {} is now {})",
    "new": "{} is new: {}",
    "gone": "{} is gone",
    "changed": "{} changed",
    "changed_from": "{} changed from {} to {}",
    "more": "{} more",
    "otherwise": "its inputs come otherwise",
}
"""What a reason may say; a report in another language has its own words for these keys."""

Reason = tuple[str, ...]
"""A key of REASONS, then what fills its gaps."""


@dataclass(frozen=True)
class Decision:
    """Whether a step runs, and why."""

    step: Step
    runs: bool
    why: tuple[Reason, ...]

    @property
    def reason(self) -> str:
        """Why, in words for the user."""
        said = ", ".join(REASONS[key].format(*values) for key, *values in self.why if key != "more")
        return said + "".join(f" and {REASONS[key].format(*values)}" for key, *values in self.why if key == "more")


class Known(Protocol):
    """What a decision reads of an earlier record."""

    digest: str
    version: int
    part: dict[str, Any]
    inputs: dict[str, str]


def plan_steps(story: Story, inputs: Inputs) -> tuple[Step, ...]:
    """List the steps of a story, each after the steps it needs."""
    steps: dict[str, Step] = {}

    def add(name: str, stage: str, part: BaseModel, *needs: str) -> str:
        digests = {each: steps[each].digest for each in needs}
        steps[name] = Step(name, stage, part, needs, digest_of(stage, part, list(digests.values())))
        return name

    lora, dtype, checkpoint, dataset = story.lora, story.model.dtype, inputs.checkpoint, story.training_set
    scenes = story.resolved_scenes()
    filtered, trained = [], []
    if dataset is not None:
        fetching = fetch.Part(dataset=dataset, language=story.language, pictures=inputs.dataset, folder=inputs.pictures)
        sifting = filter_stage.Part(dataset=filter_stage.Fewest(min_images=dataset.min_images), filters=story.filters)
        filtered = [add("filter", "filter", sifting, add("fetch", "fetch", fetching))]
    conditioned = [
        add(
            scene_step("condition", scene.number),
            "condition",
            condition.Part(
                checkpoint=checkpoint, dtype=dtype, prompt=scene.prompt, negative_prompt=scene.negative_prompt
            ),
        )
        for scene in scenes
    ]
    if dataset is not None:
        if lora.prior:
            prompts = {"prompt": lora.prior.prompt, "negative_prompt": story.render.negative_prompt}
            add("condition-prior", "condition", condition.Part(checkpoint=checkpoint, dtype=dtype, **prompts))
        preparation = encode.Preparation(
            resolution=lora.resolution,
            crop=lora.crop,
            flip=lora.flip,
            seed=lora.seed if lora.crop == "random" else None,
            trigger=lora.trigger,
            template=lora.template,
            caption_dropout=lora.caption_dropout > 0,
        )
        encoded = add("encode", "encode", encode.Part(checkpoint=checkpoint, dtype=dtype, lora=preparation), *filtered)
        shown = [encoded]
        if lora.prior:
            drawing = prior.Part(
                checkpoint=checkpoint,
                dtype=dtype,
                lora=prior.Prior(count=lora.prior.count, seed=lora.seed, resolution=lora.resolution),
                render=prior.Render(**story.render.model_dump(include=set(prior.Render.model_fields))),
            )
            shown.append(add("prior", "prior", drawing, "condition-prior"))
        sampled = scenes[: lora.sample_scenes] if lora.sample_every else ()
        training = train.Part(
            checkpoint=checkpoint,
            dtype=dtype,
            lora=lora.model_copy(update={"preset": None}),
            samples=tuple(SampleScene(**scene.model_dump(include=set(SampleScene.model_fields))) for scene in sampled),
        )
        trained = [add("train", "train", training, *shown, *conditioned[: len(sampled)])]
    converting = convert.Part(
        title=story.title or story.name,
        author=story.team,
        checkpoint=checkpoint,
        lora=inputs.lora,
        spec=steps["train"].digest if trained else None,
        resolution=lora.resolution if trained else None,
    )
    add("convert", "convert", converting, *trained)
    rendered = [
        add(
            scene_step("render", scene.number),
            "render",
            _render_part(scene, checkpoint, dtype, inputs.lora),
            conditioning,
            *trained,
        )
        for scene, conditioning in zip(scenes, conditioned, strict=True)
    ]
    # The same scenes without the LoRA: they stand on no training, so they survive every other one.
    plain = [
        add(
            scene_step("plain", scene.number),
            "render",
            _render_part(scene.model_copy(update={"lora_scale": 0.0}), checkpoint, dtype, None),
            conditioning,
        )
        for scene, conditioning in zip(scenes, conditioned, strict=True)
        if story.report.compare and scene.lora_scale
    ]
    add("grid", "grid", grid.Part(grid=story.resolved_grid()), *rendered)
    scored = score.Part(
        prompts=tuple(scene.prompt for scene in scenes),
        threshold=story.scores.threshold,
        aesthetics=inputs.aesthetics,
        clip=inputs.clip,
    )
    add("score", "score", scored, *filtered, *rendered, *plain)
    return tuple(steps.values())


def scene_step(stage: str, number: int) -> str:
    """Name a scene's step: ``render-03``."""
    return f"{stage}-{number:02d}"


def _render_part(scene: ResolvedScene, checkpoint: str, dtype: str, lora: LoraFile | None) -> render.Part:
    values = scene.model_dump(exclude={"number", "title"})
    return render.Part(checkpoint=checkpoint, dtype=dtype, lora=lora, **values)


def digest_of(stage: str, part: BaseModel, inputs: Sequence[str]) -> str:
    """Digest what a step's result depends on: stage, its version, its part of the story, its inputs."""
    covered = [stage, int(STAGES[stage].VERSION), part.model_dump(mode="json"), list(inputs)]
    return hashlib.sha256(json.dumps(covered, ensure_ascii=False, sort_keys=True).encode()).hexdigest()


def decide(
    steps: Sequence[Step],
    *,
    finished: Collection[str],
    known: Mapping[str, Known],
    resumable: Collection[str] = (),
    forced: Collection[str] = (),
) -> tuple[Decision, ...]:
    """Decide for each step whether it runs.

    finished: digests of steps whose results are whole. known: the last record of each step, by name. resumable:
    names of steps that left a saved state. forced: names of steps or stages that run in any case.
    """
    decisions = []
    for step in steps:
        is_forced = step.name in forced or step.stage in forced
        runs = is_forced or step.digest not in finished
        record = known.get(step.name)
        if is_forced:
            why: tuple[Reason, ...] = (("forced",),)
        elif not runs:
            why = (("same",),)
        elif step.name in resumable:
            why = (("interrupted",),)
        elif record is None:
            why = (("first",),)
        else:
            why = _why(step, record, steps)
        decisions.append(Decision(step, runs, why))
    return tuple(decisions)


def _why(step: Step, record: Known, steps: Sequence[Step]) -> tuple[Reason, ...]:
    if record.digest == step.digest:
        return (("damaged",),)
    if record.version != step.version:
        return (("version", step.stage, str(record.version), str(step.version)),)
    changes = _changes(record.part, step.part.model_dump(mode="json"))
    if changes:
        more = len(changes) - SHOWN_CHANGES
        return (*changes[:SHOWN_CHANGES], *([("more", str(more))] if more > 0 else []))
    digests = {each.name: each.digest for each in steps}
    changed = [name for name in step.inputs if record.inputs.get(name) != digests[name]]
    gone = [name for name in record.inputs if name not in step.inputs]
    names = ", ".join((changed + gone)[:SHOWN_CHANGES])
    return (("changed", names),) if names else (("otherwise",),)


def _changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Reason]:
    before, after = _flat(old), _flat(new)
    changes: list[Reason] = []
    for key in sorted(before.keys() | after.keys()):
        if key not in before:
            changes.append(("new", key, _shown(after[key])))
        elif key not in after:
            changes.append(("gone", key))
        elif before[key] != after[key]:
            values = [_shown(before[key]), _shown(after[key])]
            is_digest = all(len(value) == 64 and " " not in value for value in values)
            changes.append(("changed", key) if is_digest else ("changed_from", key, *values))
    return changes


def _flat(value: Any, path: str = "") -> dict[str, Any]:
    if isinstance(value, Mapping):
        items = [(f"{path}.{key}" if path else str(key), each) for key, each in value.items()]
    elif isinstance(value, list) and any(isinstance(each, Mapping | list) for each in value):
        items = [(f"{path}[{index}]", each) for index, each in enumerate(value)]
    else:
        return {path: value}
    return {key: leaf for name, each in items for key, leaf in _flat(each, name).items()}


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if len(text) == 64 and all(letter in "0123456789abcdef" for letter in text):
        return text
    return text if len(text) <= SHOWN_LETTERS else f"{text[:SHOWN_LETTERS]}…"
