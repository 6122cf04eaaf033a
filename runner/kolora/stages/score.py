"""Score: how the scenes look, how well they show their prompts, how alike they are, and how close to the data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kolora.datasets.metadata import read_metadata
from kolora.inputs import Scorer
from kolora.spec.story import Frozen
from kolora.stages import Facts, Job

VERSION = 2


class Part(Frozen):
    """What scoring may see; a scorer that is None is off."""

    prompts: tuple[str, ...]
    threshold: float
    aesthetics: Scorer | None
    clip: Scorer | None


def run(part: Part, job: Job) -> Facts:
    """Judge the scenes in the story's order; the story is valid when its mean aesthetic score reaches the threshold.

    All likeness is 100 x the cosine of CLIP's embeddings: of text and picture, of the scenes among each other
    (coherence), of the scenes and the training pictures (style). What was drawn without the LoRA is the measure of the
    latter two.
    """
    pictures, plain = (
        [folder / "image.png" for name, folder in job.inputs.items() if name.startswith(f"{kind}-")]
        for kind in ("render", "plain")
    )
    checkpoint = job.checkpoint()
    checkpoint.release()
    grades = _grades(part.aesthetics, pictures, checkpoint.device)
    job.tick(1, 3)
    names, texts = _captions(job.inputs["filter"] / "train") if "filter" in job.inputs else ([], ())
    alike = _likeness(part, pictures, plain, names, texts, device=checkpoint.device)
    job.tick(3, 3)
    mean = _mean(grades)
    similarities, training = alike.pop("scenes"), alike.pop("training")
    return {
        "scenes": [
            {"number": number, "aesthetics": grade, "clip": similarity}
            for number, (grade, similarity) in enumerate(zip(grades, similarities, strict=True), 1)
        ],
        "aesthetics_mean": mean,
        "clip_mean": _mean(similarities),
        "threshold": part.threshold,
        "valid": None if mean is None else mean >= part.threshold,
        "training": {"clip": training, "clip_mean": _mean(training)},
        **alike,
    }


def _grades(scorer: Scorer | None, pictures: list[Path], device: str) -> list[Any]:
    if scorer is None:
        return [None] * len(pictures)
    from kolora.scoring.judges import Aesthetics

    return list(Aesthetics(scorer.folder, device=device).grade(pictures))


def _likeness(
    part: Part, pictures: list[Path], plain: list[Path], training: list[Path], captions: tuple[str, ...], *, device: str
) -> Facts:
    if part.clip is None:
        return {"scenes": [None] * len(pictures), "training": [None] * len(training)}
    from kolora.scoring.coherence import measure_coherence, measure_style
    from kolora.scoring.judges import Similarity, similarities

    judge = Similarity(part.clip.folder, device=device)
    scenes = judge.pictures(pictures)
    taught = judge.pictures(training) if training else None
    bare = judge.pictures(plain) if plain else None
    return {
        "scenes": similarities(scenes, judge.texts(part.prompts)),
        "training": [] if taught is None else similarities(taught, judge.texts(captions)),
        "coherence": measure_coherence(scenes, plain=bare, training=taught),
        "style": None if taught is None else measure_style(scenes, training=taught, plain=bare),
    }


def _captions(train: Path) -> tuple[list[Path], tuple[str, ...]]:
    rows = read_metadata(train)
    return [train / row.file_name for row in rows], tuple(row.text for row in rows)


def _mean(values: list[Any]) -> float | None:
    return sum(values) / len(values) if values and None not in values else None
