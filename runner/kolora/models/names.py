"""Names of weights: diffusers' (the published files) and DiffSynth's (the modules), both ways.

One table places each of DiffSynth's numbered blocks in diffusers' tree; the rest are renames inside a block.
"""

from __future__ import annotations

import re
from collections.abc import Iterable


def _resnets(place: str, count: int, start: int, step: int) -> Iterable[tuple[int, str]]:
    return ((start + step * number, f"{place}.resnets.{number}") for number in range(count))


def _stacks(place: str, count: int, start: int, step: int) -> Iterable[tuple[int, str]]:
    return ((start + step * number, f"{place}.attentions.{number}") for number in range(count))


# DiffSynth also numbers PushBlock and PopBlock, which have no weights: hence the steps of 2 and 3.
UNET_BLOCKS: dict[int, str] = dict(
    [
        *_resnets("down_blocks.0", 2, 0, 2),
        (4, "down_blocks.0.downsamplers.0"),
        *_resnets("down_blocks.1", 2, 6, 3),
        *_stacks("down_blocks.1", 2, 7, 3),
        (12, "down_blocks.1.downsamplers.0"),
        *_resnets("down_blocks.2", 2, 14, 3),
        *_stacks("down_blocks.2", 2, 15, 3),
        *_resnets("mid_block", 2, 20, 2),
        *_stacks("mid_block", 1, 21, 1),
        *_resnets("up_blocks.0", 3, 24, 3),
        *_stacks("up_blocks.0", 3, 25, 3),
        (32, "up_blocks.0.upsamplers.0"),
        *_resnets("up_blocks.1", 3, 34, 3),
        *_stacks("up_blocks.1", 3, 35, 3),
        (42, "up_blocks.1.upsamplers.0"),
        *_resnets("up_blocks.2", 3, 44, 2),
    ]
)

_VAE_ENCODER_BLOCKS: dict[int, str] = dict(
    [
        *_resnets("encoder.down_blocks.0", 2, 0, 1),
        *_resnets("encoder.down_blocks.1", 2, 3, 1),
        *_resnets("encoder.down_blocks.2", 2, 6, 1),
        *_resnets("encoder.down_blocks.3", 2, 9, 1),
        *((3 * level + 2, f"encoder.down_blocks.{level}.downsamplers.0") for level in range(3)),
        *_resnets("encoder.mid_block", 2, 11, 2),
        *_stacks("encoder.mid_block", 1, 12, 1),
    ]
)

_VAE_DECODER_BLOCKS: dict[int, str] = dict(
    [
        *_resnets("decoder.mid_block", 2, 0, 2),
        *_stacks("decoder.mid_block", 1, 1, 1),
        *_resnets("decoder.up_blocks.0", 3, 3, 1),
        *_resnets("decoder.up_blocks.1", 3, 7, 1),
        *_resnets("decoder.up_blocks.2", 3, 11, 1),
        *_resnets("decoder.up_blocks.3", 3, 15, 1),
        *((6 + 4 * level, f"decoder.up_blocks.{level}.upsamplers.0") for level in range(3)),
    ]
)

_UNET_RENAMES = (
    (r"^time_embedding\.0\.", "time_embedding.linear_1."),
    (r"^time_embedding\.2\.", "time_embedding.linear_2."),
    (r"^add_time_embedding\.0\.", "add_embedding.linear_1."),
    (r"^add_time_embedding\.2\.", "add_embedding.linear_2."),
    (r"^text_intermediate_proj\.", "encoder_hid_proj."),
    (r"\.act_fn\.proj\.", ".ff.net.0.proj."),
    (r"\.ff\.(weight|bias)$", r".ff.net.2.\1"),
    (r"\.to_out\.", ".to_out.0."),
)

_VAE_RENAMES = (
    # DiffSynth wraps the VAE's attention in a transformer layer, diffusers has it bare.
    (r"\.transformer_blocks\.0\.to_out\.", ".to_out.0."),
    (r"\.transformer_blocks\.0\.", "."),
    (r"\.attentions\.0\.norm\.", ".attentions.0.group_norm."),
)


def unet_name(name: str) -> str:
    """Give diffusers' name of a U-Net weight that DiffSynth calls ``name``."""
    return _rename(_place(name, UNET_BLOCKS), _UNET_RENAMES)


def vae_encoder_name(name: str) -> str:
    """Give diffusers' name of a weight of DiffSynth's VAE encoder."""
    return _vae_name(name, _VAE_ENCODER_BLOCKS, "encoder", "quant_conv.")


def vae_decoder_name(name: str) -> str:
    """Give diffusers' name of a weight of DiffSynth's VAE decoder."""
    return _vae_name(name, _VAE_DECODER_BLOCKS, "decoder", "post_quant_conv.")


def _vae_name(name: str, blocks: dict[int, str], half: str, shared: str) -> str:
    # quant_conv and post_quant_conv stand beside both halves in the file.
    if name.startswith(shared):
        return name
    if not name.startswith("blocks."):
        return f"{half}.{name}"
    return _rename(_place(name, blocks), _VAE_RENAMES)


def _place(name: str, blocks: dict[int, str]) -> str:
    match = re.match(r"blocks\.(\d+)\.(.*)", name)
    return f"{blocks[int(match[1])]}.{match[2]}" if match else name


def _rename(name: str, renames: Iterable[tuple[str, str]]) -> str:
    for pattern, replacement in renames:
        name = re.sub(pattern, replacement, name)
    return name
