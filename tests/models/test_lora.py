"""A LoRA file has the same bytes every time, means the same to every loader, and fits or is refused."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffsynth.models.lora import LoRAFromCivitai
from diffsynth.models.sdxl_unet import SDXLUNet
from kolora.errors import InputAbsent
from kolora.models.checkpoint import Checkpoint, size_ids
from kolora.models.lora import LoraWeights, MergedWeights, lora_bytes, read_lora
from peft import LoraConfig, inject_adapter_in_model
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from tests.tensors import PROJECTIONS, difference, lora_for, write_lora

METADATA = {f"kolora.{name}": str(number) for number, name in enumerate("abcdefgh")} | {"title": "水墨"}
Tensors = dict[str, torch.Tensor]


@pytest.fixture
def unet(tiny_kolors: Checkpoint) -> nn.Module:
    return tiny_kolors.training_unet()


@pytest.fixture
def lora(unet: nn.Module) -> LoraWeights:
    return lora_for(unet)


def predict(unet: nn.Module) -> torch.Tensor:
    rng = torch.Generator().manual_seed(1)
    with torch.no_grad():
        predicted: torch.Tensor = unet(
            torch.randn(2, 4, 8, 8, generator=rng),
            torch.tensor([500.0]),
            encoder_hidden_states=torch.randn(2, 16, 32, generator=rng),
            add_time_id=size_ids(64, 64).repeat(2),
            add_text_embeds=torch.randn(2, 32, generator=rng),
        )
    return predicted


def test_the_same_lora_is_the_same_bytes(lora: LoraWeights) -> None:
    orders = (METADATA, dict(reversed(METADATA.items())))
    assert len({lora_bytes(lora, metadata=metadata) for metadata in orders * 10}) == 1


def test_a_lora_comes_back_as_it_was_written(lora: LoraWeights, tmp_path: Path) -> None:
    path = tmp_path / "lora.safetensors"
    path.write_bytes(lora_bytes(lora, metadata=METADATA))
    read = read_lora(path)
    assert read.pairs.keys() == lora.pairs.keys()
    for name, (down, up) in lora.pairs.items():
        assert torch.equal(read.pairs[name][0], down)
        assert torch.equal(read.pairs[name][1], up)
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    content = path.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    digest = f"0x{hashlib.sha256(content[start:]).hexdigest()}"
    assert metadata == METADATA | {"format": "pt", "modelspec.hash_sha256": digest}


def test_keys_are_diffusers(lora: LoraWeights, tmp_path: Path) -> None:
    names = set(load_file(write_lora(tmp_path / "lora.safetensors", lora)))
    assert len(names) == 2 * len(lora.pairs)
    stem = "unet.up_blocks.1.attentions.2.transformer_blocks.0.attn2"
    assert {f"{stem}.to_q.lora_A.weight", f"{stem}.to_out.0.lora_B.weight"} <= names


def test_merged_is_what_peft_computes(unet: nn.Module, tiny_kolors: Checkpoint) -> None:
    rank, alpha = 4, 2.0
    lora = lora_for(unet, rank=rank)
    plain = predict(unet)
    MergedWeights(unet, LoraWeights({name: (down, up * alpha / rank) for name, (down, up) in lora.pairs.items()})).set(
        1.0
    )

    config = LoraConfig(r=rank, lora_alpha=alpha, target_modules=list(PROJECTIONS))
    adapted: Any = inject_adapter_in_model(config, tiny_kolors.training_unet())
    for name, (down, up) in lora.pairs.items():
        layer = adapted.get_submodule(name)
        layer.lora_A["default"].weight.data = down
        layer.lora_B["default"].weight.data = up

    assert difference(predict(unet), predict(adapted)) < 1e-5
    assert difference(predict(unet), plain) > 1e-2


def test_diffsynth_reads_the_same_update(unet: nn.Module, lora: LoraWeights, tmp_path: Path) -> None:
    tensors = load_file(write_lora(tmp_path / "lora.safetensors", lora))
    updates = LoRAFromCivitai().convert_state_dict_AB(tensors, "unet.", device="cpu", torch_dtype=torch.float32)
    read = SDXLUNet.state_dict_converter().from_diffusers(updates)
    assert read.keys() == {f"{name}.weight" for name in lora.pairs}

    before = {name: weight.clone() for name, weight in unet.state_dict().items()}
    MergedWeights(unet, lora).set(1.0)
    for name, update in read.items():
        assert difference(unet.state_dict()[name] - before[name], update) < 1e-5


def test_a_merge_sums_in_float32(unet: nn.Module, lora: LoraWeights) -> None:
    half = unet.to(torch.bfloat16)
    name, (down, up) = next(iter(lora.pairs.items()))
    weight = half.get_submodule(name).weight
    expected = (weight.float() + 0.5 * (up @ down)).to(torch.bfloat16)
    MergedWeights(half, lora).set(0.5)
    assert torch.equal(weight, expected)


def drop_a_partner(tensors: Tensors) -> Tensors:
    return {name: tensor for name, tensor in tensors.items() if name != next(iter(tensors))}


def drop_a_rank(tensors: Tensors) -> Tensors:
    name = next(iter(tensors))
    return tensors | {name: tensors[name][:1].clone()}


def to_infinity(tensors: Tensors) -> Tensors:
    name = next(iter(tensors))
    return tensors | {name: tensors[name] * float("inf")}


def to_half_a_name(tensors: Tensors) -> Tensors:
    return {"lora_unet_mid_block_attentions_0.lora_down.weight": next(iter(tensors.values()))}


def to_another_place(tensors: Tensors) -> Tensors:
    return {name.replace("down_blocks.1", "down_blocks.0"): tensor for name, tensor in tensors.items()}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (drop_a_partner, r"lacks a matching pair of matrices for blocks\.7\."),
        (drop_a_rank, r"lacks a matching pair of matrices for blocks\.7\."),
        (to_infinity, "that are not finite"),
        (to_half_a_name, "changes lora_unet_mid_block_attentions_0, which"),
        (lambda tensors: tensors | {"unet.mid_block.diff": torch.ones(1)}, "holds unet.mid_block.diff"),
        (lambda tensors: {}, "is an empty LoRA"),
        (to_another_place, r"down_blocks\.0\.attentions.* does not have"),
    ],
)
def test_what_is_no_lora_of_kolors_is_refused(
    lora: LoraWeights, tmp_path: Path, change: Callable[[Tensors], Tensors], named: str
) -> None:
    path = write_lora(tmp_path / "lora.safetensors", lora)
    save_file(change(load_file(path)), path)
    with pytest.raises(InputAbsent, match=named):
        read_lora(path)


@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04 no safetensors"])
def test_an_unreadable_file_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "lora.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputAbsent, match=r"lora\.safetensors is no readable LoRA"):
        read_lora(path)


@pytest.mark.parametrize(
    ("name", "named"),
    [
        ("blocks.7.transformer_blocks.1.attn1.to_q", "which this checkpoint lacks"),
        ("blocks.7.transformer_blocks.0.attn1.to_q", r"in another shape, \(32, 32\)"),
    ],
)
def test_a_lora_for_a_larger_checkpoint_is_refused(unet: nn.Module, name: str, named: str) -> None:
    with pytest.raises(InputAbsent, match=named):
        MergedWeights(unet, LoraWeights({name: (torch.zeros(2, 640), torch.zeros(640, 2))}))
