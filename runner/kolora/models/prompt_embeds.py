"""Prompt embeddings: what the text encoder makes of texts for the U-Net, in memory and on disk."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save


@dataclass(frozen=True)
class PromptEmbeds:
    """Embeddings of texts: prompt_embeds (B, 256, D), one row a token; pooled_prompt_embeds (B, D), one row a text."""

    prompt_embeds: torch.Tensor
    pooled_prompt_embeds: torch.Tensor

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> PromptEmbeds:
        """Give both on a device and in a dtype; where one is not given, it stays."""
        return PromptEmbeds(self.prompt_embeds.to(device, dtype), self.pooled_prompt_embeds.to(device, dtype))

    def rows(self, rows: slice | list[int]) -> PromptEmbeds:
        """Give some of the texts."""
        return PromptEmbeds(self.prompt_embeds[rows], self.pooled_prompt_embeds[rows])

    def tensors(self) -> dict[str, torch.Tensor]:
        """Give both as named tensors on the CPU, for a safetensors file."""
        named = {"prompt_embeds": self.prompt_embeds, "pooled_prompt_embeds": self.pooled_prompt_embeds}
        return {name: tensor.cpu().contiguous() for name, tensor in named.items()}


def write_prompt_embeds(path: Path, embeds: PromptEmbeds) -> None:
    """Write prompt embeddings as safetensors."""
    path.write_bytes(save(embeds.tensors()))


def read_prompt_embeds(path: Path, *, device: str = "cpu") -> PromptEmbeds:
    """Read what ``write_prompt_embeds`` wrote."""
    tensors = load_file(path, device=device)
    return PromptEmbeds(tensors["prompt_embeds"], tensors["pooled_prompt_embeds"])
