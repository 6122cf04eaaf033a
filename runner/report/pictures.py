"""Previews of the pictures, small enough that the page stays one light file; each leads to the full picture."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

PAGE_BYTES = 3_400_000
"""For all previews together before base64, which adds a third: the page stays under 5 MB."""
GRID_BYTES = 700_000
GRID_WIDTH, FEW_WIDTH, MANY_WIDTH = 1600, 1024, 512
"""Pixels: sharp at the width each has on a page."""
FEW = 12
TRIES = ((1.0, 88), (1.0, 80), (0.75, 80), (0.6, 76), (0.45, 72), (0.3, 68), (0.2, 60))
"""Share of the wanted width and JPEG quality, tried in turn until the picture fits its share of the page."""


@dataclass(frozen=True)
class Preview:
    """A picture as a data URI, with the pixels it has."""

    uri: str
    width: int
    height: int


def make_previews(out: Path, scenes: Sequence[str], grid: str | None) -> Mapping[str, Preview]:
    """Return a preview by path for each picture that can be read; paths are relative to `out`."""
    room = PAGE_BYTES - (GRID_BYTES if grid else 0)
    width = FEW_WIDTH if len(scenes) <= FEW else MANY_WIDTH
    jobs = [(path, width, room // len(scenes)) for path in scenes]
    if grid:
        jobs.append((grid, GRID_WIDTH, GRID_BYTES))
    with ThreadPoolExecutor() as pool:  # Pillow decodes and encodes outside the interpreter's lock
        made = pool.map(lambda job: _preview(out / job[0], width=job[1], room=job[2]), jobs)
        return {path: preview for (path, _, _), preview in zip(jobs, made, strict=True) if preview}


def _preview(path: Path, *, width: int, room: int) -> Preview | None:
    """Reduce a picture until its JPEG has at most `room` bytes; None where it is no picture."""
    try:
        with Image.open(path) as opened:
            picture = opened.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):  # what Pillow raises on bad bytes
        return None
    width = min(width, picture.width)
    content = b""
    for share, quality in TRIES:
        wanted = max(16, round(width * share))
        if wanted < picture.width:
            height = max(1, round(picture.height * wanted / picture.width))
            picture = picture.resize((wanted, height), Image.Resampling.LANCZOS, reducing_gap=1.0)
        buffer = io.BytesIO()
        # 4:4:4: red edges of drawings smear when colour is halved.
        picture.save(buffer, "JPEG", quality=quality, subsampling=0)
        content = buffer.getvalue()
        if len(content) <= room:
            break
    return Preview("data:image/jpeg;base64," + base64.b64encode(content).decode(), *picture.size)
