"""Published names lead through DiffSynth's own converters back to DiffSynth's names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from diffsynth.models.sdxl_unet import SDXLUNet
from diffsynth.models.sdxl_vae_decoder import SDXLVAEDecoder
from diffsynth.models.sdxl_vae_encoder import SDXLVAEEncoder
from kolora.models.names import UNET_BLOCKS, unet_name, vae_decoder_name, vae_encoder_name

STACKS = {
    7: "down_blocks.1.attentions.0",
    10: "down_blocks.1.attentions.1",
    15: "down_blocks.2.attentions.0",
    18: "down_blocks.2.attentions.1",
    21: "mid_block.attentions.0",
    25: "up_blocks.0.attentions.0",
    28: "up_blocks.0.attentions.1",
    31: "up_blocks.0.attentions.2",
    35: "up_blocks.1.attentions.0",
    38: "up_blocks.1.attentions.1",
    41: "up_blocks.1.attentions.2",
}


@pytest.mark.parametrize(
    ("kind", "settings", "rename"),
    [
        (SDXLUNet, {"is_kolors": True}, unet_name),
        (SDXLVAEEncoder, {}, vae_encoder_name),
        (SDXLVAEDecoder, {}, vae_decoder_name),
    ],
)
def test_diffsynth_reads_every_published_name_as_its_own(
    kind: Any, settings: dict[str, Any], rename: Callable[[str], str]
) -> None:
    with torch.device("meta"):
        weights = kind(**settings).state_dict()
    published = {rename(name): tensor for name, tensor in weights.items()}
    assert len(published) == len(weights)
    read, *_ = kind.state_dict_converter().from_diffusers(published)
    assert read.keys() == weights.keys()
    # Of projections it gives a squeezed view, for the sake of SD 1.5, whose are convolutions.
    assert all(read[name] is tensor or read[name]._base is tensor for name, tensor in weights.items())


def test_the_transformer_stacks_are_kolors_eleven() -> None:
    assert {number: place for number, place in UNET_BLOCKS.items() if ".attentions." in place} == STACKS


@pytest.mark.parametrize(
    ("name", "published"),
    [
        (
            "blocks.7.transformer_blocks.0.attn1.to_out.weight",
            "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_out.0.weight",
        ),
        (
            "blocks.21.transformer_blocks.9.ff.bias",
            "mid_block.attentions.0.transformer_blocks.9.ff.net.2.bias",
        ),
        ("text_intermediate_proj.weight", "encoder_hid_proj.weight"),
        ("conv_in.bias", "conv_in.bias"),
    ],
)
def test_names_are_diffusers(name: str, published: str) -> None:
    assert unet_name(name) == published
