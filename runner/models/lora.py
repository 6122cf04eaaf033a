"""LoRA weights: the file that holds them, and a U-Net that wears them.

The file is diffusers' kind, ``unet.<module>.lora_A.weight`` and ``lora_B.weight``, with alpha / rank folded into B:
strength 1.0 then means the same to every loader, also to those that never read an alpha.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from runner.errors import InputAbsent
from runner.models.names import UNET_BLOCKS, unet_name

_BLOCK_NUMBERS = {place: number for number, place in UNET_BLOCKS.items()}


@dataclass(frozen=True)
class LoraWeights:
    """Low-rank pairs by DiffSynth's module name: A (rank, in), B (out, rank), float32; delta = B A at strength 1."""

    pairs: Mapping[str, tuple[torch.Tensor, torch.Tensor]]


def lora_bytes(weights: LoraWeights, *, metadata: Mapping[str, str]) -> bytes:
    """Serialise weights; the same weights and metadata give the same bytes."""
    tensors = {}
    for module, (down, up) in weights.pairs.items():
        stem = f"unet.{unet_name(module + '.weight').removesuffix('.weight')}"
        tensors[f"{stem}.lora_A.weight"] = down.detach().to("cpu", torch.float32).contiguous()
        tensors[f"{stem}.lora_B.weight"] = up.detach().to("cpu", torch.float32).contiguous()
    return _sorted_header(save(tensors, metadata={"format": "pt", **metadata}))


def _sorted_header(file: bytes) -> bytes:
    """Sort the header of a safetensors file: its writer puts metadata in an order that changes with every call."""
    start = 8 + int.from_bytes(file[:8], "little")
    header = json.dumps(json.loads(file[8:start]), sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + file[start:]


def read_lora(path: Path) -> LoraWeights:
    """Read a file that ``lora_bytes`` made; raises InputAbsent naming what is wrong with it."""
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - the file object is no dict
    except (SafetensorError, FileNotFoundError) as problem:
        raise InputAbsent(f"{path.name} is no readable LoRA: {problem}", hint="kolora run --force train") from problem
    modules = [match[1] for match in (re.fullmatch(r"unet\.(.+)\.lora_A\.weight", name) for name in tensors) if match]
    if {f"unet.{module}.lora_{side}.weight" for module in modules for side in "AB"} != set(tensors) or not modules:
        raise InputAbsent(f"{path.name} is no LoRA of kolora's own format", hint="kolora run --force train")
    return LoraWeights(
        {
            _module_name(module): (tensors[f"unet.{module}.lora_A.weight"], tensors[f"unet.{module}.lora_B.weight"])
            for module in modules
        }
    )


def _module_name(published: str) -> str:
    """Turn ``down_blocks.1.attentions.0.X.to_out.0`` into ``blocks.7.X.to_out``."""
    place, _, inner = published.partition(".transformer_blocks.")
    if place not in _BLOCK_NUMBERS:
        raise InputAbsent(f"the LoRA changes {published}, which Kolors' U-Net does not have", hint="use a Kolors LoRA")
    return f"blocks.{_BLOCK_NUMBERS[place]}.transformer_blocks.{inner.removesuffix('.0')}"


class Merge:
    """A U-Net's weights with a LoRA merged in at one strength at a time.

    The weights it replaces are kept (on the CPU), so every strength starts from the checkpoint's own bytes and
    strength 0 is the checkpoint to the bit. device: where to compute, also for weights that lie elsewhere, because
    another device rounds otherwise; None for where they lie.
    """

    def __init__(self, unet: nn.Module, lora: LoraWeights, *, device: str | None = None) -> None:
        weights = dict(unet.named_parameters())
        for name, (down, up) in lora.pairs.items():
            weight = weights.get(f"{name}.weight")
            if weight is None or weight.shape != (up.shape[0], down.shape[1]):
                wanted = "lacks" if weight is None else f"has in another shape, {tuple(weight.shape)}"
                raise InputAbsent(f"the LoRA changes {name}, which this checkpoint {wanted}", hint="use its own LoRA")
        self._lora = lora
        self._weights = {name: weights[f"{name}.weight"] for name in lora.pairs}
        self._originals = {name: weight.detach().cpu().clone() for name, weight in self._weights.items()}
        self._strength = 0.0
        self._device = device

    @torch.no_grad()
    def set(self, strength: float) -> None:
        """Make the weights W + strength * B A, summed in float32."""
        if strength == self._strength:
            return
        for name, weight in self._weights.items():
            device = self._device or weight.device
            merged = self._originals[name].to(device, torch.float32)
            if strength:
                down, up = (part.to(device, torch.float32) for part in self._lora.pairs[name])
                merged = torch.addmm(merged, up, down, alpha=strength)
            weight.copy_(merged)
        self._strength = strength


class Wearer:
    """A U-Net that wears one LoRA at a time, or none."""

    def __init__(self, unet: nn.Module, *, device: str | None = None) -> None:
        self._unet = unet
        self._device = device
        self._path: Path | None = None
        self._merge: Merge | None = None

    def wear(self, path: Path | None, *, strength: float) -> nn.Module:
        """Give the U-Net with the LoRA of ``path`` and no other; without one it is the checkpoint's to the bit."""
        if self._merge is not None and path != self._path:
            self._merge.set(0.0)
            self._merge = None
        if path is not None:
            self._merge = self._merge or Merge(self._unet, read_lora(path), device=self._device)
            self._path = path
            self._merge.set(strength)
        return self._unet
