"""Teaches the probe on drawn pictures, as they are and as the VAE shows them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from tools.pocket.attributes import CLASSES, UNKNOWN
from tools.pocket.probe import Probe, by_attribute
from tools.pocket.teaching.course import (
    Average,
    channels_last,
    half,
    in_parts,
    log,
    rate,
    set_rate,
    step_down,
    to_unit,
)


def teach_probe(
    pictures: torch.Tensor, shown: torch.Tensor, truth: torch.Tensor, *, steps: int, batch: int = 256, seed: int
) -> nn.Module:
    """Return a probe that reads ``truth`` (N, attributes) off pictures and off what the VAE makes of them.

    pictures, shown: (N, 256, 256, 3) uint8 on one device.
    """
    device = pictures.device.type
    torch.manual_seed(seed)
    probe = channels_last(Probe().to(device))
    average = Average([probe], decay=0.998)
    optimizer = torch.optim.AdamW(probe.parameters(), weight_decay=0.02, fused=device == "cuda")
    rng = torch.Generator(device).manual_seed(seed)
    for step in range(steps):
        set_rate(optimizer, rate(step, steps, peak=3e-3))
        rows = torch.randint(len(pictures), (batch,), generator=rng, device=device)
        passed = torch.rand(batch, generator=rng, device=device) < 0.4
        pixels = to_unit(torch.where(passed[:, None, None, None], shown[rows], pictures[rows]))
        pixels = _jolted(pixels, rng)
        with half(device):
            scores = probe(pixels.contiguous(memory_format=torch.channels_last)).float()
        loss = _loss(scores, truth[rows])
        step_down(loss, optimizer, list(probe.parameters()))
        average.update(step)
        if (step + 1) % 500 == 0 or step + 1 == steps:
            log.info("probe %d of %d: loss %.4f", step + 1, steps, float(loss))
    average.put()
    probe.eval()
    return probe


def _jolted(pixels: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """Shift the pictures a little, so that nothing is read off exact places; all of a batch alike."""
    dx, dy = (int(v) for v in torch.randint(-6, 7, (2,), generator=rng, device=pixels.device))
    return torch.roll(pixels, (dy, dx), dims=(2, 3))


def _loss(scores: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    losses = [
        F.cross_entropy(part, truth[:, column], ignore_index=UNKNOWN, label_smoothing=0.03, reduction="sum")
        / (truth[:, column] != UNKNOWN).sum().clamp_min(1)
        for column, part in enumerate(by_attribute(scores).values())
    ]
    return torch.stack(losses).sum()


@torch.inference_mode()
def right_shares(probe: nn.Module, pictures: torch.Tensor, truth: torch.Tensor) -> dict[str, float]:
    """Return for every attribute the share of pictures (N, 256, 256, 3) whose class the probe reads right."""
    device = next(probe.parameters()).device
    scores = torch.cat([probe(to_unit(part.to(device))) for part in in_parts(pictures, 256)])
    right = {}
    for column, name in enumerate(CLASSES):
        known = truth[:, column] != UNKNOWN
        hit = by_attribute(scores)[name].argmax(dim=1) == truth[:, column]
        right[name] = float(hit[known].float().mean())
    return right
