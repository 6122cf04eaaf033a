"""What the U-Net hears of texts, in memory and on disk."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save


@dataclass(frozen=True)
class Conditioning:
    """What the U-Net hears of texts: hidden (B, 256, D), pooled (B, D)."""

    hidden: torch.Tensor
    pooled: torch.Tensor

    def tensors(self) -> dict[str, torch.Tensor]:
        """Give both as named tensors on the CPU, for a safetensors file."""
        return {"hidden": self.hidden.cpu().contiguous(), "pooled": self.pooled.cpu().contiguous()}


def write_conditioning(path: Path, conditioning: Conditioning) -> None:
    """Write a conditioning as safetensors."""
    path.write_bytes(save(conditioning.tensors()))


def read_conditioning(path: Path, *, device: str = "cpu") -> Conditioning:
    """Read what ``write_conditioning`` wrote."""
    tensors = load_file(path, device=device)
    return Conditioning(tensors["hidden"], tensors["pooled"])
