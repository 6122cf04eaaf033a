"""How pictures are spoilt: the faults that negative prompts name, each by an amount of 0 to 1."""

from __future__ import annotations

import random

import numpy as np
from PIL import Image, ImageFilter

from kolora.pocket.world.styles import grain


def spoil(image: Image.Image, fault: str, amount: float, rng: random.Random) -> Image.Image:
    """Return the picture with one fault: ugly, deformed, noisy, blurry or low_contrast."""
    return {"ugly": _ugly, "deformed": _deformed, "noisy": _noisy, "blurry": _blurry, "low_contrast": _low_contrast}[
        fault
    ](image, amount, rng)


def _ugly(image: Image.Image, amount: float, rng: random.Random) -> Image.Image:
    """Muddy the colours and smear dirty patches over them."""
    pixels = np.asarray(image, dtype=np.float32)
    mud = np.array((104, 96, 58), np.float32)
    grey = pixels.mean(axis=2, keepdims=True)
    pixels = pixels + (grey * 0.5 + mud * 0.5 - pixels) * (0.25 + 0.5 * amount)
    patch = np.clip(grain(rng, image.width, 14) * 2.2 - 0.5, 0, 1)[..., None] * (0.35 + 0.6 * amount)
    return _image(pixels + (np.array((62, 66, 34), np.float32) - pixels) * patch)


def _deformed(image: Image.Image, amount: float, rng: random.Random) -> Image.Image:
    """Push the picture about as if it were jelly."""
    size, reach = image.width, 9 + 22 * amount
    y, x = np.mgrid[0:size, 0:size].astype(np.float32)
    dx, dy = grain(rng, size, 6) * reach * 2.2, grain(rng, size, 6) * reach * 2.2
    column = np.clip(x + dx, 0, size - 1).astype(np.intp)
    row = np.clip(y + dy, 0, size - 1).astype(np.intp)
    return Image.fromarray(np.asarray(image)[row, column])


def _noisy(image: Image.Image, amount: float, rng: random.Random) -> Image.Image:
    dice = np.random.default_rng(rng.getrandbits(63))
    noise = dice.standard_normal((image.height, image.width, 3), dtype=np.float32)
    return _image(np.asarray(image, dtype=np.float32) + noise * (24 + 66 * amount))


def _blurry(image: Image.Image, amount: float, rng: random.Random) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(2.2 + 6 * amount))


def _low_contrast(image: Image.Image, amount: float, rng: random.Random) -> Image.Image:
    grey = Image.new("RGB", image.size, (134, 132, 134))
    return Image.blend(image, grey, 0.45 + 0.43 * amount)


def _image(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
