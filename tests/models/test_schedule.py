"""The noise schedule is DiffSynth's, row by row, and another kind of it is refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffsynth.schedulers import EnhancedDDIMScheduler
from kolora.configs import KOLORS
from kolora.errors import InputAbsent
from kolora.models.schedule import NoiseSchedule

from tests.tensors import difference

CONFIG = KOLORS["scheduler"]


def test_each_row_is_mixed_as_diffsynth_mixes_it() -> None:
    schedule = NoiseSchedule.from_config(CONFIG)
    theirs = EnhancedDDIMScheduler(beta_end=0.014, num_train_timesteps=1100)
    rng = torch.Generator().manual_seed(0)
    latents, noise = (torch.randn(4, 4, 8, 8, generator=rng) for _ in range(2))
    timesteps = torch.tensor([0, 1, 550, 1099])
    ours = schedule.add_noise(latents, noise, timesteps)
    for row, timestep in enumerate(timesteps):
        assert difference(ours[row], theirs.add_noise(latents[row], noise[row], timestep)) < 1e-6


def test_kolors_has_1100_steps_from_signal_to_noise() -> None:
    schedule = NoiseSchedule.from_config(CONFIG)
    assert schedule.num_train_timesteps == 1100
    assert schedule.alphas_cumprod.diff().lt(0).all()
    assert schedule.alphas_cumprod[0] > 0.999
    assert schedule.alphas_cumprod[-1] < 0.0015


def test_half_latents_stay_half() -> None:
    latents = torch.zeros(1, 4, 8, 8, dtype=torch.bfloat16)
    mixed = NoiseSchedule.from_config(CONFIG).add_noise(latents, torch.ones(1, 4, 8, 8), torch.tensor([3]))
    assert mixed.dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"prediction_type": "v_prediction"}, "scaled_linear with v_prediction prediction"),
        ({"beta_schedule": "linear"}, "linear with epsilon prediction"),
    ],
)
def test_another_kind_is_refused(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(InputAbsent, match=named):
        NoiseSchedule.from_config({**CONFIG, **changes})


@pytest.mark.parametrize("key", ["beta_schedule", "beta_start", "beta_end", "num_train_timesteps"])
def test_an_absent_key_is_named(key: str) -> None:
    with pytest.raises(InputAbsent, match=f"lacks {key}$"):
        NoiseSchedule.from_config({name: value for name, value in CONFIG.items() if name != key})
