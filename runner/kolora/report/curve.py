"""The loss curve as geometry: paths, ticks and rows, ready to be drawn without a script."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from kolora.report.formats import number

WIDTH, HEIGHT = 1000, 400
"""The units of the paths; the page stretches them to the room it has."""
POINTS = 1000
"""More steps than this are drawn as the lowest and highest of each bucket, so that a spike never vanishes."""
ROWS = 25

Point = tuple[float, float | None]


@dataclass(frozen=True)
class Tick:
    """A number on an axis. `at` is its place from 0 to 1, from the left or from the top."""

    at: float
    label: str


@dataclass(frozen=True)
class Row:
    """One line of the table under the curve."""

    step: int
    loss: float | None
    smooth: float | None
    learning_rate: float | None


@dataclass(frozen=True)
class Curve:
    """The loss of a training run. `raw` and `smooth` are SVG path data in a box of WIDTH x HEIGHT."""

    raw: str
    smooth: str
    across: tuple[Tick, ...]
    up: tuple[Tick, ...]
    window: int
    rows: tuple[Row, ...]
    infinite: int


def draw_curve(
    step: Sequence[int], loss: Sequence[float | None], learning_rate: Sequence[float | None] = ()
) -> Curve | None:
    """Lay out a loss curve; None where no step has a finite loss.

    The smooth line is the centred mean over a tenth of the steps, at least one.
    """
    finite = [value for value in loss if value is not None]
    if not finite:
        return None
    # Odd, so that it has a middle.
    window = max(1, len(loss) // 10) | 1
    smooth = centred_mean(loss, window)
    axes = _Axes(step[0], step[-1], ticks(min(finite), max(finite)))
    return Curve(
        raw=_path(_thinned(list(zip(step, loss, strict=True))), axes),
        smooth=_path(_thinned(list(zip(step, smooth, strict=True))), axes),
        across=axes.across(),
        up=axes.up(),
        window=window,
        rows=tuple(_rows(step, loss, smooth, learning_rate)),
        infinite=len(loss) - len(finite),
    )


@dataclass(frozen=True)
class _Axes:
    """Where steps and losses lie, from 0 to 1: from the left and from the top."""

    first: int
    last: int
    values: list[float]
    """The round numbers on the upward axis, which spans them."""

    def left(self, step: float) -> float:
        return (step - self.first) / max(self.last - self.first, 1)

    def top(self, value: float) -> float:
        low, high = self.values[0], self.values[-1]
        return 1 - (value - low) / (high - low)

    def across(self) -> tuple[Tick, ...]:
        steps = [step for step in ticks(self.first, self.last, whole=True) if self.first <= step <= self.last]
        return tuple(Tick(self.left(step), f"{step:g}") for step in steps)

    def up(self) -> tuple[Tick, ...]:
        return tuple(Tick(self.top(value), _label(value, self.values)) for value in self.values)


def _rows(
    step: Sequence[int],
    loss: Sequence[float | None],
    smooth: Sequence[float | None],
    learning_rate: Sequence[float | None],
) -> Iterator[Row]:
    """Yield the lines of the table: the first, the last, and others at even distances."""
    places = {round(index * (len(step) - 1) / (ROWS - 1)) for index in range(ROWS)}
    for at in sorted(places):
        yield Row(step[at], loss[at], smooth[at], learning_rate[at] if at < len(learning_rate) else None)


def centred_mean(values: Sequence[float | None], window: int) -> list[float | None]:
    """Mean of the finite values in a window around each place; the window is cut at both ends."""
    # Sums up to each place: a mean is then one difference, however wide the window.
    half = window // 2
    sums, counts = [0.0], [0]
    for value in values:
        sums.append(sums[-1] + (value or 0.0))
        counts.append(counts[-1] + (value is not None))
    means: list[float | None] = []
    for at in range(len(values)):
        start, end = max(0, at - half), min(len(values), at + half + 1)
        finite = counts[end] - counts[start]
        means.append((sums[end] - sums[start]) / finite if finite else None)
    return means


def ticks(low: float, high: float, *, whole: bool = False) -> list[float]:
    """Return about six round numbers from at or under `low` to at or over `high`; at least two."""
    if high <= low:
        low, high = (low, low + 1) if whole or low == 0 else (low - abs(low) / 10, low + abs(low) / 10)
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    # 0.999 and 1e-9 below: floats of round numbers fall a little beside them.
    gap = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    if whole:
        gap = max(1.0, gap)
    start, end = math.floor(low / gap + 1e-9), math.ceil(high / gap - 1e-9)
    return [index * gap for index in range(start, max(end, start + 1) + 1)]


def _label(value: float, all_values: Sequence[float]) -> str:
    gap = all_values[1] - all_values[0]
    decimals = max(0, -math.floor(math.log10(gap) + 1e-9))
    return f"{value:.{decimals}f}" if decimals <= 4 else number(value)


def _thinned(points: list[Point]) -> list[Point]:
    if len(points) <= POINTS:
        return points
    size = math.ceil(len(points) / (POINTS // 2))
    kept: list[Point] = []
    for start in range(0, len(points), size):
        bucket = points[start : start + size]
        finite = [(at, value) for at, value in bucket if value is not None]
        if not finite:
            kept.append(bucket[0])
            continue
        extremes: set[Point] = {min(finite, key=lambda point: point[1]), max(finite, key=lambda point: point[1])}
        kept.extend(sorted(extremes, key=lambda point: point[0]))
    return kept


def _path(points: Sequence[Point], axes: _Axes) -> str:
    """A line through the finite points, broken where one is missing; a lone point is a short dash."""
    parts: list[str] = []
    pen_down = False
    for at, value in points:
        if value is None:
            pen_down = False
            continue
        parts.append(f"{'L' if pen_down else 'M'}{axes.left(at) * WIDTH:.1f} {axes.top(value) * HEIGHT:.1f}")
        if not pen_down:
            parts.append("h0.1")
        pen_down = True
    return "".join(parts)
