"""Denoises one scene: the guided pair as one batch of two rows, latents kept in float32 between steps."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from kolora.configs import latent_shape
from kolora.errors import StoryInvalid
from kolora.models.checkpoint import size_ids
from kolora.models.predictor import Predictor
from kolora.models.prompt_embeds import PromptEmbeds
from kolora.models.schedule import NoiseSchedule
from kolora.samplers import SAMPLERS
from kolora.samplers.schedule import space_evenly


@torch.inference_mode()
def denoise(
    unet: nn.Module | Predictor,
    schedule: NoiseSchedule,
    embeds: PromptEmbeds,
    *,
    seed: int,
    height: int,
    width: int,
    steps: int,
    guidance_scale: float,
    tick: Callable[[int, int], None],
    sampler: str = "ddim",
) -> torch.Tensor:
    """Turn noise into latents (1, 4, height / 8, width / 8), float32, scaled as the VAE wants them.

    unet: a U-Net, or a predictor that keeps what scenes of one shape have in common. embeds: two rows, the
    prompt's and the negative prompt's, on the U-Net's device and in its dtype. At guidance_scale 1 the negative prompt
    has no say and is not computed. sampler: a name in SAMPLERS.
    Raises StoryInvalid where the latents are NaN or infinite.
    """
    predictor = unet if isinstance(unet, Predictor) else Predictor(unet)
    # Two rows at once: eager, one row costs the U-Net as much as two (60 ms on an H200, 2026-11).
    rows = 1 if guidance_scale == 1.0 else 2
    embeds = embeds.rows(slice(rows))
    latents = initial_noise(seed=seed, height=height, width=width).to(embeds.prompt_embeds.device)
    predict = predictor.prepare(embeds, latents, size_ids(height, width).repeat(rows))

    def model(latents: torch.Tensor, timestep: int) -> torch.Tensor:
        predicted = predict(latents, timestep)
        if rows == 1:
            return predicted
        # Classifier-free guidance (arXiv 2207.12598); row 0 is the prompt's, row 1 the negative prompt's.
        return predicted[1:] + guidance_scale * (predicted[:1] - predicted[1:])

    visited = space_evenly(schedule.alphas_cumprod.tolist(), steps)
    latents = SAMPLERS[sampler].sample(model, latents, visited, lambda done, _: tick(done, steps))
    # Once, at the end: NaN spreads through every later step, and a look at each would wait for the GPU.
    if not latents.isfinite().all():
        dtype = str(embeds.prompt_embeds.dtype).removeprefix("torch.")
        lower = "set model.dtype to bfloat16" if dtype == "float16" else "lower render.lora_scale"
        raise StoryInvalid(
            f"the picture of seed {seed} overflowed in {dtype}: its latents are NaN or infinite", hint=lower
        )
    return latents


def initial_noise(*, seed: int, height: int, width: int) -> torch.Tensor:
    """Draw a scene's noise (1, 4, height / 8, width / 8) on the CPU in float32: the same on every card."""
    shape = 1, *latent_shape(height, width)
    # In half precision randn is another stream, and on a GPU it depends on the card's size.
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float32)
