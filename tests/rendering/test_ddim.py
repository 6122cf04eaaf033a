"""The steps are those of DiffSynth's scheduler, and the noise is the same wherever it is drawn."""

from __future__ import annotations

import pytest
import torch
from diffsynth.schedulers import EnhancedDDIMScheduler
from kolora.models.layout import KOLORS
from kolora.models.schedule import NoiseSchedule
from kolora.rendering.ddim import ddim_steps, initial_noise

from tests.tensors import difference

SCHEDULE = NoiseSchedule.from_config(KOLORS["scheduler"])


@pytest.mark.parametrize("count", [1, 2, 3, 25, 50, 1000])
def test_steps_are_diffsynths(count: int) -> None:
    theirs = EnhancedDDIMScheduler(beta_end=0.014, num_train_timesteps=1100)
    theirs.set_timesteps(count)
    steps = list(ddim_steps(SCHEDULE, count))
    assert [step.timestep for step in steps] == theirs.timesteps.int().tolist()
    chance = torch.Generator().manual_seed(0)
    sample, noise = (torch.randn(1, 4, 8, 8, generator=chance) for _ in range(2))
    for step, timestep in zip(steps, theirs.timesteps, strict=True):
        assert difference(step.sample * sample + step.noise * noise, theirs.step(noise, timestep, sample)) < 1e-6


@pytest.mark.parametrize("count", [1, 2, 25])
def test_whoever_predicts_the_noise_gets_the_picture_back(count: int) -> None:
    picture, noise = initial_noise(seed=1, height=64, width=64), initial_noise(seed=2, height=64, width=64)
    latents = SCHEDULE.add_noise(picture, noise, torch.tensor([1099]))
    for step in ddim_steps(SCHEDULE, count):
        latents = step.sample * latents + step.noise * noise
    assert difference(latents, picture) < 1e-4


def test_noise_depends_on_the_seed_alone() -> None:
    torch.manual_seed(1)
    first = initial_noise(seed=5, height=64, width=128)
    torch.manual_seed(2)
    assert torch.equal(initial_noise(seed=5, height=64, width=128), first)
    assert not torch.equal(initial_noise(seed=6, height=64, width=128), first)
    assert (first.shape, first.dtype, first.device.type) == ((1, 4, 8, 16), torch.float32, "cpu")


def test_noise_is_that_of_the_first_release() -> None:
    """Whoever changes this raises the render stage's VERSION: every picture would be another."""
    first = initial_noise(seed=0, height=64, width=64).flatten()[:4]
    torch.testing.assert_close(first, torch.tensor([-1.125840, -1.152360, -0.250579, -0.433879]))
