"""A submission's pictures, held against those drawn here: their pixels, and everything else that is in their files."""

from __future__ import annotations

import struct
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from kolora.verification.words import Finding, excerpt

SIGNATURE = b"\x89PNG\r\n\x1a\n"
TEXT_CHUNKS = (b"tEXt", b"iTXt", b"zTXt")
COLOURS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Samples a pixel, by a PNG's colour type."""
LARGEST_PICTURE = 512 * 2**20
CHECKPOINT = "kolora.checkpoint"


@dataclass(frozen=True)
class Chunk:
    """One chunk of a PNG; keyword: of a text chunk, else empty."""

    kind: bytes
    keyword: str
    content: bytes

    @property
    def name(self) -> str:
        """Say what it is: its type, and of a text its keyword."""
        kind = self.kind.decode("latin-1")
        return f"{kind} {excerpt(self.keyword)}" if self.keyword else kind

    @property
    def text(self) -> str:
        """Say what it holds; of a text, what follows its keyword."""
        if self.kind == b"iTXt":
            # Keyword, two flags, language and translated keyword, each but the flags ended by a zero.
            content = self.content.partition(b"\0")[2][2:].split(b"\0", 2)[-1]
        else:
            content = self.content.partition(b"\0")[2] if self.keyword else self.content
        return content.decode("utf-8", errors="replace")


@dataclass(frozen=True)
class Png:
    """A PNG taken apart. chunks: all but those of the pixels. trailing: whether something follows its end."""

    size: tuple[int, int]
    head: bytes
    chunks: tuple[Chunk, ...]
    pixels: bytes
    trailing: bool


def read_png(path: Path) -> Png:
    """Take a PNG apart without decoding it; raises ValueError for what is none."""
    if path.stat().st_size > LARGEST_PICTURE:
        raise ValueError("the file is too large")
    content = path.read_bytes()
    if not content.startswith(SIGNATURE):
        raise ValueError("it does not begin like one")
    place = len(SIGNATURE)
    chunks, pixels, head = [], [], b""
    while place < len(content):
        length, kind = struct.unpack(">L4s", content[place : place + 8].ljust(8, b"\0"))
        data, checksum = content[place + 8 : place + 8 + length], content[place + 8 + length : place + 12 + length]
        if len(checksum) < 4 or zlib.crc32(kind + data) != struct.unpack(">L", checksum)[0]:
            raise ValueError("a chunk is damaged")
        place += 12 + length
        if kind == b"IHDR" and not head:
            head = data
        elif kind == b"IDAT":
            pixels.append(data)
        elif kind != b"IEND":
            keyword = data.partition(b"\0")[0].decode("latin-1") if kind in TEXT_CHUNKS else ""
            chunks.append(Chunk(kind, keyword, data))
        if kind == b"IEND":
            break
    if len(head) != 13:
        raise ValueError("it has no head")
    return Png(struct.unpack(">LL", head[:8]), head, tuple(chunks), b"".join(pixels), place < len(content))


def picture_findings(
    name: str, theirs: Path, ours: Path, *, former_checkpoint: str | None = None
) -> tuple[bool, list[Finding]]:
    """Say whether a picture can be compared with the one drawn here, pixel by pixel, and what else it holds wrongly.

    theirs, ours: two PNG files with other bytes; of theirs, a copy, nothing but the pixels is left. former_checkpoint:
    what an older kolora called the checkpoint.
    """
    try:
        stated, made = read_png(theirs), read_png(ours)
        if stated.size != made.size:
            # Never decoded: a few kilobytes of PNG may unpack to gigabytes.
            return False, [Finding("size", (name, *map(str, (*stated.size, *made.size))))]
        findings = list(_chunk_findings(name, stated.chunks, made.chunks, former_checkpoint))
        if stated.head != made.head:
            return False, [*findings, Finding("picture_form", (name, _form(stated.head)))]
        if stated.trailing or _has_trailing_pixels(stated):
            findings.append(Finding("trailing", (name,)))
        # From here on only what was looked at is decoded: Pillow would act on whatever else is in the file.
        theirs.write_bytes(SIGNATURE + _chunk(b"IHDR", stated.head) + _chunk(b"IDAT", stated.pixels) + _chunk(b"IEND"))
        with Image.open(theirs, formats=("PNG",)) as picture:
            picture.load()
    except (OSError, ValueError, SyntaxError, EOFError, zlib.error, Image.DecompressionBombError) as problem:
        return False, [Finding("unreadable", (name, str(problem)))]
    return True, findings


def _chunk(kind: bytes, content: bytes = b"") -> bytes:
    checksum = zlib.crc32(kind + content)
    return struct.pack(">L4s", len(content), kind) + content + struct.pack(">L", checksum)


def _form(head: bytes) -> str:
    depth, colour, *_, interlaced = head[8:13]
    return f"{depth} bit, colour type {colour}{', interlaced' if interlaced else ''}"


def _has_trailing_pixels(png: Png) -> bool:
    """Tell whether a PNG's compressed pixels hold more than the picture; raises ValueError where they hold less."""
    depth, colour = png.head[8:10]
    width, height = png.size
    # One byte before each row says how it is filtered.
    length = height * (1 + (width * depth * COLOURS.get(colour, 4) + 7) // 8)
    unpacker = zlib.decompressobj()
    unpacked = len(unpacker.decompress(png.pixels, length + 1))
    if unpacked < length:
        raise ValueError("its pixels end early")
    return unpacked > length or bool(unpacker.unused_data) or bool(unpacker.decompress(unpacker.unconsumed_tail, 1))


def _chunk_findings(
    name: str, stated: Sequence[Chunk], made: Sequence[Chunk], former_checkpoint: str | None
) -> Iterator[Finding]:
    """Compare chunks by their type and keyword; one more than is made here is foreign, one less states less."""
    ours = {chunk.name: chunk for chunk in made}
    counts = Counter(chunk.name for chunk in stated)
    checkpoint = next((chunk.text for chunk in made if chunk.keyword == CHECKPOINT), "")
    for chunk in stated:
        own = ours.get(chunk.name)
        if own is None or counts[chunk.name] > 1:
            yield Finding("chunk", (name, chunk.name))
        elif chunk.content != own.content:
            if former_checkpoint and chunk.text == _as_former(own.text, checkpoint, former_checkpoint):
                yield Finding("other_version", (name, chunk.keyword), "unchecked")
            else:
                yield Finding("stated_otherwise", (name, chunk.name, excerpt(chunk.text), excerpt(own.text)))
    for key in ours.keys() - counts.keys():
        yield Finding("not_stated", (name, key), "unchecked")


def _as_former(text: str, checkpoint: str, former: str) -> str:
    """Say a text as it was when the checkpoint was called by a digest of more files; A1111 is told ten digits of it."""
    return text.replace(checkpoint, former).replace(checkpoint[:10], former[:10]) if checkpoint else text
