"""Comparing tensors, and LoRAs made up for tests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from kolora.models.lora import LoraWeights, lora_bytes
from torch import nn

PROJECTIONS = ("to_q", "to_k", "to_v", "to_out")


def difference(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    """Give the largest difference as a share of the largest value."""
    assert ours.shape == theirs.shape
    return float((ours.double() - theirs.double()).abs().max() / theirs.double().abs().max())


def same(ours: Mapping[str, torch.Tensor], theirs: Mapping[str, torch.Tensor]) -> bool:
    """Whether two sets of named tensors hold the same values of the same types."""
    return ours.keys() == theirs.keys() and all(
        tensor.dtype == theirs[name].dtype and torch.equal(tensor, theirs[name]) for name, tensor in ours.items()
    )


def lora_for(unet: nn.Module, *, seed: int = 0, rank: int = 2) -> LoraWeights:
    """Make up a LoRA that changes every attention projection visibly."""
    rng = torch.Generator().manual_seed(seed)
    return LoraWeights(
        {
            name: (
                torch.randn(rank, module.in_features, generator=rng) / module.in_features**0.5,
                torch.randn(module.out_features, rank, generator=rng) / rank,
            )
            for name, module in projections(unet)
        }
    )


def projections(unet: nn.Module) -> Iterable[tuple[str, nn.Linear]]:
    """List the projections of a U-Net's attention by name."""
    return [
        (name, module)
        for name, module in unet.named_modules()
        if name.rpartition(".")[2] in PROJECTIONS and isinstance(module, nn.Linear)
    ]


def write_lora(path: Path, weights: LoraWeights) -> Path:
    """Write a LoRA file; returns its path."""
    path.write_bytes(lora_bytes(weights, metadata={}))
    return path
