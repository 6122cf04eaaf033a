"""The counts are those of the networks themselves, at Kolors' size and tiny."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from kolora.configs import KOLORS
from kolora.memory.weights import count_weights
from kolora.models.architecture import build_text_encoder, build_unet, build_vae_decoder, build_vae_encoder
from kolora.models.sequential_offload import text_pieces, unet_pieces
from torch import nn

from tests.tensors import projections
from tests.tiny import configs


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("known", [KOLORS, configs()], ids=["Kolors", "tiny"])
def test_counts_are_the_networks(known: dict[str, dict[str, Any]]) -> None:
    counted = count_weights(known)
    with torch.device("meta"):
        unet = build_unet(known["unet"])
        text = build_text_encoder(known["text_encoder"])
        encoder, decoder = build_vae_encoder(known["vae"]), build_vae_decoder(known["vae"])
    text.output_layer = None
    assert counted.unet == count(unet)
    assert counted.unet_pieces == sum(count(piece) for piece in unet_pieces(unet))
    assert counted.text_layers == sum(count(piece) for piece in text_pieces(text))
    assert counted.unet_piece == max(count(piece) for piece in unet_pieces(unet))
    assert counted.unet_stack == max(count(block) for block in unet.blocks)
    assert counted.unet_adapted == sum(module.in_features + module.out_features for _, module in projections(unet))
    assert counted.text_encoder == count(text)
    assert counted.text_layer == max(count(piece) for piece in text_pieces(text))
    assert (counted.vae_encoder, counted.vae_decoder) == (count(encoder), count(decoder))
