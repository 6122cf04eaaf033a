"""One training step's forward and backward, on tensors of fixed shapes, so that a CUDA graph can hold it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import nn

from runner.models.attention import repeatable_attention
from runner.models.graphs import Work, captured
from runner.models.parts import size_ids
from runner.models.schedule import NoiseSchedule
from runner.training.adapters import Master
from runner.training.draws import Draw
from runner.training.examples import Examples

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Batch:
    """What a step computes on: noisy latents (B, 4, h, w), timesteps (B,) float32, hidden (B, 256, D), pooled (B, D),
    noise (B, 4, h, w) float32 and how much each row counts (B,) float32; the rest in the network's dtype."""

    noisy: torch.Tensor
    timesteps: torch.Tensor
    hidden: torch.Tensor
    pooled: torch.Tensor
    noise: torch.Tensor
    weights: torch.Tensor

    def tensors(self) -> tuple[torch.Tensor, ...]:
        """Give the tensors in the order of the fields."""
        return tuple(getattr(self, field.name) for field in fields(self))

    def pinned(self) -> Batch:
        """Give the batch in memory that a GPU can fetch from by itself, so that the copy waits for nothing."""
        return Batch(*(tensor.pin_memory() for tensor in self.tensors()))


def mix(
    draw: Draw,
    examples: Examples,
    schedule: NoiseSchedule,
    *,
    dtype: torch.dtype,
    min_snr_gamma: float | None = None,
) -> Batch:
    """Mix a step's batch on the CPU in float32, the same for every card.

    min_snr_gamma: rows with more signal than this count less, as Hang et al. (2023) have it for a network that
    predicts the noise: min(gamma / SNR, 1).
    """
    bucket = examples.buckets[draw.bucket]
    captions = bucket.captions[draw.rows].where(~draw.untold, torch.tensor(len(examples.conditioning.hidden) - 1))
    weights = torch.full((len(captions),), bucket.weight)
    if min_snr_gamma is not None:
        weights *= (min_snr_gamma / schedule.signal_to_noise(draw.timesteps)).clamp(max=1)
    latents = bucket.latents[draw.rows, draw.variants]
    return Batch(
        noisy=schedule.add_noise(latents, draw.noise, draw.timesteps).to(dtype),
        timesteps=draw.timesteps.float(),
        hidden=examples.conditioning.hidden[captions].to(dtype),
        pooled=examples.conditioning.pooled[captions].to(dtype),
        noise=draw.noise,
        weights=weights,
    )


def ready_step(
    unet: nn.Module,
    master: Master,
    example: Batch,
    *,
    checkpointing: Literal["auto"] | bool,
    weighted: bool = False,
    pool: Any = None,
) -> Work:
    """Make the step for batches like ``example``: it returns the loss and leaves the master's gradient.

    checkpointing: whether activations are computed twice; "auto" does so when the step does not fit into memory.
    weighted: whether rows may count differently; where not, their weights are not looked at. pool: memory to record in,
    as ``runner.models.graphs.shared_memory`` gives it.
    """
    device = master.vector.device
    inputs = [tensor.to(device) for tensor in example.tensors()]
    if checkpointing == "auto":
        try:
            return captured(_step(unet, master, inputs, checkpointing=False, weighted=weighted), inputs, pool=pool)
        except torch.cuda.OutOfMemoryError:
            pass  # retried below, where the failed attempt's tensors are no longer held by the exception
        log.warning("the step does not fit into memory: activations are computed twice, which takes longer")
        torch.cuda.empty_cache()
    step = _step(unet, master, inputs, checkpointing=checkpointing is not False, weighted=weighted)
    return captured(step, inputs, pool=pool)


def _step(
    unet: nn.Module, master: Master, inputs: Sequence[torch.Tensor], *, checkpointing: bool, weighted: bool
) -> Work:
    rows, _, height, width = inputs[0].shape
    device = inputs[0].device
    ids = size_ids(8 * height, 8 * width).repeat(rows).to(device)

    def step(
        noisy: torch.Tensor,
        timesteps: torch.Tensor,
        hidden: torch.Tensor,
        pooled: torch.Tensor,
        noise: torch.Tensor,
        weights: torch.Tensor,
    ) -> torch.Tensor:
        master.wear()
        with repeatable_attention(device):
            predicted = unet(
                noisy,
                timesteps,
                encoder_hidden_states=hidden,
                add_time_id=ids,
                add_text_embeds=pooled,
                use_gradient_checkpointing=checkpointing,
            )
            if weighted:
                errors = F.mse_loss(predicted.float(), noise, reduction="none").mean(dim=(1, 2, 3))
                loss = (errors * weights).mean()
            else:
                loss = F.mse_loss(predicted.float(), noise)
            master.take(torch.autograd.grad(loss, master.leaves))
        return loss.detach()

    return step
