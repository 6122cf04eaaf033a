"""Each LoRA file, loaded by its ecosystem's own loader, changes the noise prediction just as it does here."""

from __future__ import annotations

import copy
import json
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

with warnings.catch_warnings():
    # diffusers is here for its loader alone, and older than the torch and peft that it warns about.
    warnings.simplefilter("ignore")
    from diffusers import UNet2DConditionModel
    from diffusers.loaders import StableDiffusionLoraLoaderMixin
from diffsynth.models.model_manager import ModelManager
from kolora.configs import read_config
from kolora.models.checkpoint import Checkpoint, size_ids
from kolora.models.lora import LoraWeights, MergedWeights, lora_bytes, read_lora
from kolora.models.lora_names import diffusers_name
from kolora.models.names import UNET_BLOCKS

from tests.tensors import difference, lora_for

CLOSE = 1e-5
Predict = Callable[[nn.Module], torch.Tensor]


@pytest.fixture(scope="module")
def unet(tiny_kolors: Checkpoint) -> nn.Module:
    return tiny_kolors.training_unet()


@pytest.fixture(scope="module")
def lora(unet: nn.Module) -> LoraWeights:
    return lora_for(unet, rank=3)


@pytest.fixture(scope="module")
def ours(unet: nn.Module, lora: LoraWeights) -> tuple[torch.Tensor, torch.Tensor]:
    """Give what our U-Net predicts without the LoRA and with it at strength 1."""
    plain = predict(unet)
    merged = copy.deepcopy(unet)
    MergedWeights(merged, lora).set(1.0)
    return plain, predict(merged)


def noise() -> dict[str, torch.Tensor]:
    rng = torch.Generator().manual_seed(1)
    return {
        "sample": torch.randn(2, 4, 8, 8, generator=rng),
        "texts": torch.randn(2, 16, 32, generator=rng),
        "pooled_prompt_embeds": torch.randn(2, 32, generator=rng),
    }


def predict(unet: nn.Module) -> torch.Tensor:
    given = noise()
    with torch.no_grad():
        predicted: torch.Tensor = unet(
            given["sample"],
            torch.tensor([500.0]),
            encoder_hidden_states=given["texts"],
            add_time_id=size_ids(64, 64).repeat(2),
            add_text_embeds=given["pooled_prompt_embeds"],
        )
    return predicted


def predict_by_diffusers(unet: UNet2DConditionModel) -> torch.Tensor:
    given = noise()
    with torch.no_grad():
        predicted: torch.Tensor = unet(
            given["sample"],
            torch.tensor(500),
            encoder_hidden_states=given["texts"],
            added_cond_kwargs={"text_embeds": given["pooled_prompt_embeds"], "time_ids": size_ids(64, 64).repeat(2, 1)},
        ).sample
    return predicted


def written(folder: Path, lora: LoraWeights, ecosystem: Any) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "pytorch_lora_weights.safetensors"
    path.write_bytes(lora_bytes(lora, metadata={"modelspec.title": "水墨"}, ecosystem=ecosystem))
    return path


def test_diffsynth_loads_its_file(unet: nn.Module, lora: LoraWeights, ours: Any, tmp_path: Path) -> None:
    manager = ModelManager(torch_dtype=torch.float32, device="cpu")
    manager.model, manager.model_name, manager.model_path = [copy.deepcopy(unet)], ["sdxl_unet"], ["unet"]
    manager.load_lora(str(written(tmp_path, lora, "diffsynth")), lora_alpha=1.0)
    plain, merged = ours
    assert difference(predict(manager.model[0]), merged) < CLOSE
    assert difference(merged, plain) > 1e-2


@pytest.fixture
def diffusers_unet(tiny_checkpoint: Path) -> UNet2DConditionModel:
    """diffusers' own U-Net in Kolors' topology, with the tiny checkpoint's weights."""
    config = read_config(tiny_checkpoint / "unet")
    unet = UNet2DConditionModel(
        **{key: value for key, value in config.items() if not key.startswith("_")},
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    )
    (weights,) = (tiny_checkpoint / "unet").glob("*.safetensors")
    unet.load_state_dict(load_file(weights))
    for name, module in unet.named_modules():
        # DiffSynth normalises before a stack with 1e-5, diffusers with 1e-6: no matter of the LoRA's.
        if isinstance(module, nn.GroupNorm) and ".attentions." in name:
            module.eps = 1e-5
    return unet


def test_diffusers_loads_its_file_through_peft(
    diffusers_unet: UNet2DConditionModel, lora: LoraWeights, ours: Any, tmp_path: Path
) -> None:
    plain, merged = ours
    assert difference(predict_by_diffusers(diffusers_unet), plain) < CLOSE
    name = written(tmp_path, lora, "diffusers").name
    tensors, alphas = StableDiffusionLoraLoaderMixin.lora_state_dict(str(tmp_path), weight_name=name)
    StableDiffusionLoraLoaderMixin.load_lora_into_unet(tensors, network_alphas=alphas, unet=diffusers_unet)
    assert difference(predict_by_diffusers(diffusers_unet), merged) < CLOSE


def comfyui_keys(unet: nn.Module) -> Iterator[tuple[str, str]]:
    """Map a LoRA's keys to weights as ComfyUI does: each weight of its model under diffusers' name, dots as _.

    ComfyUI knows the U-Net by the places of SDXL's first publication; it derives diffusers' places from them by
    counting blocks. We derive both from the module tree.
    """
    for name, _ in unet.named_parameters():
        if not name.endswith(".weight"):
            continue
        number, _, inner = name.removeprefix("blocks.").partition(".")
        if name.startswith("blocks.") and int(number) in UNET_BLOCKS:
            inner = inner.removesuffix(".weight")
            inner = f"{inner}.0" if inner.endswith(".to_out") else inner
            yield f"lora_unet_{UNET_BLOCKS[int(number)]}.{inner}".replace(".", "_"), name


def test_comfyui_loads_the_kohya_file(unet: nn.Module, lora: LoraWeights, ours: Any, tmp_path: Path) -> None:
    tensors = load_file(written(tmp_path, lora, "kohya"))
    patched = copy.deepcopy(unet)
    weights, used = patched.state_dict(), set()
    for key, name in comfyui_keys(unet):
        if f"{key}.lora_up.weight" not in tensors:
            continue
        down, up = tensors[f"{key}.lora_down.weight"], tensors[f"{key}.lora_up.weight"]
        strength = tensors[f"{key}.alpha"].item() / down.shape[0]
        weights[name] += strength * (up @ down)
        used |= {f"{key}.{part}" for part in ("lora_up.weight", "lora_down.weight", "alpha")}
    patched.load_state_dict(weights)
    assert used == set(tensors)
    assert difference(predict(patched), ours[1]) < CLOSE


@pytest.mark.parametrize("ecosystem", ["diffsynth", "diffusers", "kohya"])
def test_each_file_comes_back_as_it_was(lora: LoraWeights, tmp_path: Path, ecosystem: str) -> None:
    assert_same(read_lora(written(tmp_path, lora, ecosystem)), lora)


def assert_same(read: LoraWeights, lora: LoraWeights) -> None:
    assert read.pairs.keys() == lora.pairs.keys()
    for name, (down, up) in lora.pairs.items():
        assert difference(read.pairs[name][1] @ read.pairs[name][0], up @ down) < 1e-6


def test_others_files_come_in_at_their_own_strength(lora: LoraWeights, tmp_path: Path) -> None:
    """Alpha in kohya's files, in peft's settings, in the tree of SDXL's first publication, in older spellings."""
    halved = LoraWeights({name: (down, up / 2) for name, (down, up) in lora.pairs.items()})
    path = tmp_path / "lora.safetensors"
    kohya = load_file(written(tmp_path / "a", lora, "kohya"))
    alpha = {key: tensor / 2 if key.endswith(".alpha") else tensor for key, tensor in kohya.items()}
    save_file(alpha, path)
    assert_same(read_lora(path), halved)
    save_file({key: tensor for key, tensor in kohya.items() if not key.endswith(".alpha")}, path)
    assert_same(read_lora(path), lora)
    places = {
        "down_blocks_1_attentions_0": "input_blocks_4_1",
        "down_blocks_1_attentions_1": "input_blocks_5_1",
        "down_blocks_2_attentions_0": "input_blocks_7_1",
        "down_blocks_2_attentions_1": "input_blocks_8_1",
        "mid_block_attentions_0": "middle_block_1",
        **{f"up_blocks_{n // 3}_attentions_{n % 3}": f"output_blocks_{n}_1" for n in range(6)},
    }
    renamed = {}
    for key, tensor in kohya.items():
        (place,) = (each for each in places if each in key)
        renamed[key.replace(place, places[place])] = tensor
    save_file(renamed, path)
    assert_same(read_lora(path), lora)
    diffusers = load_file(written(tmp_path / "b", lora, "diffusers"))
    settings = json.dumps({"unet.r": 4, "unet.lora_alpha": 2})
    save_file(diffusers, path, metadata={"lora_adapter_metadata": settings})
    assert_same(read_lora(path), halved)
    older = {key.replace("lora_A", "lora.down").replace("lora_B", "lora.up"): each for key, each in diffusers.items()}
    save_file(older, path)
    assert_same(read_lora(path), lora)


def test_other_layers_of_the_stacks_are_taken_too(unet: nn.Module, tmp_path: Path) -> None:
    names = ("blocks.7.proj_in", "blocks.21.transformer_blocks.0.ff", "blocks.41.transformer_blocks.0.act_fn.proj")
    layers: dict[str, Any] = {name: unet.get_submodule(name) for name in names}
    lora = LoraWeights(
        {name: (torch.ones(1, each.in_features), torch.ones(each.out_features, 1)) for name, each in layers.items()}
    )
    assert [diffusers_name(name).partition(".attentions.")[2] for name in names] == [
        "0.proj_in",
        "0.transformer_blocks.0.ff.net.2",
        "2.transformer_blocks.0.ff.net.0.proj",
    ]
    read = read_lora(written(tmp_path, lora, "kohya"))
    assert_same(read, LoraWeights(dict(sorted(lora.pairs.items()))))
    before = predict(unet)
    merged = copy.deepcopy(unet)
    MergedWeights(merged, read).set(0.1)
    assert difference(predict(merged), before) > 1e-4
