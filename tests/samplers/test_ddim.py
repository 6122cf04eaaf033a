"""DDIM steps as DiffSynth's scheduler does, to the bit as kolora always has, and finds what the noise hides."""

from __future__ import annotations

import pytest
import torch
from diffsynth.schedulers import EnhancedDDIMScheduler
from kolora.configs import KOLORS
from kolora.models.schedule import NoiseSchedule
from kolora.samplers.ddim import sample_ddim
from kolora.samplers.schedule import space_evenly

from tests.tensors import difference

SCHEDULE = NoiseSchedule.from_config(KOLORS["scheduler"])
ALPHAS = SCHEDULE.alphas_cumprod.tolist()


def randn(seed: int) -> torch.Tensor:
    return torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("count", [1, 2, 3, 25, 50, 1000])
def test_steps_are_diffsynths(count: int) -> None:
    theirs = EnhancedDDIMScheduler(beta_end=0.014, num_train_timesteps=1100)
    theirs.set_timesteps(count)
    asked: list[int] = []
    expected = randn(0)

    def model(latents: torch.Tensor, timestep: int) -> torch.Tensor:
        nonlocal expected
        assert difference(latents, expected) < 1e-5
        noise = randn(len(asked) + 1)
        expected = theirs.step(noise, theirs.timesteps[len(asked)], latents)
        asked.append(timestep)
        return noise

    drawn = sample_ddim(model, randn(0), space_evenly(ALPHAS, count), lambda *_: None)
    assert asked == theirs.timesteps.int().tolist()
    assert difference(drawn, expected) < 1e-5


@pytest.mark.parametrize("count", [1, 2, 25])
def test_whoever_predicts_the_noise_gets_the_picture_back(count: int) -> None:
    picture, noise = randn(1), randn(2)
    latents = SCHEDULE.add_noise(picture, noise, torch.tensor([1099]))
    drawn = sample_ddim(lambda *_: noise, latents, space_evenly(ALPHAS, count), lambda *_: None)
    assert difference(drawn, picture) < 1e-4


def test_latents_are_those_of_the_first_release() -> None:
    """Whoever changes this raises the render stage's VERSION: every picture would be another."""
    noise = torch.arange(1.0, 5.0)
    drawn = sample_ddim(lambda latents, _: 1 / latents, noise, space_evenly(ALPHAS, 3), lambda *_: None)
    assert drawn.tolist() == [-0.007432952523231506, 44.498512268066406, 78.13874053955078, 109.49327087402344]


def test_the_callback_has_every_step_and_may_stop() -> None:
    heard: list[int] = []

    def callback(done: int, latents: torch.Tensor) -> None:
        heard.append(done)
        assert latents.shape == (1, 4, 8, 8)
        if done == 2:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        sample_ddim(lambda latents, _: latents, randn(0), space_evenly(ALPHAS, 5), callback)
    assert heard == [1, 2]
