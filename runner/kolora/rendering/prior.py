"""Pictures that the checkpoint draws of a whole class, to be shown while one thing of it is learnt."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load, save

from kolora.models.predictor import Predictor
from kolora.models.prompt_embeds import PromptEmbeds
from kolora.models.schedule import NoiseSchedule
from kolora.reads import discard
from kolora.rendering.denoise import denoise
from kolora.saved import SAVED, StateDamaged, read_saved, write_saved


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
    state_of: str = "",
    notice: Callable[[str], None] = lambda _message: None,
) -> torch.Tensor:
    """Draw ``count`` square pictures of one prompt; returns their latents (count, 4, side / 8, side / 8), float32.

    Each has a seed of its own, from ``seed`` on. state: keeps what is drawn, so that a run taken up draws the rest.
    state_of: the digest of the step whose state that is. notice: told of a saved picture that is damaged.
    """
    drawn: list[torch.Tensor] = []

    def inform(done: int, _: int) -> None:
        tick(len(drawn) * steps + done, count * steps)

    for number in range(count):
        path = state / f"{number:05d}{SAVED}"
        latents = _saved(path, of=state_of, notice=notice)
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
            write_saved(path, save({"latents": latents}), of=state_of)
        drawn.append(latents)
    return torch.cat(drawn)


def _saved(path: Path, *, of: str, notice: Callable[[str], None]) -> torch.Tensor | None:
    """Read latents drawn before; those that are not as they were saved are drawn again."""
    try:
        content = read_saved(path, of=of)
    except StateDamaged as problem:
        notice(f"one picture is drawn again: {problem.error}")
        discard(path)
        return None
    return None if content is None else load(content)["latents"]
