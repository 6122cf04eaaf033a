"""How alike pictures are: the scenes among each other, and the scenes and what was trained on."""

from __future__ import annotations

from typing import Any

import torch


def measure_coherence(
    scenes: torch.Tensor, *, baseline: torch.Tensor | None = None, training: torch.Tensor | None = None
) -> dict[str, Any]:
    """Compare every scene with every other: the matrix, each scene's mean with the others, and the mean of all pairs.

    scenes, baseline, training: embeddings (N, D) of length 1; all likeness is 100 x cosine. The same mean of the scenes
    drawn without the LoRA and of the training pictures says what to measure it by. A mean of no pair is None.
    """
    # (N, N). High alone says little: with StoryDiffusion's attention pocket had the highest of all, and the
    # right place in 38 % of pictures (2026-11).
    matrix = 100 * scenes @ scenes.T
    return {
        "matrix": [_rounded(row) for row in matrix.tolist()],
        "scenes": _with_others(matrix),
        "mean": _of_pairs(scenes),
        "baseline_mean": None if baseline is None else _of_pairs(baseline),
        "training_mean": None if training is None else _of_pairs(training),
    }


def measure_style(
    scenes: torch.Tensor, *, training: torch.Tensor, baseline: torch.Tensor | None = None
) -> dict[str, Any]:
    """Compare every scene with the training pictures: 100 x cosine, mean over them, and the mean of the scenes."""
    each = (100 * scenes @ training.T).mean(dim=1).tolist()
    return {
        "scenes": each,
        "mean": sum(each) / len(each),
        "baseline_mean": None if baseline is None else float((100 * baseline @ training.T).mean()),
    }


def _rounded(row: list[float]) -> list[float]:
    return [round(each, 3) for each in row]


def _with_others(matrix: torch.Tensor) -> list[float | None]:
    count = len(matrix)
    return [float((row.sum() - row[at]) / (count - 1)) if count > 1 else None for at, row in enumerate(matrix)]


def _of_pairs(embedded: torch.Tensor) -> float | None:
    """Return the mean over all pairs of different pictures, from the length of their sum: no matrix of thousands."""
    count = len(embedded)
    if count < 2:
        return None
    # |sum|^2 = sum of |each|^2 + all pairs twice over; in double, because it is a difference of large numbers.
    total = embedded.double().sum(dim=0).square().sum() - embedded.double().square().sum()
    return float(100 * total / (count * (count - 1)))
