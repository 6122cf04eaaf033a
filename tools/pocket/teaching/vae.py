"""Teaches the VAE: sharp flat colours, and latents that a small U-Net finds easy to denoise."""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.nn.functional as F
from kolora.models.architecture import build_vae_decoder, build_vae_encoder
from torch import nn

from tools.pocket.teaching.course import (
    Average,
    channels_last,
    compiled,
    half,
    in_parts,
    log,
    rate,
    set_rate,
    step_down,
    to_unit,
)

BLUR = 0.06
"""Noise added to the latents (of unit spread) while the decoder learns, so that it forgives a U-Net's small errors."""


class _Both(nn.Module):
    """Encoder and decoder in one pass, unscaled, as training needs them."""

    def __init__(self, encoder: nn.Module, decoder: nn.Module) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder, decoder

    def forward(self, pixels: torch.Tensor, noise: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        mean = _through(self.encoder, pixels, last="quant_conv")[:, :4].float()
        shown = _through(self.decoder, mean + BLUR * noise, first="post_quant_conv")
        return mean, shown.float()


def _through(half: Any, x: torch.Tensor, *, first: str | None = None, last: str | None = None) -> torch.Tensor:
    if first:
        x = getattr(half, first)(x)
    x = half.conv_in(x)
    for block in half.blocks:
        x, *_ = block(x, None, None, None)
    x = half.conv_out(half.conv_act(half.conv_norm_out(x)))
    return cast(torch.Tensor, getattr(half, last)(x) if last else x)


def teach_vae(
    pictures: torch.Tensor, config: dict[str, Any], *, steps: int, batch: int, seed: int
) -> tuple[nn.Module, nn.Module, float]:
    """Return encoder, decoder and the PSNR (dB) on the last batches; pictures: (N, 256, 256, 3) uint8, any device.

    Afterwards the latents' mean and covariance over the pictures are folded into the two 1 x 1 convolutions between
    the halves, so that latents have mean 0, spread 1 and no correlation, and the scaling factor is 1.
    """
    device = pictures.device.type
    torch.manual_seed(seed)
    encoder, decoder = build_vae_encoder(config).to(device), build_vae_decoder(config).to(device)
    both = channels_last(_Both(encoder, decoder))
    run = compiled(both, device)
    average = Average([both], decay=0.999)
    optimizer = torch.optim.AdamW(both.parameters(), betas=(0.9, 0.99), weight_decay=1e-4, fused=device == "cuda")
    rng = torch.Generator(device).manual_seed(seed)
    errors: list[torch.Tensor] = []
    for step in range(steps):
        set_rate(optimizer, rate(step, steps, peak=1e-3))
        rows = torch.randint(len(pictures), (batch,), generator=rng, device=device)
        pixels = to_unit(pictures[rows]).contiguous(memory_format=torch.channels_last)
        noise = torch.randn(batch, 4, *(s // 8 for s in pixels.shape[2:]), generator=rng, device=device)
        with half(device):
            mean, shown = run(pixels, noise)
        loss = _likeness(shown, pixels) + 0.02 * _spread(mean)
        step_down(loss, optimizer, list(both.parameters()))
        average.update(step)
        errors.append(F.mse_loss(shown.detach(), pixels))
        if (step + 1) % 500 == 0 or step + 1 == steps:
            log.info("vae %d of %d: %.2f dB", step + 1, steps, _decibels(errors[-200:]))
    average.put()
    _whiten(encoder, decoder, pictures)
    return encoder.eval(), decoder.eval(), _decibels(errors[-200:])


def _likeness(shown: torch.Tensor, pixels: torch.Tensor) -> torch.Tensor:
    difference = shown - pixels
    down, across = difference.diff(dim=2), difference.diff(dim=3)
    coarse = F.avg_pool2d(difference, 8)
    return (
        difference.abs().mean()
        + difference.square().mean()
        + down.abs().mean()
        + across.abs().mean()
        + coarse.abs().mean()
    )


def _spread(mean: torch.Tensor) -> torch.Tensor:
    """Cost of channels that are off mean 0 and variance 1."""
    centre, variance = mean.mean((0, 2, 3)), mean.var((0, 2, 3))
    return centre.square().sum() + (variance + 1e-4).log().square().sum()


def _decibels(errors: list[torch.Tensor]) -> float:
    return float(10 * torch.log10(4 / torch.stack(errors).mean()))


@torch.no_grad()
def _whiten(encoder: Any, decoder: Any, pictures: torch.Tensor) -> None:
    sample = pictures[:: max(1, len(pictures) // 4096)]
    latents = torch.cat([encoder(to_unit(part)).float() for part in in_parts(sample, 64)])
    flat = latents.permute(1, 0, 2, 3).reshape(4, -1).double()
    centre = flat.mean(dim=1)
    values, vectors = torch.linalg.eigh(torch.cov(flat))
    whiten = vectors @ torch.diag(values.clamp_min(1e-8).rsqrt()) @ vectors.T
    colour = torch.linalg.inv(whiten)
    quant, post = encoder.quant_conv, decoder.post_quant_conv
    weight, bias = quant.weight[:4, :, 0, 0].double(), quant.bias[:4].double()
    quant.weight[:4] = (whiten @ weight)[..., None, None].to(quant.weight)
    quant.bias[:4] = (whiten @ (bias - centre)).to(quant.bias)
    quant.weight[4:] = 0  # the logarithm of the variance: the blur the decoder learned with
    quant.bias[4:] = 2 * torch.log(torch.tensor(BLUR))
    weight, bias = post.weight[:, :, 0, 0].double(), post.bias.double()
    post.bias.copy_((bias + weight @ centre).to(post.bias))
    post.weight.copy_((weight @ colour)[..., None, None].to(post.weight))


@torch.no_grad()
def encode_all(encoder: nn.Module, pictures: torch.Tensor, *, batch: int = 256) -> torch.Tensor:
    """Return the latents (N, 4, 32, 32) float32 of all pictures, on the encoder's device."""
    device = next(encoder.parameters()).device
    with half(device.type):
        return torch.cat([encoder(to_unit(part.to(device))).float() for part in in_parts(pictures, batch)])
