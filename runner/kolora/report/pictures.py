"""Previews of the pictures, small enough that the page stays one light file; each leads to the full picture."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from PIL import Image

from kolora.folders import Folder
from kolora.limits import MAX_PIXELS
from kolora.report.data import SECTIONS, ReportData

PAGE_BYTES = 4_900_000
"""For the whole page, text and pictures."""
LEAST_BYTES = 400_000
"""For the pictures, however long the texts are."""
FORMATS = ("PNG", "JPEG", "WEBP")
"""What a run publishes; a stranger's bytes do not choose which of Pillow's many decoders reads them."""
TRIES = ((1.0, 88), (1.0, 80), (0.75, 80), (0.6, 76), (0.45, 72), (0.3, 68), (0.2, 60))
"""Share of the wanted width and JPEG quality, tried in turn until the picture fits its share of the page."""


@dataclass(frozen=True)
class Preview:
    """A picture as a data URI, with the pixels it has."""

    uri: str
    width: int
    height: int


def make_previews(out: Folder, data: ReportData, *, text_bytes: int) -> Mapping[str, Preview]:
    """Return a preview by path for each picture of a report that can be read; paths are relative to `out`.

    text_bytes: length of the page without pictures. Base64 adds a third to what is encoded here.
    """
    room = max(LEAST_BYTES, (PAGE_BYTES - text_bytes) * 3 // 4)
    jobs: dict[str, tuple[int, int]] = {}
    for section in SECTIONS:
        for group in section.picture_groups(data):
            paths = [path for path in group.paths if path]
            for path in paths:
                jobs.setdefault(path, (group.width, room * group.share // 100 // len(paths)))
    return encode(out, jobs)


def encode(out: Folder, jobs: Mapping[str, tuple[int, int]]) -> Mapping[str, Preview]:
    """Return a preview by path for each picture that can be read, at most so wide and of at most so many bytes."""
    with ThreadPoolExecutor() as pool:  # Pillow decodes and encodes outside the interpreter's lock
        made = pool.map(lambda path: _preview(out, path, width=jobs[path][0], room=jobs[path][1]), jobs)
        return {path: preview for path, preview in zip(jobs, made, strict=True) if preview}


def _preview(out: Folder, path: str, *, width: int, room: int) -> Preview | None:
    """Reduce a picture until its JPEG has at most `room` bytes; None where it is no picture."""
    try:
        with out.opened(path) as file, Image.open(file, formats=FORMATS) as opened:
            if opened.width * opened.height > MAX_PIXELS.value:
                return None
            picture = opened.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):  # what Pillow raises on bad bytes
        return None
    # A picture that is smaller than its place is not blown up: that costs bytes and shows nothing more.
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
