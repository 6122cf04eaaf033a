"""Compare: the pictures of a submission and those drawn again, pixel by pixel and judged by the same judges."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kolora.errors import InputAbsent
from kolora.inputs import Scorer

Facts = dict[str, Any]
"""What a comparison found, as plain JSON values."""


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
    from kolora.scoring.difference import picture_difference
    from kolora.scoring.judges import Aesthetics, Similarity, similarities

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


def compare_grids(submitted: Path, again: Path) -> Facts:
    """Compare two grids of one size, by their pixels alone."""
    from kolora.scoring.difference import picture_difference

    unjudged = {"submitted": None, "again": None}
    return picture_difference(submitted, again) | {"aesthetics": unjudged, "clip": unjudged}


def unlike_loras(paths: Sequence[Path]) -> dict[Path, str]:
    """Name the LoRA files that do not hold the first one's weights, each with why it does not load, or nothing."""
    import torch

    from kolora.models.lora import LoraWeights, read_lora

    def weights_of(path: Path) -> LoraWeights | str:
        try:
            return read_lora(path)
        except InputAbsent as problem:
            return problem.error

    unlike: dict[Path, str] = {}
    first, *others = paths
    wanted = weights_of(first)
    if isinstance(wanted, str):
        return {first: wanted}
    for path in others:
        found = weights_of(path)
        if isinstance(found, str):
            unlike[path] = found
        elif found.pairs.keys() != wanted.pairs.keys() or not all(
            torch.equal(mine, theirs)
            for module, pair in wanted.pairs.items()
            for mine, theirs in zip(pair, found.pairs[module], strict=True)
        ):
            unlike[path] = ""
    return unlike
