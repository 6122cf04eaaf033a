"""The VAE in strips gives what the whole one gives: measured 1e-6 of the largest value, tiles would give a tenth."""

from __future__ import annotations

import pytest
import torch
from kolora.models import strips
from kolora.models.architecture import build_vae_decoder, build_vae_encoder
from kolora.models.strips import decode_in_strips, encode_in_strips

from tests.tensors import difference
from tests.tiny import configs

TOLERANCE = 1e-5


@pytest.fixture(autouse=True, params=[2**11, 2**13 + 7, 2**24])
def _strips(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Strips of one row, of an odd number of rows, and of all."""
    monkeypatch.setattr(strips, "STRIP", request.param)
    torch.manual_seed(0)


@torch.inference_mode()
def test_decoding() -> None:
    decoder = build_vae_decoder(configs()["vae"])
    latents = torch.randn(2, 4, 9, 16)
    assert difference(decode_in_strips(decoder, latents), decoder(latents)) < TOLERANCE


@torch.inference_mode()
def test_encoding() -> None:
    encoder = build_vae_encoder(configs()["vae"])
    pixels = torch.rand(2, 3, 72, 128) * 2 - 1
    assert difference(encode_in_strips(encoder, pixels), encoder(pixels)) < TOLERANCE
