"""LoRA weights: the files that hold them in three ecosystems' conventions, and a U-Net that they are merged into.

In every file alpha / rank is folded into B, and where an alpha is stored it is the rank: strength 1.0 then means the
same to every loader, also to those that never read an alpha.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import nn

from kolora.errors import InputAbsent
from kolora.limits import MAX_LORA, TooLarge, as_absent
from kolora.models.headers import check_header, once
from kolora.models.lora_names import (
    ALPHA,
    DIFFSYNTH,
    DIFFUSERS,
    KOHYA,
    OLDER_DIFFUSERS,
    diffusers_name,
    kohya_name,
    module_of,
)

Ecosystem = Literal["diffsynth", "diffusers", "kohya"]
HASH = "modelspec.hash_sha256"
_ENDINGS = {
    **{spelling.down: "down" for spelling in (DIFFSYNTH, DIFFUSERS, KOHYA, OLDER_DIFFUSERS)},
    **{spelling.up: "up" for spelling in (DIFFSYNTH, DIFFUSERS, KOHYA, OLDER_DIFFUSERS)},
    ALPHA: "alpha",
}
_LARGEST_SCALE = 1000.0
_HINT = "name another file in render.lora, or train it again: kolora run --force train"


@dataclass(frozen=True)
class LoraWeights:
    """Low-rank pairs by DiffSynth's module name: A (rank, in), B (out, rank), float32; delta = B A at strength 1."""

    pairs: Mapping[str, tuple[torch.Tensor, torch.Tensor]]


def lora_bytes(weights: LoraWeights, *, metadata: Mapping[str, str], ecosystem: Ecosystem = "diffusers") -> bytes:
    """Serialise weights by an ecosystem's conventions; the same weights and metadata give the same bytes.

    The header also holds the sha256 of all that follows it, under modelspec's name for that.
    """
    tensors = {}
    for module, (down, up) in weights.pairs.items():
        # DiffSynth stores no alpha, and its load_lora never reads one.
        if ecosystem == "diffsynth":
            stem, spelling = module, DIFFSYNTH
        elif ecosystem == "diffusers":
            stem, spelling = diffusers_name(module), DIFFUSERS
        else:
            stem, spelling = kohya_name(module), KOHYA
            tensors[f"{stem}{ALPHA}"] = torch.tensor(float(down.shape[0]))
        tensors[f"{stem}{spelling.down}"] = down.detach().to("cpu", torch.float32).contiguous()
        tensors[f"{stem}{spelling.up}"] = up.detach().to("cpu", torch.float32).contiguous()
    return _with_header(save(tensors), {"format": "pt", **metadata})


def _with_header(file: bytes, metadata: Mapping[str, str]) -> bytes:
    """Give a safetensors file its metadata, sorted: its own writer puts them in an order that changes every time."""
    start = 8 + int.from_bytes(file[:8], "little")
    content = file[start:]
    described = {**metadata, HASH: f"0x{hashlib.sha256(content).hexdigest()}"}
    header = json.dumps(
        json.loads(file[8:start]) | {"__metadata__": described},
        sort_keys=True,
        ensure_ascii=False,
        separators=(",", ":"),
    ).encode()
    # Safetensors' own writer pads to 8 bytes too, so the tensors behind it lie aligned.
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + content


def read_metadata(path: Path) -> dict[str, str]:
    """Read what a LoRA file's header says of it; raises InputAbsent where it is none."""
    try:
        check_header(path)
        size = path.stat().st_size
        if size > MAX_LORA.value:
            raise TooLarge(f"it has {size:,} bytes; at most {MAX_LORA} are read", MAX_LORA)
        with safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {})
    except TooLarge as problem:
        raise as_absent(problem, path.name) from problem
    except (SafetensorError, OSError, ValueError) as problem:
        raise _unreadable(path, problem) from problem


def read_lora(path: Path) -> LoraWeights:
    """Read a LoRA by any of the three ecosystems' conventions, whatever its alpha folded in.

    Only safetensors are read, never a pickle. Raises InputAbsent naming what is wrong with the file.
    """
    metadata = read_metadata(path)
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - the file object is no dict
    except SafetensorError as problem:
        raise _unreadable(path, problem) from problem
    found: dict[str, dict[str, torch.Tensor]] = {}
    for key, tensor in tensors.items():
        ending = next((each for each in _ENDINGS if key.endswith(each)), None)
        if ending is None:
            raise InputAbsent(f"{path.name} holds {key}, which no LoRA of Kolors has", hint=_HINT)
        module = module_of(key.removesuffix(ending))
        if module is None:
            raise InputAbsent(
                f"{path.name} changes {key.removesuffix(ending)}, which Kolors' U-Net does not have", hint=_HINT
            )
        parts = found.setdefault(module, {})
        if _ENDINGS[ending] in parts:
            raise InputAbsent(f"{path.name} changes {module} twice, under two names", hint=_HINT)
        parts[_ENDINGS[ending]] = tensor
    if not found:
        raise InputAbsent(f"{path.name} is an empty LoRA", hint=_HINT)
    scale = _scale_told(path, metadata)
    return LoraWeights({module: _pair(path, module, parts, scale) for module, parts in sorted(found.items())})


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Read a LoRA file's tensors under its own names, as they are; raises InputAbsent for a file that is torn."""
    try:
        tensors: dict[str, torch.Tensor] = load_file(path)
    except (SafetensorError, OSError) as problem:
        raise _unreadable(path, problem) from problem
    return tensors


def _pair(
    path: Path, module: str, parts: Mapping[str, torch.Tensor], scale: float
) -> tuple[torch.Tensor, torch.Tensor]:
    down, up, alpha = parts.get("down"), parts.get("up"), parts.get("alpha")
    if down is None or up is None or down.dim() != 2 or up.dim() != 2 or not 0 < down.shape[0] == up.shape[1]:
        raise InputAbsent(f"{path.name} lacks a matching pair of matrices for {module}", hint=_HINT)
    # kohya's convention: the strength is alpha / rank, of each module by itself.
    if alpha is not None:
        if alpha.numel() != 1 or alpha.is_complex():
            raise InputAbsent(f"{path.name} holds no number as alpha of {module}", hint=_HINT)
        scale = _checked_scale(path, float(alpha), float(down.shape[0]))
    down, up = down.to(torch.float32), up.to(torch.float32)
    up = up if scale == 1.0 else up * scale
    if not (down.isfinite().all() and up.isfinite().all()):
        raise InputAbsent(f"{path.name} holds numbers for {module} that are not finite", hint=_HINT)
    return down, up


def _scale_told(path: Path, metadata: Mapping[str, str]) -> float:
    """Read alpha / rank where newer files of diffusers keep it: in the header, as peft's settings; 1 without them."""
    told = metadata.get("lora_adapter_metadata")
    try:
        settings = json.loads(told or "{}", object_pairs_hook=once)
        if not {"unet.lora_alpha", "unet.r"} <= settings.keys():
            return 1.0
        alpha, rank = float(settings["unet.lora_alpha"]), float(settings["unet.r"])
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError) as problem:
        raise InputAbsent(f"the header of {path.name} does not say its strength in numbers", hint=_HINT) from problem
    return _checked_scale(path, alpha, rank)


def _checked_scale(path: Path, alpha: float, rank: float) -> float:
    """Divide alpha by rank; raises InputAbsent where that is no strength that anybody trained with."""
    scale = alpha / rank if rank else math.nan
    # Beyond is nobody's strength; a picture of such a LoRA is noise, at best.
    if not 1e-12 < scale <= _LARGEST_SCALE or not math.isfinite(alpha) or rank < 0:
        raise InputAbsent(
            f"{path.name} says alpha {alpha:g} for rank {rank:g}; expected more than 0, and at most "
            f"{_LARGEST_SCALE:g} times the rank",
            hint=_HINT,
        )
    return scale


def _unreadable(path: Path, problem: Exception) -> InputAbsent:
    return InputAbsent(f"{path.name} is no readable LoRA in safetensors: {problem}", hint=_HINT)


class MergedWeights:
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
                # (out, in) + (out, rank) (rank, in)
                merged = torch.addmm(merged, up, down, alpha=strength)
            # In place: captured graphs and joined projections read the weights where they lie.
            weight.copy_(merged)
        self._strength = strength


class LoraSwitch:
    """A U-Net with one LoRA merged in at a time, or none."""

    def __init__(self, unet: nn.Module, *, device: str | None = None) -> None:
        self._unet = unet
        self._device = device
        self._path: Path | None = None
        self._merged: MergedWeights | None = None

    def merge(self, path: Path | None, *, strength: float) -> nn.Module:
        """Give the U-Net with the LoRA of ``path`` and no other; without one it is the checkpoint's to the bit."""
        if self._merged is not None and path != self._path:
            # Back to the kept weights: subtracting B A again would leave roundings behind.
            self._merged.set(0.0)
            self._merged = None
        if path is not None:
            self._merged = self._merged or MergedWeights(self._unet, read_lora(path), device=self._device)
            self._path = path
            self._merged.set(strength)
        return self._unet
