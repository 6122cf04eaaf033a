"""The blocks compute what DiffSynth's do, both as it does and as the kernels have them; here torch stands for these."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from kolora.models import layers
from kolora.models.architecture import build_unet, build_vae_decoder, build_vae_encoder
from kolora.models.diffsynth_blocks import GEGLU, AttentionBlock, BasicTransformerBlock, ResnetBlock
from kolora.models.layers import DIFFSYNTHS, GatedUnit, attentions, join_projections, to_diffsynth
from kolora.models.predictor import Predictor
from kolora.models.prompt_embeds import PromptEmbeds
from kolora.models.sequential_offload import offload, unet_pieces
from kolora.spec.sections.lora import Lora
from kolora.training.adapters import FlatParameters, add_adapters
from kolora.training.config import TrainingConfig
from torch import nn

from tests.tensors import difference
from tests.tiny import configs


def unet() -> nn.Module:
    """Build the tiny U-Net with weights of which none is like another, norms and biases too."""
    network = build_unet(configs()["unet"]).requires_grad_(False)
    rng = torch.Generator().manual_seed(0)
    for parameter in network.parameters():
        parameter.data = torch.randn(parameter.shape, generator=rng) / max(1, parameter[0].numel()) ** 0.5
    return network


@pytest.fixture
def as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the blocks take the way that they take where there are kernels."""
    monkeypatch.setattr(layers, "uses_kernels", lambda _: True)


def asked(network: nn.Module, sample: torch.Tensor) -> torch.Tensor:
    rng = torch.Generator().manual_seed(1)
    rows = len(sample)
    return network(
        sample,
        torch.full((rows,), 500.0),
        encoder_hidden_states=torch.randn(rows, 256, 32, generator=rng).to(sample),
        add_time_id=torch.ones(6 * rows),
        add_text_embeds=torch.randn(rows, 32, generator=rng).to(sample),
    )


def answers(network: nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
    """Give what a network predicts and the gradient of what it was given."""
    sample = torch.randn(2, 4, 16, 8, generator=torch.Generator().manual_seed(2)).requires_grad_()
    predicted = asked(network, sample)
    (gradient,) = torch.autograd.grad(predicted.square().sum(), sample)
    return predicted, gradient


def apart(ours: Sequence[torch.Tensor], theirs: Sequence[torch.Tensor]) -> float:
    return max(difference(one, other) for one, other in zip(ours, theirs, strict=True))


def diffsynths() -> nn.Module:
    network = unet()
    to_diffsynth(network)
    return network


def test_without_kernels_they_compute_as_diffsynth_does() -> None:
    assert apart(answers(unet()), answers(diffsynths())) < 1e-5


@pytest.mark.usefixtures("as_on_a_gpu")
@pytest.mark.parametrize("joins", [False, True])
def test_as_the_kernels_have_them_they_give_the_same(joins: bool) -> None:
    ours = unet()
    if joins:
        join_projections(ours)
    assert apart(answers(ours), answers(diffsynths())) < 1e-5


@pytest.mark.usefixtures("as_on_a_gpu")
@pytest.mark.parametrize(("build", "given"), [(build_vae_decoder, (1, 4, 8, 4)), (build_vae_encoder, (1, 3, 32, 16))])
def test_a_vae_is_the_same_too(build: Callable[[Any], nn.Module], given: tuple[int, ...]) -> None:
    ours, theirs = build(configs()["vae"]).requires_grad_(False), build(configs()["vae"])
    theirs.load_state_dict(ours.state_dict())
    to_diffsynth(theirs)
    sample = torch.randn(given, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        assert difference(ours(sample), theirs(sample)) < 1e-5


@pytest.mark.usefixtures("as_on_a_gpu")
def test_what_was_cached_is_used() -> None:
    network = unet()
    join_projections(network)
    embeds = PromptEmbeds(torch.randn(2, 256, 32), torch.randn(2, 32))
    latents = torch.randn(1, 4, 8, 8)
    ids = torch.ones(12)
    captured, called = (Predictor(network, use_graph=flag).prepare(embeds, latents, ids) for flag in (True, False))
    reference = Predictor(diffsynths(), use_graph=False).prepare(embeds, latents, ids)
    with torch.inference_mode():
        expected = reference(latents, 300)
        assert difference(captured(latents, 300), expected) < 1e-5
        assert difference(called(latents, 300), expected) < 1e-5


def lora_gradients(network: nn.Module, **settings: object) -> torch.Tensor:
    """Give the gradients of every adapter of a network in float64, in order of their names."""
    add_adapters(network, TrainingConfig.of(Lora(rank=3, alpha=5.0, **settings)))
    for name, parameter in network.named_parameters():
        if ".lora_B." in name:
            nn.init.normal_(parameter, generator=torch.Generator().manual_seed(len(name)))
    flat = FlatParameters(network, dtype=torch.float64)
    sample = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(2)).double()
    torch.manual_seed(3)  # dropout draws from the global stream
    flat.scatter_gradients(torch.autograd.grad(asked(network, sample).square().sum(), flat.leaves))
    assert flat.vector.numel() == sum(each.numel() for each in network.parameters() if each.requires_grad)
    pairs = flat.weights(flat.vector.grad).pairs
    assert len(pairs) == 22 * len(settings.get("target_modules", "qkvo"))
    return torch.cat([torch.cat([down.flatten(), up.flatten()]) for _, (down, up) in sorted(pairs.items())])


@pytest.mark.usefixtures("as_on_a_gpu")
@pytest.mark.parametrize(
    ("settings", "as_one"),
    [
        ({}, True),
        ({"dropout": 0.5}, False),
        ({"target_modules": ("to_q", "to_out")}, False),
        ({"target_modules": ("to_k",)}, False),
    ],
)
def test_adapters_of_joined_projections_learn_what_they_learn_alone(settings: dict[str, Any], as_one: bool) -> None:
    joined = unet().double()
    join_projections(joined)
    ours, theirs = lora_gradients(joined, **settings), lora_gradients(diffsynths().double(), **settings)
    assert {each.adapted is not None for each in attentions(joined)} == {as_one}
    assert difference(ours, theirs) < 1e-6  # they end in float32


@pytest.mark.usefixtures("as_on_a_gpu")
def test_what_lies_between_joined_adapters_is_nothing() -> None:
    network = unet()
    join_projections(network)
    add_adapters(network, TrainingConfig.of(Lora(rank=3, alpha=5.0)))
    flat = FlatParameters(network, dtype=torch.float32)
    for _ in range(2):
        flat.vector.data.fill_(1.0)
        flat.apply()
        used = sum(int((leaf != 0).sum()) for leaf in flat.leaves)
        assert used == flat.vector.numel() < sum(leaf.numel() for leaf in flat.leaves)


@pytest.mark.usefixtures("as_on_a_gpu")
@pytest.mark.parametrize("room", [0, 200_000])
def test_offloaded_weights_are_joined_when_they_arrive(room: int) -> None:
    resident, offloaded = unet(), unet()
    join_projections(resident)
    offload(offloaded, unet_pieces(offloaded), device=torch.device("cpu"), resident_bytes=room, pinned=True)
    for _ in range(2):
        assert apart(answers(offloaded), answers(resident)) == 0


@pytest.mark.usefixtures("as_on_a_gpu")
def test_blocks_whose_weights_are_trained_are_torchs(monkeypatch: pytest.MonkeyPatch) -> None:
    network, theirs = unet().requires_grad_(), diffsynths().requires_grad_()
    for name in ("group_norm", "layer_norm", "add"):
        monkeypatch.setattr(layers, name, lambda *_: pytest.fail("its kernel gives weights no gradient"))
    sample = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(2))
    gradients = []
    for each in (network, theirs):
        slopes = torch.autograd.grad(asked(each, sample).sum(), list(each.parameters()))
        gradients.append(torch.cat([slope.flatten() for slope in slopes]))
    assert difference(*gradients) < 1e-4


def test_joined_weights_are_views_of_one_and_can_be_changed_in_place() -> None:
    (attention, *_) = attentions(unet())
    before = [each.weight.clone() for each in attention.joined()]
    attention.join()
    assert torch.equal(attention.joined_weight(), torch.cat(before))
    attention.to_k.weight.add_(1.0)
    assert torch.equal(attention.joined_weight(), torch.cat([before[0], before[1] + 1.0, before[2]]))


def test_the_gated_unit_is_diffsynths() -> None:
    ours, theirs = GatedUnit(4, 6), GEGLU(4, 6)
    theirs.load_state_dict(ours.state_dict())
    given = torch.randn(2, 3, 4)
    results, gradients = [], []
    for each in (ours, theirs):
        leaf = given.clone().requires_grad_()
        results.append(each(leaf))
        gradients.append(torch.autograd.grad(results[-1].square().sum(), leaf)[0])
    assert difference(*results) < 1e-6
    assert difference(*gradients) < 1e-6


def test_diffsynths_own_take_their_place_with_their_weights() -> None:
    network = unet()
    before = {name: tensor.data_ptr() for name, tensor in network.state_dict().items()}
    to_diffsynth(network)
    assert {name: tensor.data_ptr() for name, tensor in network.state_dict().items()} == before
    kinds = [type(module) for module in network.modules()]
    assert not set(kinds) & {*DIFFSYNTHS, GatedUnit}
    assert [kinds.count(each) for each in (ResnetBlock, AttentionBlock, BasicTransformerBlock, GEGLU)] == [
        17,
        11,
        11,
        11,
    ]
