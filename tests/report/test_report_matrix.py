"""The matrix of likeness as geometry."""

from __future__ import annotations

import pytest
from kolora.report.matrix import FULL, LABELLED, PALE, shade_matrix


def test_pairs_are_shaded_from_the_least_to_the_most_alike() -> None:
    shaded = shade_matrix([[100, 50, 70], [50, 100, 60], [70, 60, 100]])
    assert shaded is not None
    assert (shaded.count, shaded.low, shaded.high) == (3, 50, 70)
    shades = {(cell.x, cell.y): cell.shade for cell in shaded.cells}
    assert len(shades) == 6, "a scene and itself is no pair"
    assert shades[1, 0] == shades[0, 1] == PALE
    assert shades[2, 0] == FULL
    assert shades[2, 1] == pytest.approx((PALE + FULL) / 2)
    assert [cell.label for cell in shaded.cells[:2]] == ["50", "70"]
    assert [cell.is_light for cell in shaded.cells[:2]] == [False, True]


@pytest.mark.parametrize("matrix", [[], [[100.0]], [[100, None], [None, 100]]])
def test_without_a_pair_there_is_nothing_to_draw(matrix: list[list[float | None]]) -> None:
    assert shade_matrix(matrix) is None


def test_equal_pairs_are_all_pale_and_many_have_no_room_for_numbers() -> None:
    count = LABELLED + 1
    shaded = shade_matrix([[80.0] * count] * count)
    assert shaded is not None
    assert {(cell.shade, cell.label) for cell in shaded.cells} == {(PALE, "")}
