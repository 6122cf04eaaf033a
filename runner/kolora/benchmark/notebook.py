"""The notebook's way, on the same networks: what DiffSynth's training script and pipeline do at every step.

Training: the text encoder and the VAE at every step, one picture a step, peft's own forward under fp16 autocast, a
gradient scaler, activations computed twice. Rendering: two calls of one row a step, every kernel launched by itself,
the VAE in float32.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from peft import LoraConfig, inject_adapter_in_model
from torch import nn

from kolora.configs import latent_shape
from kolora.models.checkpoint import size_ids
from kolora.models.schedule import NoiseSchedule
from kolora.models.tokenizer import Tokenizer
from kolora.samplers.ddim import sample_ddim
from kolora.samplers.schedule import space_evenly

RANK, ALPHA, RATE, GUIDANCE = 16, 4.0, 1e-4, 4.0
PROJECTIONS = ("to_q", "to_k", "to_v", "to_out")


@dataclass(frozen=True)
class Texts:
    """The text encoder and its tokenizer, asked as the pipeline asks them."""

    encoder: nn.Module
    tokenizer: Tokenizer
    device: str

    @torch.no_grad()
    def __call__(self, text: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Give prompt_embeds (1, 256, D) and pooled_prompt_embeds (1, D)."""
        tokens = self.tokenizer([text])
        states = self.encoder(
            input_ids=tokens.input_ids.to(self.device),
            attention_mask=tokens.attention_mask.to(self.device),
            position_ids=tokens.position_ids.to(self.device),
            output_hidden_states=True,
        ).hidden_states
        return states[-2].transpose(0, 1).contiguous(), states[-1][-1]


def training_step(
    texts: Texts, unet: nn.Module, vae_encoder: nn.Module, schedule: NoiseSchedule, picture: torch.Tensor, text: str
) -> Callable[[], None]:
    """Give one training step; the U-Net gets peft's adapters. picture: pixels (1, 3, H, W) on the device."""
    device = picture.device
    inject_adapter_in_model(
        LoraConfig(r=RANK, lora_alpha=ALPHA, init_lora_weights="gaussian", target_modules=list(PROJECTIONS)), unet
    )
    unet.train()
    trained = [parameter for parameter in unet.parameters() if parameter.requires_grad]
    for parameter in trained:
        # A gradient scaler refuses gradients in float16.
        parameter.data = parameter.data.float()
    optimizer = torch.optim.AdamW(trained, lr=RATE)
    half = device.type == "cuda"
    scaler = cast(Any, torch.amp).GradScaler(device.type, enabled=half)
    height, width = picture.shape[-2:]

    def step() -> None:
        with _autocast(device):
            prompt_embeds, pooled_prompt_embeds = texts(text)
            with torch.no_grad():
                latents = vae_encoder(picture)
            noise = torch.randn_like(latents)
            timestep = torch.randint(0, schedule.num_train_timesteps, (1,))
            noisy = schedule.add_noise(latents, noise, timestep.to(device))
            predicted = unet(
                noisy,
                timestep.to(device, torch.float32),
                encoder_hidden_states=prompt_embeds,
                add_time_id=size_ids(height, width).to(device),
                add_text_embeds=pooled_prompt_embeds,
                use_gradient_checkpointing=True,
            )
            loss = F.mse_loss(predicted.float(), noise.float())
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()

    return step


@torch.no_grad()
def picture(
    texts: Texts,
    unet: nn.Module,
    vae_decoder: nn.Module,
    schedule: NoiseSchedule,
    *,
    prompts: tuple[str, str],
    size: int,
    steps: int,
) -> torch.Tensor:
    """Draw one picture; returns its pixels (1, 3, H, W) on the CPU. prompts: the prompt and the negative prompt."""
    device = texts.device
    dtype = next(unet.parameters()).dtype
    spoken = [texts(prompt) for prompt in prompts]
    latents = torch.randn(1, *latent_shape(size, size), device=device, dtype=dtype)
    ids = size_ids(size, size).to(device)

    def model(latents: torch.Tensor, timestep: int) -> torch.Tensor:
        # One call a row, as DiffSynth's pipeline does.
        wanted, unwanted = (
            unet(
                latents,
                torch.tensor([float(timestep)]).to(device),
                encoder_hidden_states=prompt_embeds,
                add_time_id=ids,
                add_text_embeds=pooled_prompt_embeds,
            )
            for prompt_embeds, pooled_prompt_embeds in spoken
        )
        return cast(torch.Tensor, unwanted + GUIDANCE * (wanted - unwanted))

    visited = space_evenly(schedule.alphas_cumprod.tolist(), steps)
    latents = sample_ddim(model, latents, visited, lambda *_: None)
    return cast(torch.Tensor, vae_decoder(latents.float()).cpu())


def _autocast(device: torch.device) -> AbstractContextManager[Any]:
    return torch.autocast("cuda", torch.float16) if device.type == "cuda" else nullcontext()
