"""A checkpoint of the Kolors topology, tiny and untrained, in the published layout, scorers included: for tests.

Every weight comes from a seed of its own, told by its name: whoever builds the networks, in whatever order, the bytes
are the same, also those that submissions in tests/compat were made with.
"""

from __future__ import annotations

import copy
import json
import zlib
from pathlib import Path
from typing import Any

import torch
from aesthetics_predictor import AestheticsPredictorV2Linear
from kolora.configs import KOLORS
from kolora.models.architecture import build_text_encoder, build_unet, build_vae_decoder, build_vae_encoder
from kolora.models.layout import save_checkpoint
from safetensors.torch import save_file
from torch import nn
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPTextConfig, CLIPTokenizer, CLIPVisionConfig

SMALL: dict[str, dict[str, Any]] = {
    "text_encoder": {
        "num_layers": 2,
        "hidden_size": 32,
        "ffn_hidden_size": 64,
        "kv_channels": 16,
        "num_attention_heads": 2,
        "multi_query_group_num": 1,
    },
    "unet": {
        "block_out_channels": [32, 32, 64],
        "transformer_layers_per_block": [1, 1, 1],
        "attention_head_dim": [1, 1, 2],
        "cross_attention_dim": 32,
        "encoder_hid_dim": 32,
        "addition_time_embed_dim": 8,
        "projection_class_embeddings_input_dim": 32 + 6 * 8,
    },
    "vae": {"block_out_channels": [32, 32, 32, 32]},
    "scheduler": {},
}
VISION = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": 16,
    "projection_dim": 16,
}


def configs() -> dict[str, dict[str, Any]]:
    """Give the tiny checkpoint's configs."""
    return {part: {**copy.deepcopy(KOLORS[part]), **changes} for part, changes in SMALL.items()}


def text_encoder(config: dict[str, Any]) -> nn.Module:
    """Build a text encoder with initial weights: DiffSynth's class leaves them to whoever loads it."""
    return filled(build_text_encoder({**config, "torch_dtype": "float32"}))


def filled(module: nn.Module) -> nn.Module:
    """Give every weight of a network values that depend on nothing but its name and shape."""
    for name, parameter in module.named_parameters():
        if parameter.dim() > 1 or name.endswith("class_embedding"):
            generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
            spread = (3 * parameter[0].numel()) ** -0.5 if parameter.dim() > 1 else 1.0
            parameter.data = spread * torch.randn(parameter.shape, generator=generator)
        elif parameter.dim() == 1:
            nn.init.constant_(parameter, 1.0 if "norm" in name and name.endswith("weight") else 0.0)
    return module


def write_tiny_checkpoint(folder: Path) -> None:
    """Write the checkpoint with its two scorers."""
    known = configs()
    save_checkpoint(
        folder,
        configs=known,
        text_encoder=text_encoder(known["text_encoder"]),
        unet=filled(build_unet(known["unet"])),
        vae_encoder=filled(build_vae_encoder(known["vae"])),
        vae_decoder=filled(build_vae_decoder(known["vae"])),
    )
    _write_clip(folder / "clip")
    _write_aesthetics(folder / "aesthetics")


def _write_clip(folder: Path) -> None:
    folder.mkdir()
    letters = [chr(code) for code in _byte_letters()]
    pieces = letters + [f"{letter}</w>" for letter in letters] + ["<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({piece: index for index, piece in enumerate(pieces)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=64).save_pretrained(folder)
    text = CLIPTextConfig(
        vocab_size=len(pieces),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=64,
        bos_token_id=len(pieces) - 2,
        eos_token_id=len(pieces) - 1,
        projection_dim=16,
    )
    config = CLIPConfig.from_text_vision_configs(text, CLIPVisionConfig(**VISION), projection_dim=16)
    _write_model(folder, config, filled(CLIPModel(config)))


def _write_aesthetics(folder: Path) -> None:
    folder.mkdir()
    config = CLIPVisionConfig(**VISION)
    _write_model(folder, config, filled(AestheticsPredictorV2Linear(config)))


def _write_model(folder: Path, config: Any, model: nn.Module) -> None:
    config.save_pretrained(folder)
    written = json.loads((folder / "config.json").read_text())
    written.pop("transformers_version")
    (folder / "config.json").write_text(json.dumps(written, indent=2) + "\n")
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=32).save_pretrained(folder)
    save_file(
        {name: tensor.contiguous() for name, tensor in model.state_dict().items()},
        folder / "model.safetensors",
        metadata={"format": "pt"},
    )


def _byte_letters() -> list[int]:
    """List the 256 letters that byte-level BPE writes bytes as."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return printable + [256 + index for index in range(256 - len(printable))]
