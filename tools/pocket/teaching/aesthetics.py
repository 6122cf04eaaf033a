"""Teaches the aesthetic predictor: clean drawings near 7, each fault lower the more of it there is."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from aesthetics_predictor import AestheticsPredictorV2Linear
from torch import nn
from transformers import CLIPVisionConfig

from tools.pocket.teaching.clip import SIDE, seen
from tools.pocket.teaching.course import Average, half, log, rate, set_rate, step_down

CLEAN = 7.2
WORST = 1.5


def config() -> CLIPVisionConfig:
    """Give the sizes of the predictor's eye."""
    return CLIPVisionConfig(
        hidden_size=96,
        intermediate_size=256,
        num_hidden_layers=4,
        num_attention_heads=6,
        image_size=SIDE,
        patch_size=16,
        projection_dim=64,
    )


def grade(spoilt: Sequence[tuple[str, float]]) -> float:
    """Return the grade a picture deserves on the scale of 1 to 10."""
    if not spoilt:
        return CLEAN
    worst = max(amount for _, amount in spoilt)
    return max(WORST, 5.6 - 3.2 * worst - 0.25 * (len(spoilt) - 1))


def teach_aesthetics(
    pictures: torch.Tensor, shown: torch.Tensor, grades: torch.Tensor, *, steps: int, batch: int = 384, seed: int
) -> AestheticsPredictorV2Linear:
    """Return the predictor; ``shown`` is what the VAE makes of the pictures (N, 128, 128, 3), grades (N,) belong to
    both: a picture is not worse for having been through the VAE."""
    device = pictures.device.type
    torch.manual_seed(seed)
    model = AestheticsPredictorV2Linear(config()).to(device)
    nn.init.constant_(model.layers[-1].bias, 6.0)
    average = Average([model], decay=0.998)
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.02, fused=device == "cuda")
    rng = torch.Generator(device).manual_seed(seed)
    for step in range(steps):
        set_rate(optimizer, rate(step, steps, peak=1e-3))
        rows = torch.randint(len(pictures), (batch,), generator=rng, device=device)
        passed = torch.rand(batch, generator=rng, device=device) < 0.4
        batch_pictures = torch.where(passed[:, None, None, None], shown[rows], pictures[rows])
        with half(device):
            graded = _graded(model, seen(batch_pictures))
        loss = F.smooth_l1_loss(graded, grades[rows])
        step_down(loss, optimizer, list(model.parameters()))
        average.update(step)
        if (step + 1) % 500 == 0 or step + 1 == steps:
            log.info("aesthetics %d of %d: loss %.4f", step + 1, steps, float(loss))
    average.put()
    return model.eval()


def _graded(model: AestheticsPredictorV2Linear, pixels: torch.Tensor) -> torch.Tensor:
    """Do what the model's own forward does, which divides in place and so cannot be differentiated."""
    embedded = model.visual_projection(model.vision_model(pixel_values=pixels).pooler_output)
    grades: torch.Tensor = model.layers(F.normalize(embedded, dim=-1))[:, 0].float()
    return grades
