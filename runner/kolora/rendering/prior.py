"""Pictures that the checkpoint draws of a whole class, to be shown while one thing of it is learnt."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from kolora.files import write_bytes
from kolora.models.predictor import Predictor
from kolora.models.prompt_embeds import PromptEmbeds
from kolora.models.schedule import NoiseSchedule
from kolora.rendering.denoise import denoise


def draw_prior(
    predictor: Predictor,
    schedule: NoiseSchedule,
    embeds: PromptEmbeds,
    *,
    count: int,
    seed: int,
    side: int,
    steps: int,
    guidance_scale: float,
    sampler: str,
    state: Path,
    tick: Callable[[int, int], None],
) -> torch.Tensor:
    """Draw ``count`` square pictures of one prompt; returns their latents (count, 4, side / 8, side / 8), float32.

    Each has a seed of its own, from ``seed`` on. state: keeps what is drawn, so that a run taken up draws the rest.
    """
    drawn: list[torch.Tensor] = []

    def inform(done: int, _: int) -> None:
        tick(len(drawn) * steps + done, count * steps)

    for number in range(count):
        path = state / f"{number:05d}.safetensors"
        latents = _kept(path)
        if latents is None:
            latents = denoise(
                predictor,
                schedule,
                embeds,
                # torch's CPU generator reads 32 bits of a seed.
                seed=(seed + number) % 2**32,
                height=side,
                width=side,
                steps=steps,
                guidance_scale=guidance_scale,
                tick=inform,
                sampler=sampler,
            ).cpu()
            # One file a picture: a run that is cut short loses the picture it was at.
            write_bytes(path, save({"latents": latents}))
        drawn.append(latents)
    return torch.cat(drawn)


def _kept(path: Path) -> torch.Tensor | None:
    """Read latents drawn before; a torn file counts as none."""
    try:
        latents: torch.Tensor = load_file(path)["latents"]
    except (FileNotFoundError, SafetensorError):
        return None
    return latents
