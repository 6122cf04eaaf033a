"""The matrix of likeness as geometry: cells with their shade, ready to be drawn without a script."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

LABELLED = 16
"""Up to so many scenes the cells have room for their numbers."""
PALE, FULL, TURN = 0.05, 0.9, 0.75
"""Opacity of the least and of the most alike pair, and from where on a number on it is light: there both schemes have
a contrast of 4 either way."""


@dataclass(frozen=True)
class Cell:
    """One pair of scenes. `shade` is an opacity; `label` is empty where there is no room or no number."""

    x: int
    y: int
    shade: float
    label: str
    is_light: bool


@dataclass(frozen=True)
class ShadedMatrix:
    """All pairs of `count` scenes, from the least alike to the most."""

    count: int
    low: float
    high: float
    cells: tuple[Cell, ...]


def shade_matrix(matrix: Sequence[Sequence[float | None]]) -> ShadedMatrix | None:
    """Shade every pair of different scenes; None where there is no such pair.

    The shades span what the pairs have, and not 0 to 100: pictures of one story all lie close together.
    """
    count = len(matrix)
    pairs = []
    for y, row in enumerate(matrix):
        pairs += [(x, y, value) for x, value in enumerate(row) if x != y and value is not None]
    if not pairs:
        return None
    low, high = min(value for *_, value in pairs), max(value for *_, value in pairs)
    span = high - low or 1.0
    cells = []
    for x, y, value in pairs:
        shade = PALE + (FULL - PALE) * (value - low) / span
        cells.append(Cell(x, y, round(shade, 3), f"{value:.0f}" if count <= LABELLED else "", shade > TURN))
    return ShadedMatrix(count, low, high, tuple(cells))
