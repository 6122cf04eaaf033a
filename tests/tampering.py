"""What a cheat does to a submission's files, with or without putting right what gives it away."""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml
from kolora.runfolder.manifest import write_manifest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

LORA = "lora/pytorch_lora_weights.safetensors"
SIGNATURE = b"\x89PNG\r\n\x1a\n"


def forge(pack: Path) -> None:
    """Make lock and manifest agree with the files again, as somebody who knows the formats would."""
    lock = yaml.safe_load((pack / "story.lock.yaml").read_text(encoding="utf-8"))
    there = [name for name in lock["results"] if (pack / name).is_file()]
    lock["results"] |= {name: hashlib.sha256((pack / name).read_bytes()).hexdigest() for name in there}
    lock["overrides"] = []
    (pack / "story.lock.yaml").write_text(yaml.safe_dump(lock, allow_unicode=True), encoding="utf-8")
    write_manifest(pack)


def set_pixel(pack: Path, change: Callable[[int], int], *, file: str = "images/01.png") -> None:
    """Change the red of one pixel, and leave the text chunks."""
    path = pack / file
    with Image.open(path) as opened:
        picture, texts = opened.convert("RGB"), dict(opened.text)
    red, *others = picture.getpixel((20, 20))
    picture.putpixel((20, 20), (change(red), *others))
    info = PngInfo()
    for key, value in texts.items():
        add = info.add_itxt if key.startswith("kolora.") else info.add_text
        add(key, value)
    picture.save(path, pnginfo=info)


def in_yaml(path: Path, change: Callable[[Any], None]) -> None:
    """Change a YAML file's values."""
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    change(values)
    path.write_text(yaml.safe_dump(values, allow_unicode=True), encoding="utf-8")


def change_weight(pack: Path, *, by: float, file: str = LORA) -> None:
    """Change the last weights of a LoRA's last tensor."""
    path = pack / file
    content = bytearray(path.read_bytes())
    for at in range(len(content) - 64, len(content), 4):
        struct.pack_into("<f", content, at, struct.unpack_from("<f", content, at)[0] + by)
    path.write_bytes(content)


def places_in(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the place of every single value, and of every list and mapping, as its keys and indices."""
    yield place
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places_in(item, (*place, key))


def changes_at(values: Any, place: tuple[Any, ...]) -> Iterator[str]:
    """Change one value in every way that its kind knows, in place; yields what was done, and then puts it back."""
    *path, last = place
    holder = values
    for key in path:
        holder = holder[key]
    value = holder[last]
    for name, other in _others(value):
        holder[last] = other
        yield name
    holder[last] = value
    if isinstance(holder, dict):
        order = list(holder.items())
        del holder[last]
        yield "removed"
        holder.clear()
        holder.update(order)


def _others(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, bool):
        yield "negated", not value
    elif isinstance(value, int):
        yield "raised", value + 1
    elif isinstance(value, float):
        # Less than any bound of equivalence: it must not pass for the same either.
        yield "raised a little", value + 1e-5
    elif isinstance(value, str):
        yield "rewritten", f"{value[:-1]}{'0' if value[-1:] != '0' else '1'}"
    elif isinstance(value, list):
        yield "lengthened", [*value, value[-1] if value else "added"]
    elif isinstance(value, dict):
        yield "added to", value | {"added": 1}
    else:
        yield "filled in", "something"


def chunks_of(content: bytes) -> list[tuple[bytes, bytes]]:
    """Take a PNG apart into its chunks' types and contents."""
    chunks, place = [], len(SIGNATURE)
    while place < len(content):
        length, kind = struct.unpack(">L4s", content[place : place + 8])
        chunks.append((kind, content[place + 8 : place + 8 + length]))
        place += 12 + length
    return chunks


def png_of(chunks: list[tuple[bytes, bytes]]) -> bytes:
    """Put a PNG together."""
    parts = [SIGNATURE]
    for kind, content in chunks:
        parts += [struct.pack(">L", len(content)), kind, content, struct.pack(">L", zlib.crc32(kind + content))]
    return b"".join(parts)


def header_of(content: bytes) -> tuple[dict[str, Any], bytes]:
    """Take a safetensors file apart into its header and its tensors."""
    length = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def safetensors_of(header: dict[str, Any], tensors: bytes) -> bytes:
    """Put a safetensors file together as kolora does."""
    text = json.dumps(header, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + tensors
