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

    if not pairs:
        return []
    sides = [one for one, _ in pairs], [other for _, other in pairs]
    grades = _grades(sides, aesthetics, device)
    similarity = _similarities(sides, prompts, clip, device)
    compared = []
    for index, (one, other) in enumerate(pairs):
        scores = {
            "aesthetics": {"submitted": grades[0][index], "again": grades[1][index]},
            "clip": {"submitted": similarity[0][index], "again": similarity[1][index]},
        }
        compared.append(picture_difference(one, other) | scores)
    return compared


def _grades(sides: Sequence[Sequence[Path]], scorer: Scorer | None, device: str) -> list[Sequence[float | None]]:
    """Return the aesthetic scores of each side's pictures; the judge is loaded once."""
    from kolora.scoring.judges import Aesthetics

    if scorer is None:
        return [[None] * len(pictures) for pictures in sides]
    judge = Aesthetics(scorer.folder, device=device)
    return [judge.grade(pictures) for pictures in sides]


def _similarities(
    sides: Sequence[Sequence[Path]], prompts: Sequence[str], scorer: Scorer | None, device: str
) -> list[Sequence[float | None]]:
    """Return how alike each side's pictures and the prompts are; the judge is loaded once."""
    from kolora.scoring.judges import Similarity, similarities

    if scorer is None:
        return [[None] * len(pictures) for pictures in sides]
    judge = Similarity(scorer.folder, device=device)
    texts = judge.texts(prompts)
    return [similarities(judge.pictures(pictures), texts) for pictures in sides]


def compare_grids(submitted: Path, again: Path) -> Facts:
    """Compare two grids of one size, by their pixels alone."""
    from kolora.scoring.difference import picture_difference

    unjudged = {"submitted": None, "again": None}
    return picture_difference(submitted, again) | {"aesthetics": unjudged, "clip": unjudged}


def different_loras(paths: Sequence[Path]) -> dict[Path, str]:
    """Name the LoRA files that do not hold the first one's weights, each with why it does not load, or nothing."""
    import torch

    from kolora.models.lora import LoraWeights, read_lora

    def weights_of(path: Path) -> LoraWeights | str:
        try:
            return read_lora(path)
        except InputAbsent as problem:
            return problem.error

    def are_equal(one: LoraWeights, other: LoraWeights) -> bool:
        if one.pairs.keys() != other.pairs.keys():
            return False
        pairs = [(pair, other.pairs[module]) for module, pair in one.pairs.items()]
        return all(torch.equal(down, its_down) and torch.equal(up, its_up) for (down, up), (its_down, its_up) in pairs)

    # Weights and not bytes: each ecosystem's file has other names and another header.
    first, *others = paths
    expected = weights_of(first)
    if isinstance(expected, str):
        return {first: expected}
    different: dict[Path, str] = {}
    for path in others:
        found = weights_of(path)
        if isinstance(found, str):
            different[path] = found
        elif not are_equal(expected, found):
            different[path] = ""
    return different
