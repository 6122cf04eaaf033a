"""Exact tiling of the VAE: a picture computed tile by tile, the whole one's result to rounding, in less memory.

A tile is a strip of whole rows. Tiles that are decoded by themselves differ in colour, because a norm sees one tile
only. Here every layer goes through the whole picture, with the whole picture's norms; only what a layer makes on the
way is confined to a tile.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import nn

from kolora.configs import LATENT_CHANNELS
from kolora.models.diffsynth_blocks import DownSampler, ResnetBlock, UpSampler

TILE = 2**24
"""Values of a layer's input in one tile: 64 MiB in float32."""

_Prepare = Callable[[torch.Tensor], torch.Tensor]


def decode_tiled(decoder: nn.Module, latents: torch.Tensor) -> torch.Tensor:
    """Do what the VAE decoder does: scaled latents (B, 4, h, w) to pixels (B, 3, 8 h, 8 w)."""
    vae = cast(Any, decoder)
    return _run(vae, vae.post_quant_conv(latents / vae.scaling_factor))


def encode_tiled(encoder: nn.Module, pixels: torch.Tensor) -> torch.Tensor:
    """Do what the VAE encoder does: pixels (B, 3, H, W) to scaled mean latents (B, 4, H/8, W/8)."""
    vae = cast(Any, encoder)
    latents = vae.quant_conv(_run(vae, pixels))
    return cast(torch.Tensor, latents[:, :LATENT_CHANNELS] * vae.scaling_factor)


def _run(half: Any, x: torch.Tensor) -> torch.Tensor:
    x = _convolve(half.conv_in, x)
    for block in half.blocks:
        if isinstance(block, ResnetBlock):
            x = _resnet(block, x)
        elif isinstance(block, UpSampler):
            x = _convolve(block.conv, x, enlarged=2)
        elif isinstance(block, DownSampler):
            # DiffSynth's extra_padding: zeros at the right and at the bottom only.
            x = _convolve(block.conv, x, padding=(0, 1))
        else:
            # The attention in the middle, at an eighth of the side: small enough to be computed whole.
            x = block(x, None, None, None)[0]
    return _convolve(half.conv_out, x, prepare=_norm_and_activate(half.conv_norm_out, x))


def _resnet(block: Any, x: torch.Tensor) -> torch.Tensor:
    """Do what a residual block does; ``x`` is used up, for at full size it is the largest tensor there is."""
    inner = _convolve(block.conv1, x, prepare=_norm_and_activate(block.norm1, x))
    narrows = inner.shape[1] < x.shape[1]
    if block.conv_shortcut is not None:
        x = _convolve(block.conv_shortcut, x, padding=(0, 0), into=x[:, : inner.shape[1]] if narrows else None)
    x = _convolve(block.conv2, inner, prepare=_norm_and_activate(block.norm2, inner), into=x, adds=True)
    del inner
    # A view of some channels would keep the wide tensor alive.
    return x.clone(memory_format=torch.contiguous_format) if narrows else x


def _norm_and_activate(norm: nn.GroupNorm, x: torch.Tensor) -> _Prepare:
    """Give the norm by the statistics of all of ``x``, and the activation after it, as a function of a tile of it."""
    batch, channels = x.shape[:2]
    # (B, groups, 1); correction 0 because group norms divide by the count.
    variance, mean = torch.var_mean(x.reshape(batch, norm.num_groups, -1), dim=-1, correction=0, keepdim=True)
    # The norm as one multiply-add a channel: x * scale + shift; (B, groups, C / groups).
    scale = torch.rsqrt(variance + norm.eps) * norm.weight.view(1, norm.num_groups, -1)
    shift = norm.bias.view(1, norm.num_groups, -1) - mean * scale
    scale, shift = scale.view(batch, channels, 1, 1), shift.view(batch, channels, 1, 1)
    return lambda tile: F.silu(torch.addcmul(shift, tile, scale), inplace=True)


def _convolve(
    conv: nn.Conv2d,
    x: torch.Tensor,
    *,
    prepare: _Prepare | None = None,
    padding: tuple[int, int] = (1, 1),
    enlarged: int = 1,
    into: torch.Tensor | None = None,
    adds: bool = False,
) -> torch.Tensor:
    """Convolve a picture tile by tile.

    prepare: what is done to the input first. padding: zeros before and after it, on both axes. enlarged: how often its
    rows and columns are repeated first. into: where the result goes, added to what is there if it ``adds``; the input
    itself may be overwritten where no row needs another.
    """
    side, stride = conv.kernel_size[0], conv.stride[0]
    height, width = (enlarged * length for length in x.shape[2:])
    rows, columns = ((length + sum(padding) - side) // stride + 1 for length in (height, width))
    result = into if into is not None else x.new_empty(x.shape[0], conv.out_channels, rows, columns)
    at_once = max(1, TILE // (x.shape[0] * x.shape[1] * width * stride))
    for top in range(0, rows, at_once):
        bottom = min(top + at_once, rows)
        # Rows that the tile's kernels touch, also those of its neighbours; below 0 or past the end lies padding.
        first, end = top * stride - padding[0], (bottom - 1) * stride - padding[0] + side
        begin, stop = max(first, 0), min(end, height)
        tile = x[:, :, begin // enlarged : (stop - 1) // enlarged + 1]
        if prepare is not None:
            tile = prepare(tile)
        if enlarged > 1:
            skipped = begin % enlarged
            tile = F.interpolate(tile, scale_factor=float(enlarged), mode="nearest")
            # A tile may begin on the second of two equal rows.
            tile = tile[:, :, skipped : skipped + stop - begin]
        tile = F.pad(tile, (*padding, begin - first, end - stop))
        convolved = F.conv2d(tile, conv.weight, conv.bias, stride)
        if adds:
            result[:, :, top:bottom] += convolved
        else:
            result[:, :, top:bottom] = convolved
    return result
