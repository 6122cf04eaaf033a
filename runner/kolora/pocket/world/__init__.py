"""The little world: cartoon scenes drawn from a description, with captions in Chinese and English."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace

from PIL import Image

from kolora.pocket import WORLD_VERSION as VERSION
from kolora.pocket.world.caption import caption
from kolora.pocket.world.picture import draw
from kolora.pocket.world.scene import HELD_OUT, STYLES, Figure, WorldScene, sample_scene

__all__ = ["HELD_OUT", "STYLES", "VERSION", "Figure", "WorldScene", "caption", "draw", "draw_set", "sample_scene"]


def draw_set(*, style: str, count: int, seed: int, language: str) -> Iterator[tuple[Image.Image, str]]:
    """Yield ``count`` clean pictures of one style (of STYLES or HELD_OUT) with captions that name it.

    language: ``zh`` or ``en``. Every picture is a function of seed, style and its place in the row.
    """
    if style not in STYLES + HELD_OUT:
        raise ValueError(f"style {style!r} is none of {', '.join(STYLES + HELD_OUT)}")
    for number in range(count):
        # Text seeds by its sha512: the same in every process, whatever Python's hash seed.
        rng = random.Random(f"{seed} {style} {number}")  # noqa: S311
        scene = replace(sample_scene(rng, style=style), spoilt=())
        yield draw(scene, seed=rng.getrandbits(48)), caption(scene, rng, language, complete=True)
