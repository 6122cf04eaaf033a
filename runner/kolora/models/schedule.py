"""The noise schedule: how much noise each of the training timesteps holds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from kolora.errors import InputAbsent


@dataclass(frozen=True)
class NoiseSchedule:
    """Cumulative signal shares of a scaled-linear schedule, epsilon prediction.

    alphas_cumprod: (T,) float32 on the CPU; x_t = sqrt(a_t) x_0 + sqrt(1 - a_t) noise.
    Kolors: beta 0.00085 to 0.014 over 1100 timesteps (scheduler/scheduler_config.json).
    """

    alphas_cumprod: torch.Tensor

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> NoiseSchedule:
        """Read a diffusers-style scheduler config; raises InputAbsent for a kind Kolors is not."""
        absent = {"beta_schedule", "beta_start", "beta_end", "num_train_timesteps"} - config.keys()
        if absent:
            raise InputAbsent(
                f"scheduler/scheduler_config.json lacks {', '.join(sorted(absent))}",
                hint="point model.checkpoint at a folder in the layout of Kwai-Kolors/Kolors",
            )
        kind = (config["beta_schedule"], config.get("prediction_type", "epsilon"))
        if kind != ("scaled_linear", "epsilon"):
            raise InputAbsent(
                f"the checkpoint's schedule is {kind[0]} with {kind[1]} prediction, kolora needs scaled_linear with "
                "epsilon",
                hint="point model.checkpoint at a folder in the layout of Kwai-Kolors/Kolors",
            )
        # diffusers' "scaled_linear": even steps of the betas' roots, and float32 for the same table as theirs.
        first, last = math.sqrt(config["beta_start"]), math.sqrt(config["beta_end"])
        betas = torch.linspace(first, last, config["num_train_timesteps"], dtype=torch.float32).square()
        return cls(torch.cumprod(1.0 - betas, dim=0))

    @property
    def num_train_timesteps(self) -> int:
        """Number of training timesteps."""
        return len(self.alphas_cumprod)

    def signal_to_noise(self, timesteps: torch.Tensor) -> torch.Tensor:
        """Give the ratio of signal to noise, in power, at timesteps (B,); float32."""
        shares = self.alphas_cumprod[timesteps]
        ratio: torch.Tensor = shares / (1 - shares)
        return ratio

    def add_noise(self, latents: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        """Mix noise into latents (B, C, h, w), each row at its own timestep (B,)."""
        # Equation 4 of DDPM (arXiv 2006.11239).
        shares = self.alphas_cumprod.to(latents.device)[timesteps][:, None, None, None]
        mixed: torch.Tensor = shares.sqrt() * latents + (1 - shares).sqrt() * noise
        return mixed.to(latents.dtype)
