"""A network whose weights come piece by piece computes what a resident one does, to the bit, forward and backward."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from kolora.models.architecture import build_unet
from kolora.models.sequential_offload import offload, text_pieces, unet_pieces
from torch import nn

from tests.tiny import configs, text_encoder

CPU = torch.device("cpu")


def unet() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build_unet(configs()["unet"]).requires_grad_(False)


def asked(network: nn.Module, **settings: Any) -> torch.Tensor:
    rng = torch.Generator().manual_seed(1)
    return network(
        torch.randn(2, 4, 8, 8, generator=rng, requires_grad=settings.pop("learns", False)),
        torch.tensor([500.0]),
        encoder_hidden_states=torch.randn(2, 256, 32, generator=rng),
        add_time_id=torch.ones(12),
        add_text_embeds=torch.randn(2, 32, generator=rng),
        **settings,
    )


@pytest.mark.parametrize("room", [0, 200_000])
def test_a_offloaded_unet_is_the_resident_one(room: int) -> None:
    offloaded = unet()
    offload(offloaded, unet_pieces(offloaded), device=CPU, resident_bytes=room, pinned=True)
    with torch.inference_mode():
        for _ in range(2):
            assert torch.equal(asked(offloaded), asked(unet()))


def test_a_offloaded_text_encoder_is_the_resident_one() -> None:
    def encoded(streams: bool) -> Sequence[torch.Tensor]:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            encoder = text_encoder(configs()["text_encoder"]).requires_grad_(False)
        if streams:
            offload(encoder, text_pieces(encoder), device=CPU, resident_bytes=0, pinned=False)
        with torch.inference_mode():
            return encoder(input_ids=torch.arange(256)[None], output_hidden_states=True).hidden_states

    assert all(torch.equal(ours, theirs) for ours, theirs in zip(encoded(True), encoded(False), strict=True))


@pytest.mark.parametrize("checkpointing", [False, True])
def test_gradients_are_the_resident_ones(checkpointing: bool) -> None:
    def gradients(streams: bool) -> list[torch.Tensor]:
        network = unet().train()
        learned = [layer.attn1.to_q.weight.requires_grad_() for layer in network.modules() if hasattr(layer, "attn1")]
        if streams:
            offload(network, unet_pieces(network), device=CPU, resident_bytes=0, pinned=True)
        found = []
        for _ in range(3):  # the second pass knows the order of the backward pass, the third follows one that knew it
            found += torch.autograd.grad(asked(network, use_gradient_checkpointing=checkpointing).sum(), learned)
        return found

    ours, theirs = gradients(True), gradients(False)
    assert len(ours) == 33
    assert all(torch.equal(one, other) for one, other in zip(ours, theirs, strict=True))


def test_weights_are_there_only_in_their_turn() -> None:
    network = unet()
    pieces = unet_pieces(network)
    at_home = [id(next(piece.parameters())) for piece in pieces]
    offload(network, pieces, device=CPU, resident_bytes=0, pinned=False)
    came: list[weakref.ref[torch.Tensor]] = []
    most = 0

    def look(piece: nn.Module, _given: Any) -> None:
        nonlocal most
        gc.collect()
        came.append(weakref.ref(next(piece.parameters())))
        most = max(most, sum(each() is not None for each in came))
        assert sum(id(next(each.parameters())) != home for each, home in zip(pieces, at_home, strict=True)) == 1

    for piece in pieces:
        piece.register_forward_pre_hook(look)
    with torch.inference_mode():
        asked(network)
    assert len(came) == len(pieces)
    assert most == 1
    assert [id(next(piece.parameters())) for piece in pieces] == at_home


def test_a_change_of_the_weights_is_seen_by_the_next_pass() -> None:
    offloaded, resident = unet(), unet()
    offload(offloaded, unet_pieces(offloaded), device=CPU, resident_bytes=0, pinned=False)
    with torch.inference_mode():
        asked(offloaded)
        for network in (offloaded, resident):
            for parameter in network.parameters():
                parameter.data.mul_(1.5)
        assert torch.equal(asked(offloaded), asked(resident))


def test_a_pass_cut_short_leaves_nothing_behind() -> None:
    offloaded = unet()
    pieces = unet_pieces(offloaded)
    offload(offloaded, pieces, device=CPU, resident_bytes=0, pinned=False)
    handle = pieces[4].register_forward_hook(lambda *_: (_ for _ in ()).throw(MemoryError))
    with torch.inference_mode():
        with pytest.raises(MemoryError):
            asked(offloaded)
        handle.remove()
        assert torch.equal(asked(offloaded), asked(unet()))
