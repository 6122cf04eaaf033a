"""Timesteps run from the last one trained down to 0, evenly, and end in no noise at all."""

from __future__ import annotations

from itertools import pairwise

import pytest
from kolora.configs import KOLORS
from kolora.models.schedule import NoiseSchedule
from kolora.samplers.schedule import space_evenly

ALPHAS = NoiseSchedule.from_config(KOLORS["scheduler"]).alphas_cumprod.tolist()


@pytest.mark.parametrize("steps", [2, 3, 25, 50, 1000])
def test_both_ends_are_visited_and_the_gaps_are_even(steps: int) -> None:
    timesteps = space_evenly(ALPHAS, steps).timesteps
    assert (len(timesteps), timesteps[0], timesteps[-1]) == (steps, 1099, 0)
    gaps = {before - after for before, after in pairwise(timesteps)}
    assert max(gaps) - min(gaps) <= 1


def test_known_timesteps() -> None:
    assert space_evenly(ALPHAS, 1).timesteps == (1099,)
    assert space_evenly(ALPHAS, 5).timesteps == (1099, 824, 550, 275, 0)
    assert space_evenly(ALPHAS, 50).timesteps[:3] == (1099, 1077, 1054)


def test_each_step_has_the_alphas_on_both_sides_and_the_last_ends_in_the_picture() -> None:
    first, second = space_evenly(ALPHAS, 2).steps()
    assert first == (1099, ALPHAS[1099], ALPHAS[0])
    assert second == (0, ALPHAS[0], 1.0)
