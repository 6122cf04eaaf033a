"""Compare: the pictures of a submission and those drawn again, pixel by pixel and judged by the same judges."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from runner.stages import Facts
from runner.stages.score import Scorer


def compare(
    pairs: Sequence[tuple[Path, Path]],
    prompts: Sequence[str],
    *,
    aesthetics: Scorer | None,
    clip: Scorer | None,
    device: str,
) -> list[Facts]:
    """Compare pairs of pictures, the submitted one first: their difference, and what each scores.

    aesthetics, clip: the judges, None where off. prompts: what each pair shows.
    """
    from runner.scoring.difference import picture_difference
    from runner.scoring.judges import Aesthetics, Similarity, similarities

    if not pairs:
        return []
    submitted, again = [one for one, _ in pairs], [other for _, other in pairs]
    compared = [picture_difference(one, other) for one, other in pairs]
    grades: list[list[float | None]] = [[None] * len(pairs)] * 2
    likeness: list[list[float | None]] = [[None] * len(pairs)] * 2
    if aesthetics is not None:
        judge = Aesthetics(aesthetics.folder, device=device)
        grades = [list(judge.grade(pictures)) for pictures in (submitted, again)]
    if clip is not None:
        seer = Similarity(clip.folder, device=device)
        texts = seer.texts(prompts)
        likeness = [list(similarities(seer.pictures(pictures), texts)) for pictures in (submitted, again)]
    return [
        each
        | {
            "aesthetics": {"submitted": grades[0][index], "again": grades[1][index]},
            "clip": {"submitted": likeness[0][index], "again": likeness[1][index]},
        }
        for index, each in enumerate(compared)
    ]
