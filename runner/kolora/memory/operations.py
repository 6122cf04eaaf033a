"""How many operations a picture and a training step take, counted from configs: nothing is built, no torch loaded.

Two for each weight at each place where it is used, and what attention takes besides, which grows with the square of the
places. The topology is that of ``kolora.models.architecture``; a test counts what torch does there and compares.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kolora.configs import VAE_FACTOR
from kolora.tokens import TOKEN_LIMIT

Config = Mapping[str, Any]


def unet_operations(config: Config, *, pixels: int) -> float:
    """Count the operations of one noise prediction of a picture, one row."""
    low, middle, high = config["block_out_channels"]
    _, middle_depth, high_depth = config["transformer_layers_per_block"]
    cells = pixels / VAE_FACTOR**2
    half, quarter = cells / 4, cells / 16
    operations: float = cells * _resnets((low, low), (low, low), (middle + low, low), (2 * low, low), (2 * low, low))
    operations += half * _resnets((low, middle), (middle, middle))
    operations += half * _resnets((high + middle, middle), (2 * middle, middle), (middle + low, middle))
    operations += quarter * _resnets((middle, high), (high, high), (high, high), (high, high))
    operations += quarter * _resnets((2 * high, high), (2 * high, high), (high + middle, high))
    operations += cells * _conv(middle) + half * (_conv(high) + _conv(low)) + quarter * _conv(middle)
    return operations + 5 * _stack(middle, middle_depth, half) + 6 * _stack(high, high_depth, quarter)


def decoder_operations(config: Config, *, pixels: int) -> float:
    """Count the operations of decoding one picture."""
    widths = config["block_out_channels"]
    cells, width = pixels / VAE_FACTOR**2, widths[-1]
    operations: float = cells * _resnets((width, width), (width, width)) + 4 * width * cells**2
    for level, outside in enumerate(reversed(widths)):
        places = cells * 4**level
        operations += places * _resnets((width, outside), (outside, outside), (outside, outside))
        operations += places * _conv(width) if level else 0
        width = outside
    return operations


def _resnets(*widths: tuple[int, int]) -> float:
    """Count the operations of residual blocks at one place, by inner and outer width."""
    operations = 0
    for inside, outside in widths:
        operations += 18 * outside * (inside + outside) + (2 * inside * outside if inside != outside else 0)
    return operations


def _conv(width: int) -> float:
    return 18 * width * width


def _stack(width: int, depth: int, places: float) -> float:
    """Count the operations of a stack of transformer layers: keys and values of the text are computed once."""
    # In and out of the stack; q, k, v, out; q, out of the text's attention; the gated unit's 8 widths and 4 back.
    linear = 2 * width * width * (2 + depth * (4 + 2 + 12))
    return places * linear + depth * 4 * width * places * (places + TOKEN_LIMIT)
