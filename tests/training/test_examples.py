"""The training set: every picture in its variants, every caption once, the same when read back."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from kolora.models.checkpoint import Checkpoint
from kolora.models.pixels import to_pixels
from kolora.training.examples import Examples, TrainingPicture, encode_examples, read_examples, write_examples
from PIL import Image, ImageOps

CAPTIONS = {"01.png": "水墨，一只猫", "02.png": 'a "cat", asleep\nby the fire', "03.png": "水墨，一只猫"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three pictures, upright, square and lying, as the filter stage lays them out."""
    folder = tmp_path_factory.mktemp("train")
    rng = np.random.default_rng(0)
    for name, (width, height) in zip(CAPTIONS, [(64, 96), (64, 64), (256, 128)], strict=True):
        Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(folder / name)
    with (folder / "metadata.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("file_name", "text"), *CAPTIONS.items()])
    return folder


def encoded(
    checkpoint: Checkpoint,
    folder: Path,
    *,
    crop: str = "center",
    flip: bool = False,
    seed: int = 0,
    resolution: int = 64,
) -> Examples:
    examples, _ = encode_examples(
        checkpoint, folder, resolution=resolution, crop=crop, flip=flip, seed=seed, tick=lambda *_: None
    )
    return examples


def latents_of(
    checkpoint: Checkpoint, folder: Path, name: str, box: tuple[int, int, int, int], *, mirrored: bool
) -> torch.Tensor:
    """Encode what a box of a picture shows, scaled to the training size."""
    with Image.open(folder / name) as picture:
        square = picture.resize((64, 64), Image.Resampling.LANCZOS, box=box)
    return checkpoint.encode(to_pixels(ImageOps.mirror(square) if mirrored else square))[0]


def test_pictures_are_cut_in_the_middle(tiny_kolors: Checkpoint, folder: Path) -> None:
    examples = encoded(tiny_kolors, folder)
    assert examples.buckets[0].latents.shape == (3, 1, 4, 8, 8)
    assert examples.buckets[0].latents.dtype == torch.float32
    for row, (name, box) in enumerate(
        {"01.png": (0, 16, 64, 80), "02.png": (0, 0, 64, 64), "03.png": (64, 0, 192, 128)}.items()
    ):
        assert torch.equal(
            examples.buckets[0].latents[row, 0], latents_of(tiny_kolors, folder, name, box, mirrored=False)
        )


def test_mirrored_pictures_are_variants_of_their_own(tiny_kolors: Checkpoint, folder: Path) -> None:
    examples = encoded(tiny_kolors, folder, flip=True)
    assert examples.buckets[0].latents.shape == (3, 2, 4, 8, 8)
    for variant, mirrored in enumerate((False, True)):
        expected = latents_of(tiny_kolors, folder, "03.png", (64, 0, 192, 128), mirrored=mirrored)
        assert torch.equal(examples.buckets[0].latents[2, variant], expected)


def test_random_crops_depend_on_the_seed_and_the_picture(tiny_kolors: Checkpoint, folder: Path) -> None:
    one, again, other = (
        encoded(tiny_kolors, folder, crop="random", seed=seed).buckets[0].latents for seed in (0, 0, 1)
    )
    assert one.shape == (3, 4, 4, 8, 8)
    assert torch.equal(one, again)
    assert torch.equal(one[1], other[1])  # a square picture can be cut in one place only
    for row in (0, 2):
        assert not torch.equal(one[row], other[row])
        assert len({crop.sum().item() for crop in one[row]}) == 4


def test_random_crops_are_mirrored_too(tiny_kolors: Checkpoint, folder: Path) -> None:
    plain, flipped = (
        encoded(tiny_kolors, folder, crop="random", flip=flip).buckets[0].latents for flip in (False, True)
    )
    assert flipped.shape[1] == 8
    assert torch.equal(flipped[:, :4], plain)


def test_each_caption_is_encoded_once(tiny_kolors: Checkpoint, folder: Path) -> None:
    ticks: list[tuple[int, int]] = []
    examples, pictures = encode_examples(
        tiny_kolors,
        folder,
        resolution=64,
        crop="center",
        flip=False,
        seed=0,
        tick=lambda *progress: ticks.append(progress),
    )
    assert pictures == tuple(TrainingPicture(name, text) for name, text in CAPTIONS.items())
    assert examples.buckets[0].captions.tolist() == [0, 1, 0]
    assert ticks == [(done, 5) for done in range(1, 6)]
    expected = tiny_kolors.encode_prompt([CAPTIONS["01.png"], CAPTIONS["02.png"]])
    assert torch.equal(examples.embeds.prompt_embeds, expected.prompt_embeds)
    assert torch.equal(examples.embeds.pooled_prompt_embeds, expected.pooled_prompt_embeds)


def test_the_set_comes_back_as_it_was_written(tiny_kolors: Checkpoint, folder: Path, tmp_path: Path) -> None:
    examples = encoded(tiny_kolors, folder, flip=True, crop="bucket", resolution=192)
    write_examples(tmp_path / "examples.safetensors", examples)
    read = read_examples(tmp_path / "examples.safetensors")
    assert len(read.buckets) == 3
    for one, other in zip(read.buckets, examples.buckets, strict=True):
        assert torch.equal(one.latents, other.latents)
        assert torch.equal(one.captions, other.captions)
    assert torch.equal(read.embeds.prompt_embeds, examples.embeds.prompt_embeds)
    assert torch.equal(read.embeds.pooled_prompt_embeds, examples.embeds.pooled_prompt_embeds)


def test_the_same_set_is_the_same_bytes(tiny_kolors: Checkpoint, folder: Path, tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("one", "other")]
    for path in files:
        write_examples(path, encoded(tiny_kolors, folder, crop="random"))
    assert files[0].read_bytes() == files[1].read_bytes()


def test_the_empty_text_comes_last_where_it_is_wanted(tiny_kolors: Checkpoint, folder: Path) -> None:
    settings: dict[str, Any] = {"resolution": 64, "crop": "center", "flip": False, "seed": 0}
    examples, pictures = encode_examples(tiny_kolors, folder, **settings, with_empty_caption=True, tick=lambda *_: None)
    assert "" not in {each.text for each in pictures}
    assert torch.equal(examples.embeds.prompt_embeds[-1:], tiny_kolors.encode_prompt([""]).prompt_embeds)
    assert torch.equal(examples.embeds.prompt_embeds[:-1], encoded(tiny_kolors, folder).embeds.prompt_embeds)
    assert examples.buckets[0].captions.tolist() == [0, 1, 0]


def test_the_trigger_is_in_every_text(tiny_kolors: Checkpoint, folder: Path) -> None:
    settings: dict[str, Any] = {"resolution": 64, "crop": "center", "flip": False, "seed": 0}
    examples, pictures = encode_examples(tiny_kolors, folder, **settings, trigger="水墨", tick=lambda *_: None)
    assert [each.text for each in pictures] == [CAPTIONS["01.png"], f"水墨, {CAPTIONS['02.png']}", CAPTIONS["03.png"]]
    assert torch.equal(examples.embeds.prompt_embeds[1:], tiny_kolors.encode_prompt([pictures[1].text]).prompt_embeds)


def test_pictures_of_a_shape_share_a_bucket(tiny_kolors: Checkpoint, folder: Path) -> None:
    """Upright 64 x 96, square, and lying 256 x 128, at 192 x 192 pixels."""
    examples = encoded(tiny_kolors, folder, crop="bucket", resolution=192)
    sizes = [tuple(bucket.latents.shape[-2:]) for bucket in examples.buckets]
    assert sizes == [(16, 32), (24, 24), (32, 16)]
    assert [bucket.captions.tolist() for bucket in examples.buckets] == [[0], [1], [0]]
    with Image.open(folder / "03.png") as lying:
        assert torch.equal(examples.buckets[0].latents[0], tiny_kolors.encode(to_pixels(lying.convert("RGB"))))
