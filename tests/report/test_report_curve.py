"""The loss curve's geometry."""

from __future__ import annotations

import re

import pytest
from kolora.report.curve import HEIGHT, POINTS, WIDTH, centred_mean, draw_curve, ticks


def points(path: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r"[ML]([\d.]+) ([\d.]+)", path)]


def test_curve_runs_from_edge_to_edge_and_higher_losses_stand_higher() -> None:
    curve = draw_curve([1, 2, 3], [1.0, 0.5, 0.0])
    assert curve is not None
    drawn = points(curve.raw)
    assert (drawn[0][0], drawn[-1][0]) == (0, WIDTH)
    assert drawn == sorted(drawn)
    assert [y for _, y in drawn] == [0, HEIGHT / 2, HEIGHT]
    assert [tick.label for tick in curve.up] == ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]


def test_curve_breaks_where_the_loss_is_no_number() -> None:
    curve = draw_curve([1, 2, 3, 4, 5], [1.0, 0.5, None, 0.4, 0.3])
    assert curve is not None
    assert curve.raw.count("M") == 2
    assert curve.infinite == 1
    assert [row.loss for row in curve.rows] == [1.0, 0.5, None, 0.4, 0.3]


@pytest.mark.parametrize("loss", [[], [None, None]])
def test_no_finite_loss_is_no_curve(loss: list[float | None]) -> None:
    assert draw_curve(range(len(loss)), loss) is None


@pytest.mark.parametrize("value", [0.0, 0.5, -3.0, 1e-12, 1e12])
def test_one_step_and_a_flat_line_are_curves_too(value: float) -> None:
    for steps in (1, 50):
        curve = draw_curve(range(1, steps + 1), [value] * steps)
        assert curve is not None
        assert len(points(curve.raw)) == steps
        assert all(0 <= y <= HEIGHT for _, y in points(curve.raw))


def test_long_curve_is_thinned_and_keeps_its_spike() -> None:
    loss = [0.5 + 0.1 * (step % 7) for step in range(20_000)]
    loss[12_345] = 10.0
    curve = draw_curve(range(20_000), loss)
    assert curve is not None
    drawn = points(curve.raw)
    assert len(drawn) <= POINTS
    assert min(y for _, y in drawn) == 0
    assert len(curve.rows) <= 25
    assert (curve.rows[0].step, curve.rows[-1].step) == (0, 19_999)


def test_mean_is_centred_and_leaves_out_what_is_missing() -> None:
    assert centred_mean([1.0, 2.0, 3.0, None, 5.0], 3) == [1.5, 2.0, 2.5, 4.0, 5.0]
    assert centred_mean([None, None, None, 1.0], 3) == [None, None, 1.0, 1.0]


@pytest.mark.parametrize(("low", "high"), [(0.013, 0.97), (3, 3.0001), (-5, 5), (1, 500), (0, 0), (7, 7)])
def test_ticks_enclose_what_they_measure(low: float, high: float) -> None:
    found = ticks(low, high)
    slack = 1e-9 * (found[1] - found[0])
    assert found[0] - slack <= low <= high <= found[-1] + slack
    assert 2 <= len(found) <= 9
    assert found == sorted(set(found))
