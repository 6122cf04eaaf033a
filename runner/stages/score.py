"""Score: how the scenes look and how well they show their prompts, and the training pictures likewise."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from pydantic import Field

from runner.spec.story import Frozen
from runner.stages import Facts, Job

VERSION = 1


class Scorer(Frozen):
    """A scorer by its content; where it lies does not matter to the result."""

    digest: str
    folder: Path = Field(exclude=True)


class Part(Frozen):
    """What scoring may see; a scorer that is None is off."""

    prompts: tuple[str, ...]
    threshold: float
    aesthetics: Scorer | None
    clip: Scorer | None


def run(part: Part, job: Job) -> Facts:
    """Judge the scenes in the story's order; the story is valid when its mean aesthetic score reaches the threshold."""
    pictures = [folder / "image.png" for name, folder in job.inputs.items() if name != "filter"]
    parts = job.parts()
    parts.release()
    grades = _grades(part.aesthetics, pictures, parts.device)
    job.tick(1, 3)
    similarities = _similarities(part.clip, pictures, part.prompts, parts.device)
    job.tick(2, 3)
    names, texts = _captions(job.inputs["filter"] / "train") if "filter" in job.inputs else ([], ())
    training = _similarities(part.clip, names, texts, parts.device)
    job.tick(3, 3)
    mean = _mean(grades)
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
    }


def _grades(scorer: Scorer | None, pictures: list[Path], device: str) -> list[Any]:
    if scorer is None:
        return [None] * len(pictures)
    from runner.scoring.judges import Aesthetics

    return list(Aesthetics(scorer.folder, device=device).grade(pictures))


def _similarities(scorer: Scorer | None, pictures: list[Path], texts: tuple[str, ...], device: str) -> list[Any]:
    if scorer is None or not pictures:
        return [None] * len(pictures)
    from runner.scoring.judges import Similarity, similarities

    judge = Similarity(scorer.folder, device=device)
    return list(similarities(judge.pictures(pictures), judge.texts(texts)))


def _captions(train: Path) -> tuple[list[Path], tuple[str, ...]]:
    with (train / "metadata.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [train / row["file_name"] for row in rows], tuple(row["text"] for row in rows)


def _mean(values: list[Any]) -> float | None:
    return sum(values) / len(values) if values and None not in values else None
