"""Group and layer normalisation, forward and backward to the input; the weights are frozen."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

PIXELS, CHANNELS = 128, 64
"""Size of a tile that one program computes: it reads 128 bytes of half precision side by side."""
TILES = 32
"""Tiles whose sums are added up at once."""
SIZES = ["width", "groups", "tiles"]
"""Arguments that the same machine code serves, whatever they can be divided by."""


@triton.jit
def _tile(pixels, channels, PIXELS: tl.constexpr, CHANNELS: tl.constexpr):
    """Say where this program's tile of pixels and channels lies, which of it exists, its channels and its row."""
    row = tl.program_id(2)
    pixel = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS)
    channel = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    inside = tl.expand_dims(pixel < pixels, 1) & tl.expand_dims(channel < channels, 0)
    place = row.to(tl.int64) * pixels * channels + tl.expand_dims(pixel, 1) * channels + tl.expand_dims(channel, 0)
    return place, inside, channel, row


@triton.jit
def _moments(
    x, added, means, squares, pixels, channels, ADDS: tl.constexpr, PIXELS: tl.constexpr, CHANNELS: tl.constexpr
):
    """Write every channel's mean over a tile of pixels, and the sum of its squared deviations from it."""
    place, inside, channel, row = _tile(pixels, channels, PIXELS, CHANNELS)
    value = tl.load(x + place, mask=inside, other=0.0).to(tl.float32)
    mean = tl.sum(value, 0) / tl.minimum(PIXELS, pixels - tl.program_id(0) * PIXELS)
    deviation = tl.where(inside, value - tl.expand_dims(mean, 0), 0.0)
    if ADDS:
        mean += tl.load(added + row * channels + channel, mask=channel < channels, other=0.0).to(tl.float32)
    at = (row * tl.num_programs(0) + tl.program_id(0)) * channels + channel
    tl.store(means + at, mean, mask=channel < channels)
    tl.store(squares + at, tl.sum(deviation * deviation, 0), mask=channel < channels)


@triton.jit
def _some(first, pixels, channels, tiles, width, PIXELS: tl.constexpr, TILES: tl.constexpr, WIDTH: tl.constexpr):
    """Say where some tiles' numbers of this program's group lie, which exist, and how many pixels each tile has."""
    tile, lane = first + tl.arange(0, TILES), tl.arange(0, WIDTH)
    inside = tl.expand_dims(tile < tiles, 1) & tl.expand_dims(lane < width, 0)
    at = tl.expand_dims((tl.program_id(1) * tiles + tile) * channels, 1)
    at += tl.expand_dims(tl.program_id(0) * width + lane, 0)
    return at, inside, tl.expand_dims(tl.minimum(PIXELS, pixels - tile * PIXELS), 1)


@triton.jit(do_not_specialize=SIZES)
def _combine_moments(
    means, squares, mean_of, scale_of, pixels, channels, tiles, width, eps,
    PIXELS: tl.constexpr, TILES: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """Make one group's mean and 1 / standard deviation of its channels' moments in all tiles."""
    elements = pixels * width
    summed = tl.zeros([TILES, WIDTH], dtype=tl.float32)
    for first in range(0, tiles, TILES):
        at, inside, count = _some(first, pixels, channels, tiles, width, PIXELS, TILES, WIDTH)
        summed += tl.load(means + at, mask=inside, other=0.0) * count
    mean = tl.sum(tl.sum(summed, 1), 0) / elements
    spread = tl.zeros([TILES, WIDTH], dtype=tl.float32)
    for first in range(0, tiles, TILES):
        at, inside, count = _some(first, pixels, channels, tiles, width, PIXELS, TILES, WIDTH)
        apart = tl.load(means + at, mask=inside, other=0.0) - mean
        spread += tl.where(inside, tl.load(squares + at, mask=inside, other=0.0) + apart * apart * count, 0.0)
    variance = tl.sum(tl.sum(spread, 1), 0) / elements
    at = tl.program_id(1) * tl.num_programs(0) + tl.program_id(0)
    tl.store(mean_of + at, mean)
    tl.store(scale_of + at, 1 / tl.sqrt(variance + eps))


@triton.jit
def _known(added, mean_of, scale_of, weight, bias, channel, row, channels, width, groups, ADDS: tl.constexpr):
    """Load what a tile's channels are normalised with: mean less what is added, scale, weight and bias, as one row."""
    exists = channel < channels
    group = row * groups + channel // width
    mean = tl.load(mean_of + group, mask=exists, other=0.0)
    if ADDS:
        mean -= tl.load(added + row * channels + channel, mask=exists, other=0.0).to(tl.float32)
    scale = tl.load(scale_of + group, mask=exists, other=0.0)
    factor = tl.load(weight + channel, mask=exists, other=0.0).to(tl.float32)
    shift = tl.load(bias + channel, mask=exists, other=0.0).to(tl.float32)
    return tl.expand_dims(mean, 0), tl.expand_dims(scale, 0), tl.expand_dims(factor, 0), tl.expand_dims(shift, 0)


@triton.jit(do_not_specialize=SIZES)
def _normalise(
    x, added, mean_of, scale_of, weight, bias, y, pixels, channels, width, groups,
    ADDS: tl.constexpr, SILU: tl.constexpr, PIXELS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """Write the normalised tile, perhaps through SiLU."""
    place, inside, channel, row = _tile(pixels, channels, PIXELS, CHANNELS)
    mean, scale, factor, shift = _known(
        added, mean_of, scale_of, weight, bias, channel, row, channels, width, groups, ADDS
    )
    value = tl.load(x + place, mask=inside, other=0.0).to(tl.float32)
    value = value * (scale * factor) + (shift - mean * (scale * factor))
    if SILU:
        value *= tl.sigmoid(value)
    tl.store(y + place, value.to(y.dtype.element_ty), mask=inside)


@triton.jit
def _slopes(
    x, dy, added, mean_of, scale_of, weight, bias, place, inside, channel, row, channels, width, groups,
    ADDS: tl.constexpr, SILU: tl.constexpr,
):  # fmt: skip
    """Give a tile's normalised values, the gradient that reaches them, and the scale that made them."""
    mean, scale, factor, shift = _known(
        added, mean_of, scale_of, weight, bias, channel, row, channels, width, groups, ADDS
    )
    value = (tl.load(x + place, mask=inside, other=0.0).to(tl.float32) - mean) * scale
    slope = tl.load(dy + place, mask=inside, other=0.0).to(tl.float32)
    if SILU:
        z = value * factor + shift
        gate = tl.sigmoid(z)
        slope *= gate * (1 + z * (1 - gate))
    return value, slope * factor, scale


@triton.jit(do_not_specialize=SIZES)
def _sum_slopes(
    x, dy, added, mean_of, scale_of, weight, bias, sums, products, pixels, channels, width, groups,
    ADDS: tl.constexpr, SILU: tl.constexpr, PIXELS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """Write every channel's sum of gradients over a tile, and of gradients times normalised values."""
    place, inside, channel, row = _tile(pixels, channels, PIXELS, CHANNELS)
    value, slope, _ = _slopes(
        x, dy, added, mean_of, scale_of, weight, bias, place, inside, channel, row, channels, width, groups, ADDS, SILU
    )
    at = (row * tl.num_programs(0) + tl.program_id(0)) * channels + channel
    tl.store(sums + at, tl.sum(slope, 0), mask=channel < channels)
    tl.store(products + at, tl.sum(slope * value, 0), mask=channel < channels)


@triton.jit(do_not_specialize=SIZES)
def _combine_slopes(
    sums, products, sum_of, product_of, pixels, channels, tiles, width,
    PIXELS: tl.constexpr, TILES: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """Make one group's means of what ``_sum_slopes`` wrote."""
    one = tl.zeros([TILES, WIDTH], dtype=tl.float32)
    other = tl.zeros([TILES, WIDTH], dtype=tl.float32)
    for first in range(0, tiles, TILES):
        at, inside, _ = _some(first, pixels, channels, tiles, width, PIXELS, TILES, WIDTH)
        one += tl.load(sums + at, mask=inside, other=0.0)
        other += tl.load(products + at, mask=inside, other=0.0)
    at = tl.program_id(1) * tl.num_programs(0) + tl.program_id(0)
    elements = pixels * width
    tl.store(sum_of + at, tl.sum(tl.sum(one, 1), 0) / elements)
    tl.store(product_of + at, tl.sum(tl.sum(other, 1), 0) / elements)


@triton.jit(do_not_specialize=SIZES)
def _descend(
    x, dy, added, mean_of, scale_of, weight, bias, sum_of, product_of, dx, pixels, channels, width, groups,
    ADDS: tl.constexpr, SILU: tl.constexpr, PIXELS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """Write the gradient of the input."""
    place, inside, channel, row = _tile(pixels, channels, PIXELS, CHANNELS)
    value, slope, scale = _slopes(
        x, dy, added, mean_of, scale_of, weight, bias, place, inside, channel, row, channels, width, groups, ADDS, SILU
    )
    group = row * groups + channel // width
    mean_slope = tl.expand_dims(tl.load(sum_of + group, mask=channel < channels, other=0.0), 0)
    mean_product = tl.expand_dims(tl.load(product_of + group, mask=channel < channels, other=0.0), 0)
    slope = (slope - mean_slope - value * mean_product) * scale
    tl.store(dx + place, slope.to(dx.dtype.element_ty), mask=inside)


class _Shape:
    """How a picture's features are cut into tiles, and the grids of programs that follow."""

    def __init__(self, x: torch.Tensor, groups: int) -> None:
        self.rows, channels, height, width = x.shape
        self.groups = groups
        self.tiles = triton.cdiv(height * width, PIXELS)
        self.grid = (self.tiles, triton.cdiv(channels, CHANNELS), self.rows)
        self.sizes = (height * width, channels, channels // groups, groups)
        self.tiled = (height * width, channels, self.tiles, channels // groups)
        # The same for every width of Kolors, so that one kernel serves them all.
        self.cut = {"PIXELS": PIXELS, "TILES": TILES, "WIDTH": max(128, _power(channels // groups))}

    def parts(self, x: torch.Tensor) -> torch.Tensor:
        """Make room for two numbers of every channel in every tile."""
        return x.new_empty((2, self.rows, self.tiles, x.shape[1]), dtype=torch.float32)

    def wholes(self, x: torch.Tensor) -> torch.Tensor:
        """Make room for two numbers of every group."""
        return x.new_empty((2, self.rows, self.groups), dtype=torch.float32)


def group_norm(
    x: torch.Tensor,
    added: torch.Tensor | None,
    weight: torch.Tensor,
    bias: torch.Tensor,
    *,
    groups: int,
    eps: float,
    silu: bool,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Normalise x + added within groups of channels, perhaps through SiLU.

    x: (B, C, H, W), channels last in memory. added: (B, C) or None. Returns y like x, and each group's mean (B, groups)
    and 1 / standard deviation, float32.
    """
    shape = _Shape(x, groups)
    parts, (mean_of, scale_of) = shape.parts(x), shape.wholes(x)
    y = torch.empty_like(x)
    cut = {"PIXELS": PIXELS, "CHANNELS": CHANNELS, "ADDS": added is not None}
    given = x if added is None else added
    _moments[shape.grid](x, given, *parts, *shape.sizes[:2], **cut)
    _combine_moments[groups, shape.rows](*parts, mean_of, scale_of, *shape.tiled, eps, **shape.cut)
    _normalise[shape.grid](x, given, mean_of, scale_of, weight, bias, y, *shape.sizes, SILU=silu, **cut)
    return y, mean_of, scale_of


def group_norm_gradient(
    dy: torch.Tensor,
    x: torch.Tensor,
    added: torch.Tensor | None,
    weight: torch.Tensor,
    bias: torch.Tensor,
    mean_of: torch.Tensor,
    scale_of: torch.Tensor,
    *,
    silu: bool,
) -> torch.Tensor:
    """Give the gradient of ``group_norm``'s x, from its y's and what it returned; dy channels last, like x."""
    shape = _Shape(x, mean_of.shape[1])
    parts, wholes = shape.parts(x), shape.wholes(x)
    dx = torch.empty_like(x)
    cut = {"PIXELS": PIXELS, "CHANNELS": CHANNELS, "ADDS": added is not None, "SILU": silu}
    known = (x, dy, x if added is None else added, mean_of, scale_of, weight, bias)
    _sum_slopes[shape.grid](*known, *parts, *shape.sizes, **cut)
    _combine_slopes[shape.groups, shape.rows](*parts, *wholes, *shape.tiled, **shape.cut)
    _descend[shape.grid](*known, *wholes, dx, *shape.sizes, **cut)
    return dx


def _power(number: int) -> int:
    return 1 << (number - 1).bit_length()


@triton.jit
def _layer_norm(
    x, added, weight, bias, total, y, mean_of, scale_of, channels, eps, ADDS: tl.constexpr, BLOCK: tl.constexpr
):
    """Write x + added, and it normalised."""
    row = tl.program_id(0)
    channel = tl.arange(0, BLOCK)
    inside = channel < channels
    at = row.to(tl.int64) * channels + channel
    value = tl.load(x + at, mask=inside, other=0.0)
    if ADDS:
        value += tl.load(added + at, mask=inside, other=0.0)
        tl.store(total + at, value, mask=inside)
    value = value.to(tl.float32)
    mean = tl.sum(value, 0) / channels
    deviation = tl.where(inside, value - mean, 0.0)
    scale = 1 / tl.sqrt(tl.sum(deviation * deviation, 0) / channels + eps)
    factor = tl.load(weight + channel, mask=inside, other=0.0).to(tl.float32)
    shift = tl.load(bias + channel, mask=inside, other=0.0).to(tl.float32)
    tl.store(y + at, (deviation * scale * factor + shift).to(y.dtype.element_ty), mask=inside)
    tl.store(mean_of + row, mean)
    tl.store(scale_of + row, scale)


@triton.jit
def _layer_norm_gradient(
    dy, more, total, weight, mean_of, scale_of, dx, channels, ADDS: tl.constexpr, BLOCK: tl.constexpr
):
    """Write the gradient of what was normalised, plus the one that reaches it otherwise."""
    row = tl.program_id(0)
    channel = tl.arange(0, BLOCK)
    inside = channel < channels
    at = row.to(tl.int64) * channels + channel
    scale = tl.load(scale_of + row)
    value = tl.load(total + at, mask=inside, other=0.0).to(tl.float32)
    value = tl.where(inside, (value - tl.load(mean_of + row)) * scale, 0.0)
    slope = tl.load(dy + at, mask=inside, other=0.0).to(tl.float32)
    slope *= tl.load(weight + channel, mask=inside, other=0.0).to(tl.float32)
    slope = (slope - tl.sum(slope, 0) / channels - value * (tl.sum(slope * value, 0) / channels)) * scale
    if ADDS:
        slope += tl.load(more + at, mask=inside, other=0.0).to(tl.float32)
    tl.store(dx + at, slope.to(dx.dtype.element_ty), mask=inside)


def layer_norm(
    x: torch.Tensor, added: torch.Tensor | None, weight: torch.Tensor, bias: torch.Tensor, *, eps: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Add up x and added, and normalise that over the last dimension.

    x, added: (..., C), contiguous. Returns the sum (x itself when nothing is added) and y, like x, and each row's mean
    and 1 / standard deviation, float32.
    """
    channels = x.shape[-1]
    rows = x.numel() // channels
    total = x if added is None else torch.empty_like(x)
    y = torch.empty_like(x)
    mean_of, scale_of = x.new_empty((2, rows), dtype=torch.float32)
    cut = {"ADDS": added is not None, "BLOCK": _power(channels)}
    given = x if added is None else added
    _layer_norm[rows,](x, given, weight, bias, total, y, mean_of, scale_of, channels, eps, **cut)
    return total, y, mean_of, scale_of


def layer_norm_gradient(
    dy: torch.Tensor,
    more: torch.Tensor | None,
    total: torch.Tensor,
    weight: torch.Tensor,
    mean_of: torch.Tensor,
    scale_of: torch.Tensor,
) -> torch.Tensor:
    """Give the gradient of x, and of added, from those of ``layer_norm``'s y and (``more``) of the sum."""
    channels = total.shape[-1]
    dx = torch.empty_like(total)
    cut = {"ADDS": more is not None, "BLOCK": _power(channels)}
    given = dy if more is None else more
    _layer_norm_gradient[total.numel() // channels,](dy, given, total, weight, mean_of, scale_of, dx, channels, **cut)
    return dx
