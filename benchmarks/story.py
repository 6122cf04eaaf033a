"""The default story at the size of a measurement, and pictures for it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from kolora.spec import load_story
from kolora.spec.story import Story
from PIL import Image

SPEC = Path(__file__).parents[2] / "specs" / "story.yaml"
"""Its data set is of no use here: its settings and prompts count."""


@dataclass(frozen=True)
class Size:
    """What a measurement is of: a checkpoint, and how large and long; folder: what keeps its results."""

    folder: Path
    checkpoint: Path
    pixels: int
    steps: int
    render_steps: int

    def story(self) -> Story:
        """Read the default story with these settings."""
        keys = ("lora.resolution", "render.width", "render.height")
        settings = [*(f"{key}={self.pixels}" for key in keys), f"render.steps={self.render_steps}"]
        return load_story(SPEC.read_bytes(), name=SPEC.name, overrides=[*settings, f"lora.steps={self.steps}"])


def photo(number: int, pixels: int) -> Image.Image:
    """Draw a picture with something at every frequency."""
    rough = np.random.default_rng(number).integers(0, 256, (pixels // 16, pixels // 16, 3), dtype=np.uint8)
    return Image.fromarray(rough).resize((pixels, pixels), Image.Resampling.BICUBIC)


def quiet(_done: int, _total: int) -> None:
    """Hear how far it is, and say nothing."""
