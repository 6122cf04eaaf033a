"""How a picture is cut for training: squares, or the size of equal area that its shape is nearest to."""

from __future__ import annotations

import math

import torch
from PIL import Image, ImageOps

_RANDOM_CROPS = 4
"""Places a picture is cut at when crops are random: latents are cached, so they are drawn once, not every step."""
_STRETCH = 2.0
"""The widest and the tallest bucket's sides are as 2 to 1."""
STEP = 64
"""Sides of buckets are multiples of this many pixels."""

Size = tuple[int, int]


def bucket_sizes(resolution: int) -> tuple[Size, ...]:
    """List the sizes (width, height) of about resolution x resolution pixels, never more, from tall to wide."""
    widths = range(STEP, int(resolution * _STRETCH) + 1, STEP)
    sizes = [(width, resolution * resolution // width // STEP * STEP) for width in widths]
    return tuple(size for size in sizes if size[1] and 1 / _STRETCH <= size[0] / size[1] <= _STRETCH)


def bucket_for(size: Size, *, resolution: int) -> Size:
    """Choose the bucket whose shape is nearest to a picture's; of equally near ones the larger."""
    # By logarithms, in which twice as wide is as far from square as twice as tall.
    shape = math.log(size[0] / size[1])
    return min(
        bucket_sizes(resolution),
        key=lambda each: (abs(math.log(each[0] / each[1]) - shape), -each[0] * each[1]),
    )


def cut(picture: Image.Image, *, resolution: int, crop: str, flip: bool, rng: torch.Generator) -> list[Image.Image]:
    """Cut a picture's variants: it is scaled until its shorter side fits, then the longer one is cut.

    crop: "center", "random" (several places, of which training draws one a step) or "bucket". flip: each also mirrored.
    """
    size = bucket_for(picture.size, resolution=resolution) if crop == "bucket" else (resolution, resolution)
    places = torch.rand(_RANDOM_CROPS, generator=rng).tolist() if crop == "random" else [0.5]
    pieces = [ImageOps.fit(picture, size, Image.Resampling.LANCZOS, centering=(place, place)) for place in places]
    return pieces + [ImageOps.mirror(piece) for piece in pieces] if flip else pieces
