"""What a cheat does to a submission's files, with or without putting right what gives it away."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from kolora.runfolder.manifest import write_manifest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

LORA = "lora/pytorch_lora_weights.safetensors"


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
        info.add_itxt(key, value)
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
