"""Of a repository only what is needed is choose_files."""

from __future__ import annotations

import pytest
from kolora.errors import InputAbsent
from kolora.hubs.catalogue import AESTHETICS, KOLORS
from kolora.hubs.repository import RemoteFile
from kolora.hubs.selection import choose_files, choose_split

PUBLISHED = [
    "README.md",
    "configuration.json",
    "model_index.json",
    "scheduler/scheduler_config.json",
    "text_encoder/config.json",
    "text_encoder/configuration_chatglm.py",
    "text_encoder/pytorch_model-00001-of-00002.bin",
    "text_encoder/pytorch_model-00002-of-00002.bin",
    "text_encoder/pytorch_model.bin.index.json",
    "text_encoder/tokenizer.model",
    "text_encoder/vocab.txt",
    "unet/config.json",
    "unet/diffusion_pytorch_model.fp16.safetensors",
    "unet/diffusion_pytorch_model.safetensors",
    "vae/config.json",
    "vae/diffusion_pytorch_model.fp16.safetensors",
    "vae/diffusion_pytorch_model.safetensors",
]


def test_of_kolors_the_half_precision_files_are_enough() -> None:
    files = choose_files([RemoteFile(path, 1) for path in PUBLISHED], KOLORS.request("modelscope"))
    assert {file.path for file in files} == {
        path for path in PUBLISHED[3:] if not path.endswith((".py", "diffusion_pytorch_model.safetensors"))
    }


def test_safetensors_win_over_the_same_pickled() -> None:
    both = [RemoteFile("model.safetensors", 1), RemoteFile("pytorch_model.bin", 1), RemoteFile("config.json", 1)]
    names = [file.path for file in choose_files(both, AESTHETICS.request("modelscope"))]
    assert names == ["model.safetensors", "config.json"]
    assert next(file.path for file in choose_files(both[1:], AESTHETICS.request("modelscope"))) == "pytorch_model.bin"


PIECES = [
    "README.md",
    "set.py",
    "data/train-00000-of-00002.parquet",
    "data/train-00001-of-00002.parquet",
    "data/test-00000-of-00001.parquet",
]


@pytest.mark.parametrize(
    ("paths", "subset", "split", "left"),
    [
        (PIECES, None, "train", PIECES[2:4]),
        (PIECES, "default", "test", PIECES[4:]),
        (["ink/train/1.png", "ink/val/1.png", "oil/train/1.png"], "ink", "train", ["ink/train/1.png"]),
        (["pictures/1.jpg", "list.csv", ".hidden.png"], None, "train", ["pictures/1.jpg", "list.csv"]),
        (["train.zip", "validation.zip"], None, "train", ["train.zip"]),
        (["train.csv", "test.csv", "img/1.png"], None, "train", ["train.csv", "img/1.png"]),
        (["a.TAR.GZ", "b.PNG"], None, "train", ["a.TAR.GZ", "b.PNG"]),
    ],
)
def test_subset_and_split_are_told_by_folders_and_names(
    paths: list[str], subset: str | None, split: str, left: list[str]
) -> None:
    assert choose_split(paths, subset=subset, split=split) == left


def test_what_is_not_there_is_named() -> None:
    with pytest.raises(InputAbsent, match="no subset 'ink'"):
        choose_split(PIECES, subset="ink", split="train")
    with pytest.raises(InputAbsent, match="no split 'dev'; it has test, train"):
        choose_split(PIECES, subset=None, split="dev")
