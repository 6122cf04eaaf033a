"""The judges give each picture its own verdict, whatever company it is judged in."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from kolora.errors import InputAbsent
from kolora.scoring.judges import BATCH, Aesthetics, Similarity, similarities
from PIL import Image
from safetensors.torch import load_file, save_file

LONG = "一只猫在雨中的阳台上看着远方的山，" * 40


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """More than one batch of pictures, of several formats."""
    folder, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    paths = [folder / f"{number:02}.png" for number in range(BATCH + 3)]
    for path in paths:
        height, width = rng.integers(2, 5, 2)
        small = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(small).resize((16 * int(width), 16 * int(height)), Image.Resampling.NEAREST).save(path)
    return paths


@pytest.fixture(scope="module")
def aesthetics(tiny_checkpoint: Path) -> Aesthetics:
    return Aesthetics(tiny_checkpoint / "aesthetics", device="cpu")


@pytest.fixture(scope="module")
def similarity(tiny_checkpoint: Path) -> Similarity:
    return Similarity(tiny_checkpoint / "clip", device="cpu")


def test_a_grade_does_not_depend_on_the_company(aesthetics: Aesthetics, pictures: list[Path]) -> None:
    grades = aesthetics.grade(pictures)
    assert grades == aesthetics.grade(pictures)
    assert len(set(grades)) == len(pictures)
    assert [aesthetics.grade([path])[0] for path in pictures] == pytest.approx(grades, abs=1e-5)
    assert aesthetics.grade(pictures[::-1]) == pytest.approx(grades[::-1], abs=1e-5)


def test_an_embedding_does_not_depend_on_the_company(similarity: Similarity, pictures: list[Path]) -> None:
    embedded = similarity.pictures(pictures)
    assert embedded.shape == (len(pictures), 16)
    assert torch.equal(embedded, similarity.pictures(pictures))
    torch.testing.assert_close(
        torch.cat([similarity.pictures([path]) for path in pictures]), embedded, atol=1e-5, rtol=0
    )
    torch.testing.assert_close(embedded.norm(dim=-1), torch.ones(len(pictures)))


def test_a_picture_is_most_similar_to_itself(similarity: Similarity, pictures: list[Path]) -> None:
    embedded = similarity.pictures(pictures)
    assert (embedded @ embedded.T).argmax(dim=1).tolist() == list(range(len(pictures)))
    assert similarities(embedded, embedded) == pytest.approx([100.0] * len(pictures), abs=1e-4)


def test_pictures_and_texts_are_compared_pair_by_pair() -> None:
    east, north, west = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]), torch.tensor([-1.0, 0.0])
    between = torch.tensor([0.6, 0.8])
    assert similarities(
        torch.stack([east, east, east, between]), torch.stack([east, north, west, north])
    ) == pytest.approx([100.0, 0.0, -100.0, 80.0], abs=1e-4)


def test_texts_are_told_apart(similarity: Similarity) -> None:
    embedded = similarity.texts(["一只猫", "一只狗", "", "a cat"])
    assert embedded.shape == (4, 16)
    torch.testing.assert_close(embedded.norm(dim=-1), torch.ones(4))
    assert (embedded @ embedded.T).argmax(dim=1).tolist() == [0, 1, 2, 3]


def test_a_long_text_is_cut_where_clip_stops_reading(similarity: Similarity) -> None:
    embedded = similarity.texts([LONG, LONG + "一只狗", "狗" + LONG])
    assert torch.equal(embedded[0], embedded[1])
    assert not torch.equal(embedded[0], embedded[2])


def lack_a_weight(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors.pop("visual_projection.weight")
    save_file(tensors, folder / "model.safetensors")


def misshape_a_weight(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    save_file(tensors | {"visual_projection.weight": torch.zeros(3, 3)}, folder / "model.safetensors")


def lack(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


@pytest.mark.parametrize(
    ("judge", "spoil", "named"),
    [
        *((judge, lack("config.json"), "scorer") for judge in (Aesthetics, Similarity)),
        *((judge, lack("preprocessor_config.json"), "scorer") for judge in (Aesthetics, Similarity)),
        *((judge, lack("model.safetensors"), "scorer") for judge in (Aesthetics, Similarity)),
        *(
            (judge, lack_a_weight, r"scorer: the files lack visual_projection\.weight")
            for judge in (Aesthetics, Similarity)
        ),
        *(
            (judge, misshape_a_weight, r"lack visual_projection\.weight of shape \(16, 32\)")
            for judge in (Aesthetics, Similarity)
        ),
        *((judge, shutil.rmtree, "scorer") for judge in (Aesthetics, Similarity)),
        (Similarity, lack("vocab.json"), "scorer"),
    ],
)
def test_an_incomplete_scorer_is_named(
    tiny_checkpoint: Path,
    tmp_path: Path,
    judge: type[Aesthetics] | type[Similarity],
    spoil: Callable[[Path], None],
    named: str,
) -> None:
    folder = tmp_path / "scorer"
    shutil.copytree(tiny_checkpoint / {Aesthetics: "aesthetics", Similarity: "clip"}[judge], folder)
    judge(folder, device="cpu")
    spoil(folder)
    with pytest.raises(InputAbsent, match=named) as caught:
        judge(folder, device="cpu")
    assert caught.value.hint
