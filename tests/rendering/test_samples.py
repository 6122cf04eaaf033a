"""Samples are pictures of their scenes, drawn once each, and the same as the scenes would be."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from kolora.errors import Stopped
from kolora.models.checkpoint import Checkpoint
from kolora.models.pixels import to_picture
from kolora.rendering.denoise import denoise
from kolora.rendering.samples import SampleRenderer, sample_name
from kolora.saved import read_saved
from kolora.spec.sections.scene import SampleScene
from PIL import Image

SCENES = [
    SampleScene(number=1, seed=5, width=64, height=64, steps=2, guidance_scale=3.0),
    SampleScene(number=4, seed=6, width=128, height=64, steps=2, guidance_scale=1.0),
]


@pytest.fixture
def sampler(tiny_kolors: Checkpoint, tmp_path: Path) -> SampleRenderer:
    embeds = tiny_kolors.encode_prompt(["一只猫", ""])
    return SampleRenderer(
        tiny_kolors.schedule(),
        tiny_kolors.decode,
        [(scene, embeds) for scene in SCENES],
        tmp_path / "samples",
    )


def nothing() -> None:
    """Go on."""


def opened(sampler: SampleRenderer, scene: int) -> Image.Image:
    content = read_saved(sampler.folder / sample_name(50, scene), of="")
    assert content is not None
    return Image.open(io.BytesIO(content))


def test_each_scene_is_drawn_as_it_would_be(sampler: SampleRenderer, tiny_kolors: Checkpoint) -> None:
    unet = tiny_kolors.unet()
    sampler(unet, 50, nothing)
    assert sorted(path.name for path in sampler.folder.iterdir()) == ["0050-01.saved", "0050-04.saved"]
    with opened(sampler, 4) as picture:
        assert picture.size == (128, 64)
        assert picture.info["kolora.step"] == "50"
    scene, embeds = sampler.scenes[0]
    latents = denoise(
        unet,
        sampler.schedule,
        embeds,
        seed=scene.seed,
        height=64,
        width=64,
        steps=2,
        guidance_scale=3.0,
        tick=lambda *_: None,
    )
    with opened(sampler, 1) as picture:
        assert np.array_equal(np.asarray(picture), np.asarray(to_picture(tiny_kolors.decode(latents))))


def test_what_is_drawn_is_not_drawn_again_and_what_was_cut_short_is(
    sampler: SampleRenderer, tiny_kolors: Checkpoint
) -> None:
    calls: list[None] = []

    def stop() -> None:
        calls.append(None)
        if len(calls) == 4:  # in the second scene
            raise Stopped("stop")

    with pytest.raises(Stopped):
        sampler(tiny_kolors.unet(), 50, stop)
    (first,) = sampler.folder.iterdir()
    before = first.stat().st_mtime_ns
    sampler(tiny_kolors.unet(), 50, nothing)
    assert first.stat().st_mtime_ns == before
    assert len(list(sampler.folder.iterdir())) == 2
