"""How far two pictures are apart: over the whole picture, and in the worst block, where one changed pixel shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from kolora.configs import VAE_FACTOR

BLOCK = VAE_FACTOR
"""Side of a block in pixels: what one cell of the latents covers."""


def picture_difference(one: Path, other: Path) -> dict[str, Any]:
    """Compare two pictures of one size.

    Returns ``identical``; ``psnr`` in dB, None where identical; ``worst_block``, the largest root mean square error of
    an 8 x 8 block over all channels, of 0 to 255; ``largest``, the largest error of a channel; ``changed``, how many
    pixels differ.
    """
    first, second = _pixels(one), _pixels(other)
    errors = np.abs(first - second)
    squares = errors**2
    height, width, _ = squares.shape
    # Sides are multiples of 64 by the story's schema; what is not fills up with zeros.
    padded = np.pad(squares, ((0, -height % BLOCK), (0, -width % BLOCK), (0, 0)))
    # (rows of blocks, 8, columns of blocks, 8, 3), averaged within each block.
    blocks = padded.reshape(padded.shape[0] // BLOCK, BLOCK, padded.shape[1] // BLOCK, BLOCK, 3).mean(axis=(1, 3, 4))
    mean = float(squares.mean())
    return {
        "identical": mean == 0,
        # Infinite where nothing differs, and JSON has no infinity.
        "psnr": None if mean == 0 else round(float(10 * np.log10(255**2 / mean)), 2),
        "worst_block": round(float(np.sqrt(blocks.max())), 3),
        "largest": int(errors.max()),
        "changed": int((errors.max(axis=2) > 0).sum()),
    }


def _pixels(path: Path) -> np.ndarray[Any, np.dtype[np.float32]]:
    # Not whatever of Pillow's many decoders a stranger's bytes would choose.
    with Image.open(path, formats=("PNG", "JPEG")) as picture:
        return np.asarray(picture.convert("RGB"), dtype=np.float32)
