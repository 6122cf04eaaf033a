"""What shapes a checkpoint's networks: the config.json files beside its weights, and the published ones of Kolors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kolora.errors import InputAbsent
from kolora.files import is_file
from kolora.limits import MAX_WIDTH, TooLarge, as_absent, read_json

LATENT_CHANNELS = 4
VAE_FACTOR = 8
"""Pixels a latent cell covers, per side, in every checkpoint with this VAE."""

_MOST_LEVELS = 64
"""Values of one list: levels of a network; the published ones have three or four."""
_MOST_LAYERS = 1024
_AGAIN = "download the checkpoint again, or point model.checkpoint at a complete folder"

KOLORS: dict[str, dict[str, Any]] = {
    "text_encoder": {
        "num_layers": 28,
        "hidden_size": 4096,
        "ffn_hidden_size": 13696,
        "kv_channels": 128,
        "num_attention_heads": 32,
        "multi_query_attention": True,
        "multi_query_group_num": 2,
        "padded_vocab_size": 65024,
        "seq_length": 32768,
        "layernorm_epsilon": 1e-5,
        "rmsnorm": True,
        "post_layer_norm": True,
        "add_bias_linear": False,
        "add_qkv_bias": True,
        "apply_residual_connection_post_layernorm": False,
        "attention_softmax_in_fp32": True,
        "bias_dropout_fusion": True,
        "fp32_residual_connection": False,
        # These two have to be said: newer transformers no longer default them on ChatGLMConfig.
        "original_rope": True,
        "use_cache": True,
        "torch_dtype": "float16",
    },
    "unet": {
        "block_out_channels": [320, 640, 1280],
        "transformer_layers_per_block": [1, 2, 10],
        "attention_head_dim": [5, 10, 20],
        "cross_attention_dim": 2048,
        "encoder_hid_dim": 4096,
        "encoder_hid_dim_type": "text_proj",
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 5632,
        "in_channels": 4,
        "out_channels": 4,
        "layers_per_block": 2,
        "use_linear_projection": True,
        "sample_size": 128,
    },
    "vae": {
        "block_out_channels": [128, 256, 512, 512],
        "latent_channels": 4,
        "layers_per_block": 2,
        "scaling_factor": 0.13025,
        "sample_size": 1024,
    },
    "scheduler": {
        "beta_schedule": "scaled_linear",
        "beta_start": 0.00085,
        "beta_end": 0.014,
        # No slip: Kolors' schedule has 1,100 steps, where Stable Diffusion's has 1,000.
        "num_train_timesteps": 1100,
        "prediction_type": "epsilon",
        "timestep_spacing": "leading",
        "steps_offset": 1,
        "clip_sample": False,
        "set_alpha_to_one": False,
    },
}
"""The published configs of Kwai-Kolors/Kolors, as far as they shape the networks."""


def read_config(folder: Path) -> dict[str, Any]:
    """Read ``config.json`` (or ``scheduler_config.json``) of a part's folder."""
    for name in ("config.json", "scheduler_config.json"):
        path = folder / name
        if is_file(path):
            try:
                config = read_json(path)
            except TooLarge as problem:
                raise as_absent(problem, f"{folder.name}/{name}") from problem
            except ValueError as problem:
                raise InputAbsent(f"{folder.name}/{name} is not JSON: {problem}", hint=_AGAIN) from problem
            if isinstance(config, dict):
                _check_numbers(folder, name, config)
                return config
    raise InputAbsent(f"the checkpoint has no {folder.name}/config.json", hint=_AGAIN)


def _check_numbers(folder: Path, name: str, config: Mapping[str, Any]) -> None:
    """Refuse a config whose numbers would build networks that no machine holds, or are no numbers."""
    published = KOLORS.get(folder.name, {})
    for key, value in config.items():
        fault = _fault_of(value, like=published.get(key), most=_most(key))
        if fault:
            raise InputAbsent(f"{folder.name}/{name}: {key} {fault}", hint=f"{_AGAIN}; {MAX_WIDTH.hint}")


def _fault_of(value: Any, *, like: Any, most: int) -> str:
    """Say what is wrong with a value of a config; like: Kolors' own, None for a key that nothing reads."""
    numbers = value if isinstance(value, list) else [value]
    if like is not None and value is not None and _kind(value) != _kind(like):
        return f"is {str(value)[:40]!r}, where Kolors has {like!r}"
    if len(numbers) > _MOST_LEVELS:
        return f"has {len(numbers):,} values, more than {_MOST_LEVELS}"
    for number in numbers:
        # Also what is no number at all: NaN is larger than nothing.
        if isinstance(number, int | float) and not -most <= number <= most:
            return f"is {str(number)[:40]}, more than {most:,}"
        if like is not None and isinstance(number, int) and number < 0:
            return f"is {number}, which is below 0"
    return ""


def _kind(value: Any) -> str:
    if isinstance(value, list):
        kinds = {_kind(each) for each in value}
        return f"list of {kinds.pop()}" if len(kinds) == 1 else "list"
    if isinstance(value, bool | str):
        return type(value).__name__
    return "number" if isinstance(value, int | float) else type(value).__name__


def _most(key: str) -> int:
    # A layer or a head each takes memory for itself, where the others are widths.
    if any(word in key for word in ("layer", "depth", "head", "group")):
        return min(MAX_WIDTH.value, _MOST_LAYERS)
    return 16 * MAX_WIDTH.value


def latent_shape(height: int, width: int) -> tuple[int, int, int]:
    """Give the shape (4, h, w) of the latents of a picture, whose sides in pixels are multiples of ``VAE_FACTOR``."""
    return LATENT_CHANNELS, height // VAE_FACTOR, width // VAE_FACTOR
