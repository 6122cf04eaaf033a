"""Writes a checkpoint in Kolors' published layout, for pocket's training and for tests."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from kolora.models.names import unet_name, vae_decoder_name, vae_encoder_name


def save_checkpoint(
    folder: Path,
    *,
    configs: Mapping[str, Mapping[str, Any]],
    text_encoder: nn.Module,
    unet: nn.Module,
    vae_encoder: nn.Module,
    vae_decoder: nn.Module,
    dtype: torch.dtype = torch.float16,
    max_shard_bytes: int = 16 * 2**20 - 2**17,
) -> None:
    """Write parts as safetensors shards with an index, ``config.json`` beside them.

    configs: by folder: ``text_encoder``, ``unet``, ``vae``, ``scheduler``.
    """

    def published(module: nn.Module, rename: Callable[[str], str]) -> dict[str, torch.Tensor]:
        return {
            rename(name): tensor.detach().to("cpu", dtype).contiguous()
            for name, tensor in module.state_dict().items()
            if not name.startswith(("output_layer.", "rotary_pos_emb."))
        }

    parts = {
        "text_encoder": ("model", published(text_encoder, lambda name: name)),
        "unet": ("diffusion_pytorch_model", published(unet, unet_name)),
        "vae": (
            "diffusion_pytorch_model",
            published(vae_encoder, vae_encoder_name) | published(vae_decoder, vae_decoder_name),
        ),
    }
    for name, (stem, tensors) in parts.items():
        _write_config(folder / name / "config.json", configs[name])
        write_shards(folder / name, stem, tensors, max_shard_bytes=max_shard_bytes)
    _write_config(folder / "scheduler" / "scheduler_config.json", configs["scheduler"])


def write_shards(folder: Path, stem: str, tensors: Mapping[str, torch.Tensor], *, max_shard_bytes: int) -> None:
    """Write tensors as ``stem.safetensors``, or as numbered shards with an index when they exceed one shard."""
    folder.mkdir(parents=True, exist_ok=True)
    shards: list[dict[str, torch.Tensor]] = [{}]
    room = max_shard_bytes
    # Sorted, so that the shards do not hang on the order of a module's attributes.
    for name in sorted(tensors):
        size = tensors[name].nbytes
        if size > room and shards[-1]:
            shards.append({})
            room = max_shard_bytes
        shards[-1][name] = tensors[name]
        room -= size
    if len(shards) == 1:
        _write_tensors(folder / f"{stem}.safetensors", shards[0])
        return
    weight_map: dict[str, str] = {}
    for number, shard in enumerate(shards, 1):
        file = f"{stem}-{number:05d}-of-{len(shards):05d}.safetensors"
        _write_tensors(folder / file, shard)
        weight_map |= dict.fromkeys(shard, file)
    index = {
        "metadata": {"total_size": sum(tensor.nbytes for tensor in tensors.values())},
        "weight_map": weight_map,
    }
    _write_config(folder / f"{stem}.safetensors.index.json", index)


def _write_tensors(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    """Write one safetensors file that everyone may read: the library makes it its owner's alone."""
    # transformers refuses safetensors whose header does not say "pt".
    save_file(tensors, path, metadata={"format": "pt"})
    path.chmod(0o644)


def _write_config(path: Path, config: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
