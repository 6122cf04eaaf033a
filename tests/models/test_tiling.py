"""The tiled VAE gives what the whole one gives: measured 1e-6 of the largest value; norms of a tile alone: a tenth."""

from __future__ import annotations

import pytest
import torch
from kolora.models import tiling
from kolora.models.architecture import build_vae_decoder, build_vae_encoder
from kolora.models.tiling import decode_tiled, encode_tiled

from tests.tensors import difference
from tests.tiny import configs

TOLERANCE = 1e-5


@pytest.fixture(autouse=True, params=[2**11, 2**13 + 7, 2**24])
def _tiles(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiles of one row, of an odd number of rows, and of all."""
    monkeypatch.setattr(tiling, "TILE", request.param)
    torch.manual_seed(0)


@torch.inference_mode()
def test_decoding() -> None:
    decoder = build_vae_decoder(configs()["vae"])
    latents = torch.randn(2, 4, 9, 16)
    assert difference(decode_tiled(decoder, latents), decoder(latents)) < TOLERANCE


@torch.inference_mode()
def test_encoding() -> None:
    encoder = build_vae_encoder(configs()["vae"])
    pixels = torch.rand(2, 3, 72, 128) * 2 - 1
    assert difference(encode_tiled(encoder, pixels), encoder(pixels)) < TOLERANCE
