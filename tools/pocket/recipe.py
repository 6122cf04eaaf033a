"""Everything that decides what pocket becomes: seed, sizes, steps and the configs of its parts."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from kolora.configs import KOLORS

TEXT_WIDTH = 64
SIZE_IDS = 32


def _text_encoder() -> dict[str, Any]:
    return KOLORS["text_encoder"] | {
        "num_layers": 4,
        "hidden_size": TEXT_WIDTH,
        "ffn_hidden_size": 192,
        "kv_channels": 16,
        "num_attention_heads": TEXT_WIDTH // 16,
        "hidden_dropout": 0.0,
        "attention_dropout": 0.0,
    }


def _unet() -> dict[str, Any]:
    return KOLORS["unet"] | {
        "block_out_channels": [64, 96, 192],
        "transformer_layers_per_block": [1, 1, 1],
        "attention_head_dim": [2, 3, 6],
        "cross_attention_dim": 96,
        "encoder_hid_dim": TEXT_WIDTH,
        "addition_time_embed_dim": SIZE_IDS,
        "projection_class_embeddings_input_dim": TEXT_WIDTH + 6 * SIZE_IDS,
        "sample_size": 32,
    }


def _vae() -> dict[str, Any]:
    return KOLORS["vae"] | {"block_out_channels": [32, 64, 96, 96], "scaling_factor": 1.0, "sample_size": 256}


@dataclass(frozen=True)
class Recipe:
    """How pocket is trained. Pictures and steps are counts; batches are pictures a step."""

    seed: int = 7
    pictures: int = 70_000
    spoilt_share: float = 0.1
    first_pictures: int = 12_000
    """The VAE learns from these while the others are being drawn."""
    judge_pictures: int = 20_000
    """Drawn for the probe, CLIP and the aesthetic predictor alone: all styles, a third of them spoilt."""
    vae_steps: int = 8_000
    vae_batch: int = 16
    unet_steps: int = 9_912
    unet_batch: int = 512
    reading_lines: int = 60_000
    reading_steps: int = 3_000
    """The text encoder is taught to read before the U-Net listens to it."""
    clip_steps: int = 3_000
    clip_batch: int = 768
    aesthetics_steps: int = 6_000
    spoilt_each: int = 3
    """How often the aesthetic predictor sees each clean picture of the judges spoilt, each time in other ways."""
    probe_steps: int = 3_000
    text_encoder: dict[str, Any] = field(default_factory=_text_encoder)
    unet: dict[str, Any] = field(default_factory=_unet)
    vae: dict[str, Any] = field(default_factory=_vae)

    def facts(self) -> dict[str, Any]:
        """Give the seed, counts and steps as plain JSON values, for the record in the checkpoint."""
        return {name: value for name, value in asdict(self).items() if not isinstance(value, dict)}


def tiny() -> Recipe:
    """Give a recipe that walks every step of training within a minute on a CPU; it teaches nothing."""
    return Recipe(
        pictures=48,
        first_pictures=32,
        judge_pictures=48,
        vae_steps=2,
        vae_batch=2,
        unet_steps=2,
        unet_batch=4,
        reading_lines=16,
        reading_steps=2,
        clip_steps=2,
        clip_batch=8,
        aesthetics_steps=2,
        probe_steps=2,
    )
