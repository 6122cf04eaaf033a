"""Which files of a checkpoint and of a scorer are their identity: those that the loader may read."""

from __future__ import annotations

from pathlib import Path

import pytest
from kolora.errors import InputAbsent
from kolora.hubs.catalogue import loaded_files, loaded_scorer_files
from kolora.hubs.hub import HUBS
from kolora.models.weights import weight_files
from kolora.spec import story_json_schema

CONFIGS = ["scheduler/scheduler_config.json", "text_encoder/config.json", "unet/config.json", "vae/config.json"]
VARIANTS = [
    *(f"{part}/diffusion_pytorch_model{variant}.safetensors" for part in ("unet", "vae") for variant in ("", ".fp16")),
]
ORIGINAL = [
    *CONFIGS,
    *VARIANTS,
    "text_encoder/pytorch_model-00001-of-00002.bin",
    "text_encoder/pytorch_model-00002-of-00002.bin",
    "text_encoder/pytorch_model.bin.index.json",
    "text_encoder/tokenizer.model",
]
DIFFUSERS = [
    *CONFIGS,
    *VARIANTS,
    "text_encoder/model-00001-of-00002.safetensors",
    "text_encoder/model-00002-of-00002.safetensors",
    "text_encoder/model.fp16-00001-of-00001.safetensors",
    "text_encoder/model.safetensors.index.fp16.json",
    "text_encoder/model.safetensors.index.json",
]
EXTRA = [
    "README.md",
    "model_index.json",
    "figures.json",
    "clip/model.safetensors",
    "text_encoder/tokenizer_config.json",
    "text_encoder/modeling_chatglm.py",
    "text_encoder/vocab.txt",
    "tokenizer/tokenizer.model",
    "tokenizer/tokenizer_config.json",
    "unet/README.md",
    "unet/old/diffusion_pytorch_model.safetensors",
    "unet/diffusion_pytorch_model.bin",
]


@pytest.mark.parametrize("layout", [ORIGINAL, DIFFUSERS])
def test_of_both_published_layouts_what_is_loaded_counts_and_nothing_else(layout: list[str]) -> None:
    assert loaded_files([*EXTRA, *layout]) == sorted(layout)


def test_of_a_scorer_its_card_does_not_count() -> None:
    loaded = ["config.json", "merges.txt", "model.safetensors", "preprocessor_config.json", "tokenizer.json"]
    assert loaded_scorer_files([*loaded, "README.md", "pytorch_model.bin", "onnx/model.onnx"]) == sorted(loaded)
    assert loaded_scorer_files(["pytorch_model.bin", "README.md"]) == ["pytorch_model.bin"]


@pytest.mark.parametrize(
    "names",
    [
        ["model.safetensors", "model.fp16.safetensors", "model.bin"],
        ["pytorch_model.bin", "pytorch_model.fp16.bin"],
        ["model-1-of-1.safetensors", "model.safetensors.index.json", "pytorch_model.bin"],
        ["model-1-of-1.safetensors", "model.fp16-1-of-1.safetensors"]
        + ["model.safetensors.index.json", "model.safetensors.index.fp16.json"],
        ["model-1-of-1.bin", "model.bin.index.json", "stray-1-of-1.safetensors"],
        ["model-1-of-1.bin", "model.bin.index.json", "other.safetensors"],
        ["model-1-of-1.safetensors", "model.safetensors.index.json", ".hidden.safetensors", "other.safetensors"],
        ["aa-1-of-1.safetensors", "model.bin"],
    ],
)
@pytest.mark.parametrize("half", [True, False])
def test_the_loader_reads_nothing_that_does_not_count(tmp_path: Path, names: list[str], half: bool) -> None:
    folder = tmp_path / "unet"
    folder.mkdir()
    for name in names:
        variant = ".fp16" if "fp16" in name else ""
        piece = f"model{variant}-1-of-1.{'safetensors' if '.safetensors.' in name else 'bin'}"
        (folder / name).write_text(f'{{"weight_map": {{"a": "{piece}"}}}}')
    counted = loaded_files(f"unet/{name}" for name in names if not name.startswith("."))
    read = {f"unet/{path.name}" for path in weight_files(folder, half=half)}
    assert read
    assert read <= set(counted)


@pytest.mark.parametrize("piece", [".hidden.safetensors", "piece.bin", "piece.dat", "../piece.safetensors", "gone.bin"])
def test_an_index_cannot_name_what_does_not_count(tmp_path: Path, piece: str) -> None:
    folder = tmp_path / "unet"
    folder.mkdir()
    if not piece.startswith("gone"):
        (folder / piece).write_text("")
    (folder / "model.safetensors.index.json").write_text(f'{{"weight_map": {{"a": "{piece}"}}}}')
    with pytest.raises(InputAbsent, match="which is not there"):
        weight_files(folder, half=False)


def test_a_data_set_may_come_from_every_hub() -> None:
    assert story_json_schema()["$defs"]["HubDataset"]["properties"]["source"]["enum"] == list(HUBS)
