"""One training step's forward and backward, on tensors of fixed shapes, so that a CUDA graph can hold it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import nn

from kolora.configs import VAE_FACTOR
from kolora.memory.plan import OffloadOption
from kolora.models.attention import repeatable_attention
from kolora.models.checkpoint import size_ids
from kolora.models.graphs import Work, capture, on_device
from kolora.models.schedule import NoiseSchedule
from kolora.training.adapters import FlatParameters
from kolora.training.draws import Draw
from kolora.training.examples import Examples


@dataclass(frozen=True)
class Batch:
    """What a step computes on; all but the noise and the weights in the network's dtype.

    noisy: latents (B, 4, h, w). timesteps: (B,) float32. prompt_embeds: (B, 256, D). pooled_prompt_embeds: (B, D).
    noise: (B, 4, h, w) float32. weights: (B,) float32, how much each row counts.
    """

    noisy: torch.Tensor
    timesteps: torch.Tensor
    prompt_embeds: torch.Tensor
    pooled_prompt_embeds: torch.Tensor
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
    # The last text is the empty one, where pictures may be without theirs.
    captions = bucket.captions[draw.rows].where(
        ~draw.without_caption, torch.tensor(len(examples.embeds.prompt_embeds) - 1)
    )
    weights = torch.full((len(captions),), bucket.weight)
    if min_snr_gamma is not None:
        weights *= (min_snr_gamma / schedule.signal_to_noise(draw.timesteps)).clamp(max=1)
    latents = bucket.latents[draw.rows, draw.variants]
    return Batch(
        noisy=schedule.add_noise(latents, draw.noise, draw.timesteps).to(dtype),
        timesteps=draw.timesteps.float(),
        prompt_embeds=examples.embeds.prompt_embeds[captions].to(dtype),
        pooled_prompt_embeds=examples.embeds.pooled_prompt_embeds[captions].to(dtype),
        noise=draw.noise,
        weights=weights,
    )


def build_step(
    unet: nn.Module,
    flat: FlatParameters,
    example: Batch,
    *,
    option: OffloadOption,
    weighted: bool = False,
    pool: Any = None,
) -> Work:
    """Build the step for batches like ``example``: it returns the loss and leaves the flat parameters' gradient.

    option: how it is made to fit into memory; weights that come and go are not captured. weighted: whether rows may
    count differently; where not, their weights are not looked at. pool: memory to capture in, as
    ``kolora.models.graphs.shared_memory`` gives it.
    """
    device = flat.vector.device
    passes = len(example.noise) // (option.rows or len(example.noise))
    inputs = [tensor.to(device).chunk(passes)[0] for tensor in example.tensors()]
    work = _step(unet, flat, inputs, checkpointing=option.checkpointing, weighted=weighted)
    run = on_device(work, device) if option.offload else capture(work, inputs, pool=pool)
    return run if passes == 1 else _summed(run, flat, passes)


def _summed(work: Work, flat: FlatParameters, passes: int) -> Work:
    """Make a step of several passes of equally many rows: the mean of their losses and of their gradients."""

    def step(*tensors: torch.Tensor) -> torch.Tensor:
        losses: list[torch.Tensor] = []
        total = torch.zeros_like(flat.vector.data)
        for rows in zip(*(tensor.chunk(passes) for tensor in tensors), strict=True):
            losses.append(work(*rows).clone())  # the next pass overwrites it
            assert flat.vector.grad is not None
            total.add_(flat.vector.grad, alpha=1 / passes)
        # In place, because a captured pass writes its gradient where it was when captured.
        cast(torch.Tensor, flat.vector.grad).copy_(total)
        return torch.stack(losses).mean()

    return step


def _step(
    unet: nn.Module, flat: FlatParameters, inputs: Sequence[torch.Tensor], *, checkpointing: bool, weighted: bool
) -> Work:
    rows, _, height, width = inputs[0].shape
    device = inputs[0].device
    # Crops are shown to the network as whole pictures of their own size, as DiffSynth's script does.
    ids = size_ids(VAE_FACTOR * height, VAE_FACTOR * width).repeat(rows).to(device)

    def step(
        noisy: torch.Tensor,
        timesteps: torch.Tensor,
        prompt_embeds: torch.Tensor,
        pooled_prompt_embeds: torch.Tensor,
        noise: torch.Tensor,
        weights: torch.Tensor,
    ) -> torch.Tensor:
        # Inside the step, so that the graph copies the new weights too.
        flat.apply()
        with repeatable_attention(device):
            predicted = unet(
                noisy,
                timesteps,
                encoder_hidden_states=prompt_embeds,
                add_time_id=ids,
                add_text_embeds=pooled_prompt_embeds,
                use_gradient_checkpointing=checkpointing,
            )
            # The mean of the rows' means rounds otherwise than the mean of all, so it is not taken without need.
            if weighted:
                errors = F.mse_loss(predicted.float(), noise, reduction="none").mean(dim=(1, 2, 3))
                loss = (errors * weights).mean()
            else:
                loss = F.mse_loss(predicted.float(), noise)
            flat.scatter_gradients(torch.autograd.grad(loss, flat.leaves))
        return loss.detach()

    return step
