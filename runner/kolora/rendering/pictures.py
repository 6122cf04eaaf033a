"""PNG files that say what they show, and the grid."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo


def png_bytes(picture: Image.Image, texts: Mapping[str, str], *, plain: Mapping[str, str] | None = None) -> bytes:
    """Encode a PNG with text chunks (iTXt, UTF-8); the same picture and texts give the same bytes.

    plain: texts that other programs look for; as tEXt, the one kind that all of them read, where Latin letters do.
    """
    info = PngInfo()
    for key, value in (plain or {}).items():
        info.add_text(key, value)
    for key, value in texts.items():
        info.add_itxt(key, value)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", pnginfo=info, compress_level=6)
    return buffer.getvalue()


def paste_grid(
    paths: Sequence[Path], *, columns: int, width: int, height: int, gap: int, background: str
) -> Image.Image:
    """Paste pictures row by row into a grid of exactly width x height pixels, each fitted whole into its cell."""
    rows = -(-len(paths) // columns)
    # With one gap more than there are, every cell brings its own.
    ideal = ((width + gap) / columns - gap, (height + gap) / rows - gap)
    grid = Image.new("RGB", (width, height), background)
    for index, path in enumerate(paths):
        row, column = divmod(index, columns)
        left, right = (_edge(width, columns, gap, column + side) for side in (0, 1))
        top, bottom = (_edge(height, rows, gap, row + side) for side in (0, 1))
        cell = (right - gap - left, bottom - gap - top)
        with Image.open(path) as opened:
            picture = opened.convert("RGB")
        scale = min(ideal[0] / picture.width, ideal[1] / picture.height)
        size = (
            _side(picture.width * scale, ideal[0], cell[0]),
            _side(picture.height * scale, ideal[1], cell[1]),
        )
        fitted = picture if size == picture.size else picture.resize(size, Image.Resampling.LANCZOS)
        grid.paste(fitted, (left + (cell[0] - size[0]) // 2, top + (cell[1] - size[1]) // 2))
    return grid


def _side(fitted: float, ideal: float, cell: int) -> int:
    """Round a fitted side to pixels; one that comes within a pixel of its ideal cell fills the real one, seamlessly."""
    return cell if ideal - fitted < 1 else max(1, round(fitted))


def _edge(length: int, cells: int, gap: int, index: int) -> int:
    """Where cell ``index`` begins on a side of ``length`` pixels: edges are rounded, so the cells fill it exactly."""
    return round(index * (length + gap) / cells)
