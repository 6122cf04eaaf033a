"""Weights come out of files as they went in, and what is wrong with a folder is named."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from kolora.configs import read_config
from kolora.errors import InputAbsent
from kolora.models.layout import write_shards
from kolora.models.weights import load_part, read_ahead, read_weights, weight_files
from safetensors.torch import save_file
from torch import nn

from tests.tensors import same

Weights = Mapping[str, torch.Tensor]


def build(config: Mapping[str, Any]) -> nn.Module:
    return nn.ModuleDict({"first": nn.Linear(config["width"], 3), "second": nn.Linear(3, 2, bias=False)})


def weights(width: int = 4) -> dict[str, torch.Tensor]:
    rng = torch.Generator().manual_seed(0)
    return {
        name: torch.randn(value.shape, generator=rng) for name, value in build({"width": width}).state_dict().items()
    }


def write_index(folder: Path, name: str, files: Mapping[str, str]) -> None:
    (folder / name).write_text(json.dumps({"weight_map": dict(files)}))


def write_single(folder: Path, tensors: Weights) -> None:
    save_file(dict(tensors), folder / "model.safetensors")


def write_sharded(folder: Path, tensors: Weights) -> None:
    write_shards(folder, "model", tensors, max_shard_bytes=40)


def write_bin(folder: Path, tensors: Weights) -> None:
    torch.save(dict(tensors), folder / "pytorch_model.bin")


def write_bin_shards(folder: Path, tensors: Weights) -> None:
    """Write one weight a shard, named as Kolors' text encoder names them."""
    files = {}
    for number, (name, tensor) in enumerate(tensors.items(), 1):
        files[f"transformer.{name}"] = f"pytorch_model-{number:05d}-of-{len(tensors):05d}.bin"
        torch.save({f"transformer.{name}": tensor}, folder / files[f"transformer.{name}"])
    write_index(folder, "pytorch_model.bin.index.json", files)


def load(folder: Path, *, dtype: torch.dtype = torch.float32, **settings: Any) -> nn.Module:
    return load_part(build, folder, rename=lambda name: name, device="cpu", dtype=dtype, **settings)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    part = tmp_path / "part"
    part.mkdir()
    (part / "config.json").write_text(json.dumps({"width": 4}))
    return part


@pytest.mark.parametrize("write", [write_single, write_sharded, write_bin, write_bin_shards])
def test_a_part_holds_what_its_files_hold(folder: Path, write: Callable[[Path, Weights], None]) -> None:
    write(folder, weights())
    module = load(folder)
    assert same(module.state_dict(), weights())
    assert not module.training
    assert not any(parameter.requires_grad for parameter in module.parameters())


def test_the_sharded_writers_write_shards(folder: Path) -> None:
    write_sharded(folder, weights())
    assert len(weight_files(folder, half=False)) > 1


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("write", [write_single, write_bin_shards])
def test_weights_are_cast_to_what_is_computed_in(
    folder: Path, write: Callable[[Path, Weights], None], dtype: torch.dtype
) -> None:
    write(folder, weights())
    assert same(load(folder, dtype=dtype).state_dict(), {name: each.to(dtype) for name, each in weights().items()})


@pytest.mark.parametrize(
    ("dtype", "marker"), [(torch.float16, ".fp16"), (torch.bfloat16, ".fp16"), (torch.float32, "")]
)
@pytest.mark.parametrize("kind", ["safetensors", "bin"])
def test_the_fitting_variant_is_read(folder: Path, kind: str, dtype: torch.dtype, marker: str) -> None:
    for number, name in enumerate(("", ".fp16")):
        tensors = {key: torch.full_like(value, number) for key, value in weights().items()}
        path = folder / f"diffusion_pytorch_model{name}.{kind}"
        torch.save(tensors, path) if kind == "bin" else save_file(tensors, path)
    half = dtype != torch.float32
    assert [path.name for path in weight_files(folder, half=half)] == [f"diffusion_pytorch_model{marker}.{kind}"]
    assert all(bool((tensor == half).all()) for tensor in load(folder, dtype=dtype).state_dict().values())


@pytest.mark.parametrize("name", ["model.safetensors", "model.fp16.safetensors"])
def test_the_only_variant_serves_every_type(folder: Path, name: str) -> None:
    save_file(weights(), folder / name)
    assert {weight_files(folder, half=half)[0].name for half in (True, False)} == {name}


def test_safetensors_win_over_pickles(folder: Path) -> None:
    write_single(folder, weights())
    write_bin_shards(folder, {name: torch.zeros_like(tensor) for name, tensor in weights().items()})
    assert same(load(folder).state_dict(), weights())


def test_weights_not_wanted_are_not_read(folder: Path) -> None:
    write_single(folder, weights() | {"third.weight": torch.zeros(9)})
    module = load(folder, drop=("second",))
    assert set(module.state_dict()) == {"first.weight", "first.bias"}


def test_optional_weights_may_be_absent(folder: Path) -> None:
    write_single(folder, {name: tensor for name, tensor in weights().items() if name != "first.bias"})
    with pytest.raises(InputAbsent, match=r"part: the files lack first\.bias$"):
        load(folder)
    assert torch.equal(load(folder, optional=("first.bias",)).state_dict()["second.weight"], weights()["second.weight"])


def lack_a_shard(folder: Path) -> None:
    write_bin_shards(folder, weights())
    (folder / "pytorch_model-00002-of-00003.bin").unlink()


def lead_outside(folder: Path) -> None:
    save_file(weights(), folder.parent / "outside.safetensors")
    write_index(folder, "model.safetensors.index.json", dict.fromkeys(weights(), "../outside.safetensors"))


def lead_far_outside(folder: Path) -> None:
    write_index(folder, "model.safetensors.index.json", dict.fromkeys(weights(), "../../etc/x"))


def lead_to_the_root(folder: Path) -> None:
    save_file(weights(), folder.parent / "outside.safetensors")
    outside = str(folder.parent / "outside.safetensors")
    write_index(folder, "model.safetensors.index.json", dict.fromkeys(weights(), outside))


def truncate(folder: Path) -> None:
    write_single(folder, weights())
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-10])


def bring_foreign_weights(folder: Path) -> None:
    write_single(folder, {"lm_head.weight": torch.zeros(4, 4)})


def lack_the_config(folder: Path) -> None:
    write_single(folder, weights())
    (folder / "config.json").unlink()


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (lambda folder: None, r"no weights in part/"),
        (lack_a_shard, r"pytorch_model\.bin\.index\.json names pytorch_model-00002-of-00003\.bin, which is not there"),
        (lead_outside, r"index\.json names [^ ]*outside\.safetensors"),
        (lead_far_outside, r"index\.json names [^ ]*x, "),
        (lead_to_the_root, r"index\.json names [^ ]*outside\.safetensors"),
        (truncate, r"part/model\.safetensors is damaged"),
        (lambda folder: (folder / "model.safetensors").touch(), r"part/model\.safetensors is damaged"),
        (bring_foreign_weights, r"part: the files lack first\.weight and 2 more"),
        (lambda folder: write_single(folder, weights(width=5)), r"first\.weight has shape \(3, 5\).*\(3, 4\)"),
        (lack_the_config, r"no part/config\.json"),
        (lambda folder: (folder / "config.json").write_text("{"), r"part/config\.json is not JSON"),
        (lambda folder: (folder / "config.json").write_bytes(b"\xff\xfe\x00"), r"part/config\.json is not JSON"),
        (lambda folder: (folder / "config.json").write_text("[]"), r"part/config\.json"),
        (lambda folder: (folder / "model.safetensors.index.json").write_text("{"), r"index\.json is no index"),
        (lambda folder: (folder / "pytorch_model.bin.index.json").write_text("[]"), r"index\.json is no index"),
    ],
)
def test_what_is_wrong_is_named(folder: Path, spoil: Callable[[Path], None], named: str) -> None:
    spoil(folder)
    with pytest.raises(InputAbsent, match=named) as caught:
        load(folder)
    assert caught.value.hint


def test_a_scheduler_has_its_own_config_file(tmp_path: Path) -> None:
    (tmp_path / "scheduler_config.json").write_text('{"beta_start": 0.1}')
    assert read_config(tmp_path) == {"beta_start": 0.1}


def test_weights_are_read_one_at_a_time(folder: Path) -> None:
    write_sharded(folder, weights())
    names = [name for name, _ in read_weights(weight_files(folder, half=False), device="cpu")]
    assert sorted(names) == sorted(weights())


def test_reading_ahead_asks_for_the_files_that_will_be_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, int]] = []

    def advise(file: int, start: int, length: int, advice: int) -> None:
        assert (start, length) == (0, 0), "all of it"
        asked.append((Path(f"/proc/self/fd/{file}").resolve().name, advice))

    monkeypatch.setattr(os, "posix_fadvise", advise, raising=False)
    for name in ("model.safetensors", "model.fp16.safetensors"):
        save_file({"weight": torch.zeros(1)}, folder / name)
    read_ahead(folder, dtype=torch.float16)
    read_ahead(folder, dtype=torch.float32)
    assert [name for name, _ in asked] == ["model.fp16.safetensors", "model.safetensors"]
    assert {advice for _, advice in asked} == {os.POSIX_FADV_WILLNEED}
