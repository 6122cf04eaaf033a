"""One untrusted file in, one plain 8-bit RGB picture out, or the reason why not."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from PIL import Image, ImageCms, ImageFile, ImageOps, PngImagePlugin

from kolora.limits import MAX_PICTURE, MAX_PIXELS

_SIGNATURES = (
    ("JPEG", b"\xff\xd8\xff"),
    ("PNG", b"\x89PNG\r\n\x1a\n"),
    ("GIF", b"GIF87a"),
    ("GIF", b"GIF89a"),
    ("BMP", b"BM"),
    ("TIFF", b"II*\0"),
    ("TIFF", b"MM\0*"),
)
"""The formats that are opened at all, by their first bytes; WebP's sit in two places. Nothing else reaches a decoder:
some of Pillow's would start another program or read other files."""

_KNOWN = "JPEG, PNG, WebP, TIFF, BMP or GIF"

_ENDINGS = {
    "JPEG": {".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"},
    "PNG": {".png", ".apng"},
    "WEBP": {".webp"},
    "TIFF": {".tif", ".tiff"},
    "BMP": {".bmp", ".dib"},
    "GIF": {".gif"},
}

LONGEST_SIDE = 65500
"""Pixels of a side that libjpeg writes, and with it the training set."""

_TEXT_BYTES = 64 * 2**20
"""A PNG's texts and colour profile, decompressed; Pillow's own bound is less than tools' workflows take."""

_NARROW = [value * 255 // 65535 for value in range(65536)]
"""16 bits to 8, scaled."""


@dataclass(frozen=True)
class Picture:
    """A picture any stage can take: 8-bit RGB, upright, without transparency.

    notes: what was done to it that a reader of the ledger may wonder about.
    """

    image: Image.Image
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Rejection:
    """Why a file is no picture to train on: a kind to count by, and what more is known."""

    kind: str
    detail: str = ""

    @property
    def reason(self) -> str:
        return f"{self.kind}: {self.detail}" if self.detail else self.kind


def read_picture(path: Path, *, max_pixels: int, content: bytes | None = None) -> Picture | Rejection:
    """Turn a file into a plain picture, or say why it cannot be one; content: its bytes, where they are read already.

    Turned by EXIF, its colours brought to sRGB, 16 bits scaled to 8, transparency laid on white, the first frame of
    an animation. Files above ``max_pixels``, or what the machine's owner allows, by their header are never decoded.
    Raises OSError where the disk fails.
    """
    allowed = min(max_pixels, MAX_PIXELS.value)
    with path.open("rb") if content is None else io.BytesIO(content) as file:
        head = file.read(32)
        size = file.seek(0, io.SEEK_END)
        if size == 0:
            return Rejection("empty file")
        # A TIFF's header may say that half of the file is one tag, which is read into memory.
        if size > MAX_PICTURE.value:
            return Rejection("file too large", f"{size:,} bytes, more than {MAX_PICTURE}")
        name = _format_of(head)
        if name is None:
            return Rejection("not a picture", f"its first bytes are none of {_KNOWN}")
        if name == "WEBP" and size < int.from_bytes(head[4:8], "little") + 8:
            return Rejection("truncated file", f"{size} bytes of {int.from_bytes(head[4:8], 'little') + 8}")
        with _complaints() as complaints:
            try:
                with Image.open(file, formats=(name,)) as image:
                    width, height = image.size
                    if width * height > allowed:
                        return Rejection("too many pixels", f"{width} x {height}, more than {allowed}")
                    if max(width, height) > LONGEST_SIDE:
                        return Rejection("too long", f"{width} x {height}, a side may have {LONGEST_SIDE} pixels")
                    picture = _plain(image)
            # Decoders fed with hostile bytes raise whatever they like; only the disk's own errors are not about
            # the picture.
            except Exception as error:
                if isinstance(error, OSError) and error.errno is not None:
                    raise
                return _damage(error)
    if isinstance(picture, Rejection):
        return picture
    notes = list(picture.notes)
    if path.suffix.lower() not in _ENDINGS[name]:
        notes.insert(0, f"a {name} named {path.suffix or 'without an ending'}")
    return Picture(picture.image, (*notes, *dict.fromkeys(str(complaint.message) for complaint in complaints)))


def ending_of(content: bytes) -> str:
    """Name the ending a picture's bytes should have, ``.jpg``; empty for what is no picture."""
    name = _format_of(content[:32])
    return {"JPEG": ".jpg", "TIFF": ".tif"}.get(name, f".{name.lower()}") if name else ""


def _format_of(head: bytes) -> str | None:
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    return next((name for name, signature in _SIGNATURES if head.startswith(signature)), None)


@contextmanager
def _complaints() -> Iterator[list[warnings.WarningMessage]]:
    """Collect Pillow's warnings, and leave its limits to the data set and to us: Pillow's own are constants."""
    before = Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_CHUNK
    Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_CHUNK = None, _TEXT_BYTES
    try:
        with warnings.catch_warnings(record=True) as complaints:
            warnings.simplefilter("always")
            yield complaints
    finally:
        Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_CHUNK = before


def _damage(error: Exception) -> Rejection:
    words = str(error) or type(error).__name__
    truncated = isinstance(error, EOFError) or any(word in words.lower() for word in ("truncat", "end of", "eof"))
    return Rejection(
        "truncated file" if truncated else "damaged file", "" if words == "image file is truncated" else words
    )


def _plain(image: ImageFile.ImageFile) -> Picture | Rejection:
    """Convert an opened picture; the order matters: pixels, upright, depth, transparency, colours."""
    notes = []
    # Pillow narrows the samples of most modes as it decodes them; only the raw mode still tells.
    deep = ";16" in repr(image.tile)
    image.load()
    # The second picture of an MPO is a phone's preview, not an animation.
    if image.format != "MPO" and getattr(image, "is_animated", False):
        notes.append("first frame of several")
        image.seek(0)
    # A TIFF was turned as it was loaded.
    if image.getexif().get(0x0112, 1) in range(2, 9):
        notes.append("turned by EXIF")
    profile = image.info.get("icc_profile")
    plain = ImageOps.exif_transpose(image)

    if plain.mode == "F" or (plain.mode == "I" and not _fits_16_bits(plain)):
        return Rejection("unknown range", f"{plain.mode} samples have no agreed white")
    if plain.mode == "I" or plain.mode.startswith("I;16"):
        deep = True
        plain = plain.convert("I").point(_NARROW, "L")
        plain.info.pop("transparency", None)
    if deep:
        notes.append("16 bits scaled to 8")
    if plain.mode == "CMYK":
        notes.append("from CMYK")
    elif plain.has_transparency_data:
        plain = plain.convert("RGBA")
        if plain.getchannel("A").getextrema() != (255, 255):
            notes.append("transparency laid on white")
        plain = Image.alpha_composite(Image.new("RGBA", plain.size, "white"), plain).convert("RGB")
    else:
        plain = plain.convert("RGB")
    if profile:
        plain, note = _to_srgb(plain, profile)
        notes += note
    plain = plain.convert("RGB")
    # Profiles, dates and comments would be saved along: other bytes for the same picture.
    plain.info = {}
    return Picture(plain, tuple(notes))


def _fits_16_bits(image: Image.Image) -> bool:
    lowest, highest = cast("tuple[int, int]", image.getextrema())
    return lowest >= 0 and highest <= 65535


def _to_srgb(image: Image.Image, icc: bytes, /) -> tuple[Image.Image, list[str]]:
    """Bring the colours of an RGB or CMYK picture from its own profile to sRGB, and say so."""
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        space = profile.profile.xcolor_space.strip()
        if space != image.mode or "sRGB" in ImageCms.getProfileDescription(profile):
            return image, []
        srgb = ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError):
        return image, ["its colour profile could not be used"]
    return srgb or image, ["colours brought to sRGB"]
