"""The drawing styles: how each colours and outlines shapes, and how it finishes the picture."""

from __future__ import annotations

import colorsys
import random
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageOps

from kolora.pocket.world.pen import Colour, Look, dark, mixed

Finish = Callable[[Image.Image, random.Random], Image.Image]


def _same(colour: Colour) -> Colour:
    return colour


def _outline(colour: Colour) -> Colour:
    return mixed(dark(colour, 0.5), (44, 28, 48), 0.72)


def _washed(colour: Colour) -> Colour:
    return mixed(colour, (255, 252, 244), 0.3)


def _waxy(colour: Colour) -> Colour:
    return mixed(colour, (255, 248, 232), 0.1)


def _glowing(colour: Colour) -> Colour:
    """Turn a colour to night: dark and saturated, leaning to violet; only vivid ones stay bright."""
    h, light_, s = colorsys.rgb_to_hls(*(c / 255 for c in colour))
    if light_ > 0.955:
        return (234, 230, 255)
    vivid = s * (1 - abs(2 * light_ - 1))
    night = mixed((int(255 * light_ * 0.42), int(255 * light_ * 0.3), int(60 + 255 * light_ * 0.42)), colour, 0.22)
    r, g, b = colorsys.hls_to_rgb(h, min(0.56, light_), 1.0)
    return mixed(night, (int(r * 255), int(g * 255), int(b * 255)), min(0.85, vivid * 1.1))


def _neon_edge(colour: Colour) -> Colour:
    h, light_, s = colorsys.rgb_to_hls(*(c / 255 for c in colour))
    if s * (1 - abs(2 * light_ - 1)) < 0.25:
        return (110, 235, 255) if light_ > 0.45 else (255, 90, 200)
    r, g, b = colorsys.hls_to_rgb(h, 0.7, 1.0)
    return int(r * 255), int(g * 255), int(b * 255)


def _luma(colour: Colour) -> float:
    return 0.3 * colour[0] + 0.59 * colour[1] + 0.11 * colour[2]


def _pencilled(colour: Colour) -> Colour:
    return mixed(_graphite(colour), colour, 0.62)


def _graphite(colour: Colour) -> Colour:
    """Turn a colour to the grey of a pencil on white paper."""
    grey = int(92 + 0.64 * _luma(colour))
    return grey, grey, grey


def _aged(colour: Colour) -> Colour:
    return mixed(_sepia(colour), colour, 0.55)


def _sepia(colour: Colour) -> Colour:
    """Turn a colour to brown on cream, with a little of itself."""
    return mixed(mixed((58, 36, 18), (250, 232, 196), _luma(colour) / 255), colour, 0.16)


def _inked(colour: Colour) -> Colour:
    """Turn a colour to ink grey with mineral pigment where it was vivid."""
    return mixed(_far_ink(colour), colour, min(0.8, max(0.0, (max(colour) - min(colour)) / 255 - 0.14) * 1.9))


def _far_ink(colour: Colour) -> Colour:
    """Turn a colour to ink grey with a breath of itself."""
    grey = min(255, int(58 + int(_luma(colour)) * 0.82))
    return mixed((grey, grey, max(0, grey - 4)), colour, 0.13)


def _glazed(colour: Colour) -> Colour:
    """Turn a colour to cobalt on white glaze, by its lightness alone."""
    return mixed((26, 52, 140), (250, 252, 255), min(1.0, (_luma(colour) / 255) ** 1.15 * 1.08))


LOOKS: dict[str, Look] = {
    "anime": Look(_same, _outline, width=1.15),
    "watercolor": Look(_washed, lambda c: mixed(dark(c, 0.3), c, 0.35), width=0.7),
    "crayon": Look(_waxy, lambda c: mixed(dark(c, 0.42), c, 0.15), width=1.9),
    "papercut": Look(_same, None, width=1.7, border=(255, 252, 244), shadow=2.0),
    "pixel": Look(_same, _outline, width=1.5),
    "neon": Look(_glowing, _neon_edge, width=1.1),
    "pencil": Look(_pencilled, lambda c: mixed((66, 66, 70), c, 0.12), width=1.0, far=_graphite),
    "vintage": Look(_aged, lambda c: mixed((74, 48, 30), c, 0.2), width=0.9, far=_sepia),
    "ink": Look(_inked, lambda c: mixed((34, 32, 36), c, 0.08), width=1.5, far=_far_ink),
    "porcelain": Look(_glazed, lambda _: (22, 44, 128), width=1.3),
}


def grain(rng: random.Random, size: int, cells: int, *, stretch: int = 1) -> np.ndarray:
    """Return smooth noise of the picture's size in -1 to 1, ``cells`` bumps across (fewer along when stretched)."""
    field = np.random.default_rng(rng.getrandbits(63)).standard_normal((max(2, cells // stretch), cells))
    image = Image.fromarray(np.clip(field * 42 + 128, 0, 255).astype(np.uint8))
    wide = image.resize((size, size), Image.Resampling.BICUBIC)
    return (np.asarray(wide, dtype=np.float32) - 128) / 128


def _anime(image: Image.Image, rng: random.Random) -> Image.Image:
    return image


def _watercolor(image: Image.Image, rng: random.Random) -> Image.Image:
    size = image.width
    soft = image.filter(ImageFilter.GaussianBlur(0.9))
    pixels = np.asarray(soft, dtype=np.float32)
    pooled = np.asarray(image.filter(ImageFilter.GaussianBlur(4)), dtype=np.float32)
    pixels = pixels - np.clip(pooled - pixels, 0, 40) * 0.5
    wash = grain(rng, size, 9) * 0.16 + grain(rng, size, 96) * 0.05
    pixels = 255 - (255 - pixels) * (1 + wash[..., None])
    reach = np.linspace(-1, 1, size, dtype=np.float32)
    rim = np.maximum(np.abs(reach)[None, :], np.abs(reach)[:, None]) + grain(rng, size, 12) * 0.07
    bare = np.clip((rim - 0.9) / 0.07, 0, 1)[..., None]
    return _image(pixels * (1 - bare) + np.array((253, 250, 241), np.float32) * bare)


def _crayon(image: Image.Image, rng: random.Random) -> Image.Image:
    size = image.width
    wide = Image.fromarray(((grain(rng, size * 3 // 2, 150, stretch=9) + 1) * 127).astype(np.uint8))
    turned = wide.rotate(rng.choice((38, 45, 52)), Image.Resampling.BILINEAR)
    margin = size // 4
    strokes = np.asarray(turned, dtype=np.float32)[margin : margin + size, margin : margin + size]
    bare = np.clip((strokes - 128) / 128 * 0.62 + grain(rng, size, 128) * 0.16, -0.12, 0.25)[..., None]
    pixels = np.asarray(image, dtype=np.float32)
    return _image(pixels + (np.array((255, 250, 236), np.float32) - pixels) * bare)


def _papercut(image: Image.Image, rng: random.Random) -> Image.Image:
    fibre = grain(rng, image.width, 110)[..., None] * 7
    return _image(np.asarray(image, dtype=np.float32) + fibre)


def _pixel(image: Image.Image, rng: random.Random) -> Image.Image:
    small = image.resize((64, 64), Image.Resampling.BOX)
    poster = small.quantize(32, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).convert("RGB")
    return poster.resize(image.size, Image.Resampling.NEAREST)


def _neon(image: Image.Image, rng: random.Random) -> Image.Image:
    glow = image.point([max(0, v - 110) * 1.5 for v in range(256)] * 3).filter(ImageFilter.GaussianBlur(4))
    lit = ImageChops.screen(image, glow)
    lines = Image.new("RGB", (1, 4), (255, 255, 255))
    lines.putpixel((0, 3), (214, 206, 226))
    scan = np.tile(np.asarray(lines), (image.height // 4, image.width, 1))
    return ImageChops.multiply(lit, Image.fromarray(scan))


def _pencil(image: Image.Image, rng: random.Random) -> Image.Image:
    size = image.width
    hatching = grain(rng, size, 170, stretch=5) * 0.5 + grain(rng, size, 128) * 0.35
    pixels = np.asarray(image, dtype=np.float32)
    tooth = np.clip(hatching * 0.5 + 0.08, -0.08, 0.32)[..., None]
    return _image(pixels + (np.array((252, 251, 247), np.float32) - pixels) * tooth)


def _vintage(image: Image.Image, rng: random.Random) -> Image.Image:
    size = image.width
    pixels = np.asarray(image.filter(ImageFilter.GaussianBlur(1.1)), dtype=np.float32)
    reach = np.linspace(-1, 1, size, dtype=np.float32)
    rim = np.sqrt(reach[None, :] ** 2 + reach[:, None] ** 2) + grain(rng, size, 5) * 0.1
    faded = np.clip((rim - 0.8) / 0.6, 0, 0.85)[..., None]
    pixels = pixels + grain(rng, size, 128)[..., None] * 5
    return _image(pixels + (np.array((240, 222, 188), np.float32) - pixels) * faded)


def _ink(image: Image.Image, rng: random.Random) -> Image.Image:
    size = image.width
    bled = np.asarray(image.filter(ImageFilter.GaussianBlur(2.6)), dtype=np.float32)
    crisp = np.asarray(image, dtype=np.float32)
    pixels = np.minimum(bled, crisp * 0.75 + bled * 0.25)
    flow = grain(rng, size, 6) * 0.3 + grain(rng, size, 20) * 0.16 + grain(rng, size, 128) * 0.08
    depth = np.clip(1.04 - pixels / 255, 0, 1) ** 1.1 * (1 + flow[..., None])
    reach = np.linspace(-1, 1, size, dtype=np.float32)
    rim = np.sqrt(reach[None, :] ** 2 + reach[:, None] ** 2) + grain(rng, size, 7) * 0.3
    mist = np.clip((rim - 0.72) / 0.5, 0, 1)[..., None]
    paper = np.array((246, 238, 218), np.float32)
    washed = _image(paper * (1 - depth * (1 - 0.95 * mist)))
    pen = ImageDraw.Draw(washed)
    x, y = (224 if rng.random() < 0.5 else 12), 222
    pen.rounded_rectangle([x, y, x + 20, y + 20], 3, fill=(190, 44, 38))
    for k in range(3):
        pen.line([(x + 5 + 5 * k, y + 5), (x + 5 + 5 * k, y + 15)], fill=(246, 226, 206), width=2)
    return washed


def _porcelain(image: Image.Image, rng: random.Random) -> Image.Image:
    size = image.width
    soft = ImageOps.autocontrast(image.convert("L"), cutoff=1)
    grey = np.asarray(soft, dtype=np.float32) / 255
    grey = np.clip(grey + grain(rng, size, 40) * 0.08, 0, 1)[..., None]
    pixels = np.array((24, 50, 142), np.float32) * (1 - grey) + np.array((247, 250, 253), np.float32) * grey
    plate = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    pen = ImageDraw.Draw(plate)
    for inset, width in ((0, 7), (11, 2)):
        pen.rounded_rectangle(
            [inset, inset, size - 1 - inset, size - 1 - inset], 26, outline=(34, 66, 160), width=width
        )
    for corner in ((0, 0), (size, 0), (0, size), (size, size)):
        pen.ellipse([corner[0] - 22, corner[1] - 22, corner[0] + 22, corner[1] + 22], fill=(34, 66, 160))
        pen.ellipse([corner[0] - 14, corner[1] - 14, corner[0] + 14, corner[1] + 14], fill=(236, 242, 252))
    return plate


def _image(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


FINISHES: dict[str, Finish] = {
    "anime": _anime,
    "watercolor": _watercolor,
    "crayon": _crayon,
    "papercut": _papercut,
    "pixel": _pixel,
    "neon": _neon,
    "pencil": _pencil,
    "vintage": _vintage,
    "ink": _ink,
    "porcelain": _porcelain,
}
