"""A checkpoint's networks with made-up weights: for speed and memory only their shapes count, and no file is needed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from kolora.configs import KOLORS, read_config
from kolora.models.architecture import build_text_encoder, build_unet, build_vae_decoder, build_vae_encoder
from kolora.models.layers import lay_out, to_diffsynth

Configs = Mapping[str, Mapping[str, Any]]
_BUILDERS = {
    "text_encoder": ("text_encoder", build_text_encoder),
    "unet": ("unet", build_unet),
    "vae_encoder": ("vae", build_vae_encoder),
    "vae_decoder": ("vae", build_vae_decoder),
}


def configs_of(checkpoint: Path | None) -> Configs:
    """Read a checkpoint folder's configs; without one, Kolors' own."""
    return KOLORS if checkpoint is None else {part: read_config(checkpoint / part) for part in KOLORS}


def random_network(
    part: str, configs: Configs, *, device: str, dtype: torch.dtype, as_diffsynth: bool = False
) -> nn.Module:
    """Build ``text_encoder``, ``unet``, ``vae_encoder`` or ``vae_decoder`` with weights of a usual size, seeded.

    It is laid out as it is when loaded; as_diffsynth: DiffSynth's own code computes everything instead.
    """
    folder, build = _BUILDERS[part]
    with torch.device("meta"):
        module = build(configs[folder])
    if part == "text_encoder":
        delattr(module, "output_layer")  # its logits are never read
    module = module.to_empty(device=device).to(dtype)
    rng = torch.Generator(device).manual_seed(0)
    for name, parameter in module.named_parameters():
        if parameter.dim() > 1:
            # Outputs then vary about as much as inputs, so nothing overflows on the way.
            nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5, generator=rng)
        else:
            nn.init.constant_(parameter, float("norm" in name and name.endswith("weight")))
    if part == "text_encoder":
        # A buffer, not a parameter: to_empty has left it undefined, and the loop above has not filled it.
        rotary = module.rotary_pos_emb
        rotary.inv_freq = 1.0 / 10000 ** (torch.arange(0, rotary.dim, 2, device=device).to(dtype) / rotary.dim)
    if as_diffsynth:
        to_diffsynth(module)
    else:
        lay_out(module)
    return module.eval().requires_grad_(False)
