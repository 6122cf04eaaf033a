"""The encoded training set: made from pictures and captions, written and read as safetensors."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image, ImageOps
from safetensors.torch import load_file, save

from runner.models.conditioning import Conditioning
from runner.models.parts import Parts
from runner.models.pixels import to_pixels
from runner.training.draws import generator

RANDOM_CROPS = 4
"""Places a picture is cut at when crops are random: latents are cached, so they are drawn once, not every step."""


@dataclass(frozen=True)
class Examples:
    """The training set: latents (N, V, 4, h, w) float32 in V variants (crops, mirrored) of each picture, conditioning
    of the distinct captions, and captions (N,), the row of conditioning that belongs to each picture.

    The last row of conditioning is the empty text's where pictures may be shown without theirs.
    """

    latents: torch.Tensor
    conditioning: Conditioning
    captions: torch.Tensor


def encode_examples(
    parts: Parts,
    folder: Path,
    *,
    resolution: int,
    crop: str,
    flip: bool,
    seed: int,
    untold: bool = False,
    tick: Callable[[int, int], None],
) -> tuple[Examples, tuple[str, ...]]:
    """Encode ``folder`` (pictures and ``metadata.csv``); returns the examples and the distinct captions.

    untold: whether the empty text is encoded too, for pictures that are shown without theirs.
    """
    with (folder / "metadata.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    captions = tuple(dict.fromkeys(row["text"] for row in rows))
    texts = (*captions, "") if untold else captions
    total = len(texts) + len(rows)
    conditionings = []
    for done, text in enumerate(texts, 1):
        conditionings.append(parts.condition([text]))
        tick(done, total)
    parts.release("text_encoder")
    latents = []
    for done, row in enumerate(rows, len(texts) + 1):
        with Image.open(folder / row["file_name"]) as opened:
            picture = opened.convert("RGB")
        chance = generator(seed, "crop", row["file_name"])
        squares = _squares(picture, resolution=resolution, crop=crop, flip=flip, chance=chance)
        latents.append(torch.cat([parts.encode(to_pixels(square)).cpu() for square in squares]))
        tick(done, total)
    conditioning = Conditioning(
        torch.cat([each.hidden for each in conditionings]), torch.cat([each.pooled for each in conditionings])
    )
    indexes = torch.tensor([captions.index(row["text"]) for row in rows])
    return Examples(torch.stack(latents), conditioning, indexes), captions


def _squares(
    picture: Image.Image, *, resolution: int, crop: str, flip: bool, chance: torch.Generator
) -> list[Image.Image]:
    """Cut a picture's squares: its shorter side is scaled to ``resolution``, then the longer one is cut."""
    places = [0.5] if crop == "center" else torch.rand(RANDOM_CROPS, generator=chance).tolist()
    squares = [
        ImageOps.fit(picture, (resolution, resolution), Image.Resampling.LANCZOS, centering=(place, place))
        for place in places
    ]
    return squares + [ImageOps.mirror(square) for square in squares] if flip else squares


def write_examples(path: Path, examples: Examples) -> None:
    """Write the training set."""
    path.write_bytes(
        save(
            {
                "latents": examples.latents.contiguous(),
                "captions": examples.captions,
                **examples.conditioning.tensors(),
            }
        )
    )


def read_examples(path: Path) -> Examples:
    """Read what ``write_examples`` wrote."""
    tensors = load_file(path)
    return Examples(
        latents=tensors["latents"],
        conditioning=Conditioning(tensors["hidden"], tensors["pooled"]),
        captions=tensors["captions"],
    )
