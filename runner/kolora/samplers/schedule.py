"""The timesteps that a sampler visits, with the signal that is left at each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

Model = Callable[["torch.Tensor", int], "torch.Tensor"]
"""``model(latents (B, 4, h, w), timestep)`` gives the noise in them, guidance applied."""

Callback = Callable[[int, "torch.Tensor"], None]
"""``callback(done, latents)`` is called after every step, ``done`` from 1; it may raise to stop."""


@dataclass(frozen=True)
class SamplingSchedule:
    """From pure noise to the picture.

    timesteps: (N,), falling. alphas: (N + 1,) cumulative products of 1 - beta in double precision, the signal's share
    of the power at each timestep and, 1.0, in the picture.
    """

    timesteps: tuple[int, ...]
    alphas: tuple[float, ...]

    def steps(self) -> Iterator[tuple[int, float, float]]:
        """Yield each timestep with the alphas before and after its step."""
        for timestep, (alpha, alpha_next) in zip(self.timesteps, pairwise(self.alphas), strict=True):
            yield timestep, alpha, alpha_next


Sample = Callable[[Model, "torch.Tensor", SamplingSchedule, Callback], "torch.Tensor"]
"""``sample(model, latents, schedule, callback)`` turns noise into latents; both (B, 4, h, w) float32."""


def space_evenly(alphas_cumprod: Sequence[float], steps: int) -> SamplingSchedule:
    """Space timesteps evenly from the last training timestep down to 0, both ends visited, as DiffSynth does.

    alphas_cumprod: of the training timesteps. Kolors with 50 steps: 1099, 1077, 1054 ... 22, 0.
    """
    last = len(alphas_cumprod) - 1
    spacing = last / max(steps - 1, 1)
    timesteps = tuple(round(last - index * spacing) for index in range(steps))
    return SamplingSchedule(timesteps, (*(alphas_cumprod[timestep] for timestep in timesteps), 1.0))
