"""DDIM, Song et al. 2021, as DiffSynth steps it: from 1099 down to 0, evenly spaced, no offset.

diffusers spaces Kolors' timesteps otherwise ("leading", offset 1: 50 steps begin at 1079 and end at 1), so its pictures
differ at equal seed; from our latents at our timesteps it draws ours to within one grey level.
"""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from kolora.samplers.schedule import Callback, Model, SamplingSchedule


def sample_ddim(model: Model, latents: torch.Tensor, schedule: SamplingSchedule, callback: Callback) -> torch.Tensor:
    """Denoise by equation 12 with eta 0. latents: (B, 4, h, w)."""
    for done, (timestep, alpha, alpha_next) in enumerate(schedule.steps(), 1):
        noise = model(latents, timestep)
        # sqrt(alpha_next) * predicted picture + sqrt(1 - alpha_next) * noise, with the predicted picture
        # (latents - sqrt(1 - alpha) * noise) / sqrt(alpha) multiplied out: the coefficients stay in double precision.
        latents_scale = sqrt(alpha_next / alpha)
        noise_scale = sqrt(1 - alpha_next) - sqrt(alpha_next * (1 - alpha) / alpha)
        latents = latents_scale * latents + noise_scale * noise
        callback(done, latents)
    return latents
