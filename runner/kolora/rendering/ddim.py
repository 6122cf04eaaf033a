"""DDIM as DiffSynth steps it: evenly spaced from the last training timestep down to 0, no offset.

diffusers spaces Kolors' timesteps otherwise ("leading", offset 1), so its pictures differ at equal seed.
Song et al., Denoising Diffusion Implicit Models, equation 12 with eta 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from kolora.configs import latent_shape
from kolora.models.schedule import NoiseSchedule


@dataclass(frozen=True)
class DDIMStep:
    """One step: the timestep, and x' = sample * x + noise * predicted noise."""

    timestep: int
    sample: float
    noise: float


def ddim_steps(schedule: NoiseSchedule, steps: int) -> Iterator[DDIMStep]:
    """Yield the steps from pure noise to the picture; coefficients in double precision."""
    last = schedule.steps - 1
    spacing = last / max(steps - 1, 1)
    timesteps = [round(last - index * spacing) for index in range(steps)]
    shares = schedule.alphas_cumprod.tolist()
    for timestep, following in zip(timesteps, [*timesteps[1:], None], strict=True):
        now, then = shares[timestep], 1.0 if following is None else shares[following]
        yield DDIMStep(
            timestep=timestep,
            sample=math.sqrt(then / now),
            noise=math.sqrt(1 - then) - math.sqrt(then * (1 - now) / now),
        )


def initial_noise(*, seed: int, height: int, width: int) -> torch.Tensor:
    """Draw a scene's noise (1, 4, height / 8, width / 8) on the CPU in float32: the same on every card."""
    shape = 1, *latent_shape(height, width)
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float32)
