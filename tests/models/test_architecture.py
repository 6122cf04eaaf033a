"""The networks have DiffSynth's shape at Kolors' size, and the same topology at any other."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from diffsynth.models.kolors_text_encoder import ChatGLMConfig, ChatGLMModel
from diffsynth.models.sdxl_unet import SDXLUNet
from diffsynth.models.sdxl_vae_decoder import SDXLVAEDecoder
from diffsynth.models.sdxl_vae_encoder import SDXLVAEEncoder
from kolora.configs import KOLORS
from kolora.errors import InputAbsent
from kolora.models.architecture import build_text_encoder, build_unet, build_vae_decoder, build_vae_encoder
from torch import nn

from tests.tiny import configs

Build = Callable[[Mapping[str, Any]], nn.Module]


def on_meta(make: Callable[[], nn.Module]) -> nn.Module:
    with torch.device("meta"):
        return make()


def shapes(module: nn.Module) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in module.state_dict().items()}


def settings(module: nn.Module) -> dict[str, dict[str, Any]]:
    """Give what shapes no weight and yet every result: groups, epsilons, heads, strides, scaling."""
    plain = bool | int | float | str | tuple
    found = {}
    for name, part in module.named_modules():
        found[name] = {key: value for key, value in vars(part).items() if isinstance(value, plain)}
    return found


def tree(build: Build, config: Mapping[str, Any]) -> set[str]:
    """Name a network's weights but for the shortcuts, which a residual block of constant width does not need."""
    return {name for name in shapes(on_meta(lambda: build(config))) if "conv_shortcut" not in name}


def billions(module: nn.Module) -> float:
    return sum(parameter.numel() for parameter in module.parameters()) / 1e9


@pytest.mark.parametrize(
    ("part", "build", "theirs"),
    [
        ("unet", build_unet, lambda: SDXLUNet(is_kolors=True)),
        ("vae", build_vae_encoder, SDXLVAEEncoder),
        ("vae", build_vae_decoder, SDXLVAEDecoder),
        (
            "text_encoder",
            build_text_encoder,
            lambda: ChatGLMModel(ChatGLMConfig(**KOLORS["text_encoder"]), empty_init=False),
        ),
    ],
)
def test_kolors_config_gives_diffsynths_network(part: str, build: Build, theirs: Callable[[], nn.Module]) -> None:
    ours, reference = on_meta(lambda: build(KOLORS[part])), on_meta(theirs)
    assert shapes(ours) == shapes(reference)
    assert settings(ours) == settings(reference)
    assert any("eps" in each for each in settings(ours).values())


@pytest.mark.parametrize(
    ("part", "build", "size"), [("unet", build_unet, 2.58), ("text_encoder", build_text_encoder, 6.24)]
)
def test_kolors_has_its_published_size(part: str, build: Build, size: float) -> None:
    assert billions(on_meta(lambda: build(KOLORS[part]))) == pytest.approx(size, abs=0.005)


def test_tiny_unet_is_kolors_with_fewer_layers() -> None:
    deeper = re.compile(r"\.transformer_blocks\.[1-9]")
    names = {name for name in tree(build_unet, KOLORS["unet"]) if not deeper.search(name)}
    assert tree(build_unet, configs()["unet"]) == names


@pytest.mark.parametrize("build", [build_vae_encoder, build_vae_decoder])
def test_tiny_vae_is_the_same_tree(build: Build) -> None:
    assert tree(build, configs()["vae"]) == tree(build, KOLORS["vae"])


@pytest.mark.parametrize(("height", "width"), [(8, 8), (8, 16), (24, 8)])
def test_tiny_unet_predicts_any_format(height: int, width: int) -> None:
    config = configs()["unet"]
    unet = build_unet(config)
    predicted = unet(
        torch.zeros(2, 4, height, width),
        torch.tensor([5.0]),
        encoder_hidden_states=torch.zeros(2, 256, config["encoder_hid_dim"]),
        add_time_id=torch.zeros(12),
        add_text_embeds=torch.zeros(2, config["encoder_hid_dim"]),
    )
    assert predicted.shape == (2, 4, height, width)


@pytest.mark.parametrize(
    ("part", "build", "key"),
    [
        ("unet", build_unet, "cross_attention_dim"),
        ("vae", build_vae_decoder, "scaling_factor"),
        ("vae", build_vae_encoder, "block_out_channels"),
    ],
)
def test_config_without_a_key_is_refused_by_name(part: str, build: Build, key: str) -> None:
    config = {name: value for name, value in KOLORS[part].items() if name != key}
    with pytest.raises(InputAbsent, match=f"{part}/config.json.*{key}"):
        on_meta(lambda: build(config))


def test_config_of_another_shape_is_refused() -> None:
    with pytest.raises(InputAbsent, match=r"unet/config\.json"):
        build_unet({**configs()["unet"], "block_out_channels": [320, 640]})


def test_text_encoder_does_not_depend_on_what_transformers_fills_in() -> None:
    config = {
        name: value for name, value in KOLORS["text_encoder"].items() if name not in ("use_cache", "original_rope")
    }
    encoder: Any = on_meta(lambda: build_text_encoder({**config, "transformers_version": "4.30.2", "auto_map": {}}))
    assert encoder.config.original_rope is True
    assert encoder.config.use_cache is False
