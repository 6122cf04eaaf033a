"""Score: how the scenes look, how well they show their prompts, how alike they are, and how close to the data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from kolora.datasets.metadata import read_metadata
from kolora.inputs import Inputs, Scorer
from kolora.spec import Story
from kolora.spec.types import Frozen
from kolora.stages.contract import Job, Key, StageFacts, Step
from kolora.stages.render import IMAGE

VERSION = 2
"""2: coherence and style, and the baseline to measure them by."""
SECTION = "scores"


class Config(Frozen):
    """All that decides the scores besides the pictures; a scorer that is None is off."""

    prompts: tuple[str, ...]
    threshold: float
    aesthetics: Scorer | None = None
    clip: Scorer | None = None


class SceneScore(StageFacts):
    """One scene's scores: aesthetics of 1 to 10, clip 100 x the cosine of prompt and picture."""

    number: int
    aesthetics: float | None = None
    clip: float | None = None


class TrainingScore(StageFacts):
    """The same cosine for every training picture and its caption."""

    clip: tuple[float | None, ...] = ()
    clip_mean: float | None = None


class Likeness(StageFacts):
    """How alike pictures are, 100 x cosine: means over pairs, of the scenes, the baseline and the training pictures."""

    mean: float | None = None
    baseline_mean: float | None = None
    training_mean: float | None = None
    scenes: tuple[float | None, ...] = ()
    matrix: tuple[tuple[float | None, ...], ...] = ()


class Facts(StageFacts):
    """The scores; valid: whether the mean aesthetic score reaches the threshold, None where it was not scored."""

    scenes: tuple[SceneScore, ...] = ()
    aesthetics_mean: float | None = None
    clip_mean: float | None = None
    threshold: float | None = None
    valid: bool | None = None
    training: TrainingScore | None = None
    coherence: Likeness | None = None
    style: Likeness | None = None


def steps(story: Story, inputs: Inputs) -> Iterator[Step]:
    """One step, from the scenes, their baseline and the training pictures."""
    scenes = story.resolved_scenes()
    scenes_with_lora = [scene for scene in scenes if story.report.compare and scene.lora_scale]
    filter_keys: tuple[Key, ...] = (("filter", None),) if story.training_set is not None else ()
    config = Config(
        prompts=tuple(scene.prompt for scene in scenes),
        threshold=story.scores.threshold,
        aesthetics=inputs.aesthetics,
        clip=inputs.clip,
    )
    render_keys: list[Key] = [("render", scene.number) for scene in scenes]
    baseline_keys: list[Key] = [("baseline", scene.number) for scene in scenes_with_lora]
    yield Step("score", config, needs=(*filter_keys, *render_keys, *baseline_keys))


def run(config: Config, job: Job) -> Facts:
    """Judge the scenes in the story's order; the story is valid when its mean aesthetic score reaches the threshold.

    All likeness is 100 x the cosine of CLIP's embeddings: of text and picture, of the scenes among each other
    (coherence), of the scenes and the training pictures (style). The baseline is the measure of the latter two.
    """
    pictures = [folder / IMAGE for folder in job.inputs_of("render")]
    checkpoint = job.checkpoint()
    # The scorers come beside whatever is still loaded: CLIP and the predictor take 3 GB in float32.
    checkpoint.release()
    grades = _grades(config.aesthetics, pictures, checkpoint.device)
    job.tick(1, 3)
    likeness = _likeness(config, pictures, job, device=checkpoint.device)
    job.tick(3, 3)
    similarities: Sequence[float | None] = likeness.pop("scenes")
    mean = _mean(grades)
    scores = enumerate(zip(grades, similarities, strict=True), 1)
    return Facts(
        scenes=tuple(SceneScore(number=number, aesthetics=grade, clip=clip) for number, (grade, clip) in scores),
        aesthetics_mean=mean,
        clip_mean=_mean(similarities),
        threshold=config.threshold,
        valid=None if mean is None else mean >= config.threshold,
        **likeness,
    )


def _grades(scorer: Scorer | None, pictures: Sequence[Path], device: str) -> Sequence[float | None]:
    if scorer is None:
        return [None] * len(pictures)
    from kolora.scoring.judges import Aesthetics

    return list(Aesthetics(scorer.folder, device=device).grade(pictures))


def _likeness(config: Config, pictures: Sequence[Path], job: Job, *, device: str) -> dict[str, Any]:
    """Compare texts and pictures by CLIP: the facts ``training``, ``coherence``, ``style``, and the scenes' cosines."""
    train = next((folder / "train" for folder in job.inputs_of("filter")), None)
    rows = read_metadata(train) if train else []
    if config.clip is None:
        return {"scenes": [None] * len(pictures), "training": TrainingScore(clip=(None,) * len(rows))}
    from kolora.scoring.coherence import measure_coherence, measure_style
    from kolora.scoring.judges import Similarity, similarities

    judge = Similarity(config.clip.folder, device=device)
    scenes = judge.pictures(pictures)
    baseline_files = [folder / IMAGE for folder in job.inputs_of("baseline")]
    baseline = judge.pictures(baseline_files) if baseline_files else None
    training = judge.pictures([train / row.file_name for row in rows]) if train and rows else None
    captions = [] if training is None else similarities(training, judge.texts([row.text for row in rows]))
    style = None if training is None else measure_style(scenes, training=training, baseline=baseline)
    return {
        "scenes": similarities(scenes, judge.texts(config.prompts)),
        "training": TrainingScore(clip=tuple(captions), clip_mean=_mean(captions)),
        "coherence": Likeness(**measure_coherence(scenes, baseline=baseline, training=training)),
        "style": style and Likeness(**style),
    }


def _mean(values: Sequence[float | None]) -> float | None:
    # A mean over some of the pictures would pass for one over all.
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None
