"""Untrusted files become plain pictures, or the reason why not."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from kolora.datasets.pictures import LONGEST_SIDE, Picture, Rejection, read_picture
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from tests.pictures import BROKEN, CORNERS, SOUND, Recipe, corners_of, truth

LIMIT = 100_000_000


def name_of(recipe: Recipe) -> str:
    return recipe.__qualname__.split(".")[0]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("recipe", SOUND, ids=name_of)
def test_a_sound_file_shows_the_same_picture(recipe: Recipe, seed: int, tmp_path: Path) -> None:
    made = recipe(tmp_path, "one", (90, 61), random.Random(seed))
    found = read_picture(tmp_path / made.name, max_pixels=LIMIT)
    assert isinstance(found, Picture), found
    assert (found.image.mode, found.image.size, found.image.info) == ("RGB", made.size, {})
    for seen, meant in zip(corners_of(found.image), made.corners, strict=True):
        assert max(abs(one - other) for one, other in zip(seen, meant, strict=True)) <= made.off, (seen, meant)
    assert [note for note in found.notes if made.note in note] or not made.note, found.notes
    assert len(found.notes) == bool(made.note) + ("CMYK" in str(found.notes) and made.note == "sRGB"), found.notes


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("recipe", BROKEN, ids=lambda recipe: recipe.__qualname__)
def test_a_broken_file_is_dropped_with_the_reason(recipe: Recipe, seed: int, tmp_path: Path) -> None:
    made = recipe(tmp_path, "one", (90, 61), random.Random(seed))
    found = read_picture(tmp_path / made.name, max_pixels=LIMIT)
    assert isinstance(found, Rejection), found
    assert found.kind == made.fault, found.reason


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("ending", ["jpg", "png", "tif", "webp"])
def test_every_orientation_ends_upright(orientation: int, ending: str, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    lying = truth((80, 60))
    lying.save(tmp_path / f"one.{ending}", exif=exif, **({"lossless": True} if ending == "webp" else {}))
    found = read_picture(tmp_path / f"one.{ending}", max_pixels=LIMIT)
    assert isinstance(found, Picture)
    # EXIF 2.32, tag 274: where the stored row 0 and column 0 belong.
    places = {1: "0123", 2: "1032", 3: "3210", 4: "2301", 5: "0213", 6: "2031", 7: "3120", 8: "1302"}
    meant = [CORNERS[int(place)] for place in places[orientation]]
    seen = [
        min(CORNERS, key=lambda one: sum(abs(a - b) for a, b in zip(one, corner, strict=True)))
        for corner in corners_of(found.image)
    ]
    assert seen == meant
    assert found.image.size == ((60, 80) if orientation > 4 else (80, 60))


def test_the_limit_is_the_pixels_of_the_header(tmp_path: Path) -> None:
    truth((100, 100)).save(tmp_path / "one.png")
    assert isinstance(read_picture(tmp_path / "one.png", max_pixels=10_000), Picture)
    found = read_picture(tmp_path / "one.png", max_pixels=9_999)
    assert isinstance(found, Rejection)
    assert found.reason == "too many pixels: 100 x 100, more than 9999"


def test_the_data_sets_limit_counts_and_not_pillows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    truth((100, 100)).save(tmp_path / "one.png")
    # Pillow warns from this on and refuses from twice this on.
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1_000)
    assert isinstance(read_picture(tmp_path / "one.png", max_pixels=10_000), Picture)
    assert Image.MAX_IMAGE_PIXELS == 1_000


def test_noise_after_a_signature_never_gets_out(tmp_path: Path) -> None:
    rng = random.Random(5)
    heads = (
        b"\xff\xd8\xff\xe1",
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
        b"GIF89a",
        b"BM",
        b"II*\0",
        b"RIFF\xff\0\0\0WEBPVP8 ",
    )
    for number in range(300):
        path = tmp_path / "one.jpg"
        path.write_bytes(heads[number % len(heads)] + rng.randbytes(rng.randint(1, 400)))
        found = read_picture(path, max_pixels=1_000_000)
        assert isinstance(found, Picture) or found.kind in ("truncated file", "damaged file", "too many pixels")


def test_the_disks_own_failure_is_no_fault_of_the_picture(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_picture(tmp_path / "absent.png", max_pixels=LIMIT)


@pytest.mark.parametrize("mode", ["F", "I"])
def test_samples_without_an_agreed_range_are_not_guessed(mode: str, tmp_path: Path) -> None:
    Image.new(mode, (50, 50), 70_000).save(tmp_path / "one.tif")
    found = read_picture(tmp_path / "one.tif", max_pixels=LIMIT)
    assert isinstance(found, Rejection)
    assert found.kind == "unknown range"


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("over", [0, 1])
def test_a_side_that_no_training_set_holds_is_told(tmp_path: Path, over: int, *, turned: bool) -> None:
    size = (LONGEST_SIDE + over, 8)
    Image.new("RGB", size[::-1] if turned else size, "red").save(tmp_path / "one.png")
    found = read_picture(tmp_path / "one.png", max_pixels=LIMIT)
    assert isinstance(found, Rejection) == bool(over)
    if isinstance(found, Picture):
        found.image.save(tmp_path / "train.jpg", quality=95, subsampling=0)
    else:
        assert found.kind == "too long"


@pytest.mark.parametrize("kind", ["text", "international text", "profile"])
def test_what_a_tool_wrote_into_a_png_costs_no_picture(tmp_path: Path, kind: str) -> None:
    info = PngInfo()
    if kind == "text":
        info.add_text("workflow", "x" * 3_000_000, zip=True)
    elif kind == "international text":
        info.add_itxt("workflow", "图" * 1_000_000, zip=True)
    profile = {"icc_profile": bytes(3_000_000)} if kind == "profile" else {}
    Image.new("RGB", (80, 80), "red").save(tmp_path / "one.png", pnginfo=info, **profile)
    assert isinstance(read_picture(tmp_path / "one.png", max_pixels=LIMIT), Picture)
