"""Buckets keep a picture's shape and the number of pixels; cuts are what they say."""

from __future__ import annotations

import pytest
import torch
from kolora.training.crops import bucket_for, bucket_sizes, cut
from PIL import Image


@pytest.mark.parametrize("resolution", [64, 128, 256, 512, 768, 1024, 2048])
def test_buckets_hold_about_as_many_pixels_as_the_square(resolution: int) -> None:
    sizes = bucket_sizes(resolution)
    assert (resolution, resolution) in sizes
    for width, height in sizes:
        assert width % 64 == height % 64 == 0
        assert 0.5 <= width / height <= 2
        assert width * height <= resolution**2
    assert resolution < 512 or all(width * height > 0.85 * resolution**2 for width, height in sizes)


@pytest.mark.parametrize(
    ("size", "bucket"),
    [
        ((3000, 3000), (1024, 1024)),
        ((1920, 1080), (1344, 768)),
        ((1080, 1920), (768, 1344)),
        ((1200, 900), (1152, 896)),
        ((4000, 1000), (1408, 704)),
    ],
)
def test_a_picture_goes_to_the_nearest_shape(size: tuple[int, int], bucket: tuple[int, int]) -> None:
    chosen = bucket_for(size, resolution=1024)
    assert chosen == bucket


def test_a_picture_that_has_a_buckets_shape_loses_nothing() -> None:
    picture = Image.linear_gradient("L").resize((256, 128)).convert("RGB")
    (piece,) = cut(picture, resolution=192, crop="bucket", flip=False, rng=torch.Generator())
    assert piece.tobytes() == picture.tobytes()


def test_every_cut_is_mirrored_where_asked() -> None:
    picture = Image.linear_gradient("L").rotate(90).resize((256, 128)).convert("RGB")
    pieces = cut(picture, resolution=128, crop="random", flip=True, rng=torch.Generator().manual_seed(0))
    assert [piece.size for piece in pieces] == [(128, 128)] * 8
    mirrored = [piece.transpose(Image.Transpose.FLIP_LEFT_RIGHT).tobytes() for piece in pieces[:4]]
    assert mirrored == [piece.tobytes() for piece in pieces[4:]]
    assert len(set(mirrored)) == 4
