"""A small network that reads attributes off a picture, to judge what pocket draws."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn

from tools.pocket.attributes import CLASSES

SIDE = 128
WIDTHS = (32, 56, 88, 120)


class Probe(nn.Module):
    """Pixels (B, 3, 256, 256) in -1..1 -> all attributes' scores (B, sum of classes), in the order of CLASSES."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = 3
        for wide in WIDTHS:
            layers += [nn.Conv2d(width, wide, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(wide), nn.SiLU()]
            layers += [nn.Conv2d(wide, wide, 3, padding=1, bias=False), nn.BatchNorm2d(wide), nn.SiLU()]
            width = wide
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(2 * width, sum(len(classes) for classes in CLASSES.values()))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        small = F.interpolate(pixels, size=(SIDE, SIDE), mode="area")
        seen = self.body(small)
        return cast(torch.Tensor, self.head(torch.cat([seen.mean((2, 3)), seen.amax((2, 3))], dim=1)))


def by_attribute(scores: torch.Tensor) -> dict[str, torch.Tensor]:
    """Split the scores (B, all) by attribute: (B, classes) each."""
    parts = torch.split(scores, [len(classes) for classes in CLASSES.values()], dim=1)
    return dict(zip(CLASSES, parts, strict=True))


@torch.inference_mode()
def read(probe: nn.Module, pictures: Sequence[Image.Image]) -> list[dict[str, int]]:
    """Return the class the probe reads for every attribute of every picture; ``degraded`` is 0 or 1."""
    best = {name: shares.argmax(dim=1).tolist() for name, shares in chances(probe, pictures).items()}
    return [dict(zip(best, row, strict=True)) for row in zip(*best.values(), strict=True)]


@torch.inference_mode()
def chances(probe: nn.Module, pictures: Sequence[Image.Image]) -> dict[str, torch.Tensor]:
    """Return how likely the probe holds each class of every attribute to be: (pictures, classes), rows sum to 1."""
    device = next(probe.parameters()).device
    found = []
    for start in range(0, len(pictures), 64):
        levels = np.stack([np.asarray(p.convert("RGB"), dtype=np.float32) for p in pictures[start : start + 64]])
        found.append(probe(torch.from_numpy(levels / 127.5 - 1.0).permute(0, 3, 1, 2).to(device)))
    return {name: scores.softmax(dim=1) for name, scores in by_attribute(torch.cat(found)).items()}


def save_probe(probe: nn.Module, path: Path) -> None:
    """Write the probe in half precision."""
    tensors = {
        name: t.detach().cpu().half() if t.is_floating_point() else t.cpu() for name, t in probe.state_dict().items()
    }
    save_file({name: t.contiguous() for name, t in tensors.items()}, path)


def load_probe(path: Path, *, device: str = "cpu") -> nn.Module:
    """Read what ``save_probe`` wrote, ready to judge, in float32."""
    probe = Probe()
    wanted = probe.state_dict()
    probe.load_state_dict({name: t.to(wanted[name].dtype) for name, t in load_file(path).items()})
    return probe.to(device).eval().requires_grad_(False)
