"""The adapters compute what peft's do, gradients included, and one vector holds them all."""

import copy

import pytest
import torch
from kolora.spec.sections.lora import Lora
from kolora.training.adapters import FlatParameters, add_adapters
from kolora.training.config import TrainingConfig
from peft import LoraConfig, inject_adapter_in_model
from torch import nn

from tests.tensors import PROJECTIONS, difference


def network(*, bias):
    torch.manual_seed(0)
    layers = nn.ModuleDict({name: nn.Linear(6, 6, bias=bias) for name in PROJECTIONS}).requires_grad_(False)
    return nn.ModuleDict({"attn": layers})


def through(network, given):
    for name in PROJECTIONS:
        given = given + network["attn"][name](given).tanh()
    return given


def adapted(**settings):
    """Give the same network with our adapters and with peft's own, of the same weights, B's not zero."""
    ours = network(bias=True)
    add_adapters(ours, TrainingConfig.of(Lora(rank=3, alpha=5.0, **settings)))
    theirs = network(bias=True)
    inject_adapter_in_model(LoraConfig(r=3, lora_alpha=5.0, target_modules=list(PROJECTIONS)), theirs)
    for name, parameter in ours.named_parameters():
        if ".lora_B." in name:
            nn.init.normal_(parameter, generator=torch.Generator().manual_seed(1))
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


@pytest.mark.parametrize("shape", [(4, 6), (2, 5, 6)])
def test_the_lean_forward_and_its_gradients_are_pefts(shape):
    ours, theirs = adapted()
    flat = FlatParameters(ours, dtype=torch.float32)
    given = torch.randn(shape, generator=torch.Generator().manual_seed(2))
    ours_in, theirs_in = given.clone().requires_grad_(), given.clone().requires_grad_()
    y, reference = through(ours, ours_in), through(theirs, theirs_in)
    assert difference(y, reference) < 1e-5
    (reference**2).sum().backward()
    *gradients, input_gradient = torch.autograd.grad((y**2).sum(), [*flat.leaves, ours_in])
    assert difference(input_gradient, theirs_in.grad) < 1e-5
    flat.scatter_gradients(gradients)
    flat.vector.data.copy_(flat.vector.grad)  # the adapters' parameters are views of the vector
    expected = {name: each.grad for name, each in theirs.named_parameters() if ".lora_" in name}
    learned = {name: each for name, each in ours.named_parameters() if ".lora_" in name}
    assert learned.keys() == expected.keys()
    assert all(difference(learned[name], expected[name]) < 1e-5 for name in expected)


def test_in_half_precision_the_network_computes_with_the_vector_rounded():
    ours, _ = adapted()
    flat = FlatParameters(ours, dtype=torch.bfloat16)
    assert {leaf.dtype for leaf in flat.leaves} == {torch.bfloat16}
    assert flat.vector.dtype == torch.float32
    with torch.no_grad():
        flat.vector.mul_(2.0)
    before = copy.deepcopy([leaf.detach() for leaf in flat.leaves])
    flat.apply()
    scales = [1.0, 5.0 / 3] * len(PROJECTIONS)
    parts = [each for name, each in ours.named_parameters() if ".lora_" in name]
    for leaf, old, part, scale in zip(flat.leaves, before, parts, scales, strict=True):
        assert torch.equal(leaf, (part * scale).bfloat16())
        assert not torch.equal(leaf, old)
    flat.scatter_gradients([torch.ones_like(leaf) for leaf in flat.leaves])
    assert flat.vector.grad.dtype == torch.float32


def test_the_weights_of_a_vector_have_their_scale_in_them():
    ours, _ = adapted()
    layers = {name: layer.pair() for name, layer in ours.named_modules() if hasattr(layer, "pair")}
    flat = FlatParameters(ours, dtype=torch.float32)
    weights = flat.weights(3 * flat.vector.data).pairs
    assert list(weights) == [f"attn.{name}" for name in PROJECTIONS]
    for name, (down, up) in weights.items():
        torch.testing.assert_close(down, 3 * layers[name][0])
        torch.testing.assert_close(up, 3 * layers[name][1] * 5.0 / 3)


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_until_it_is_worn_the_adapter_is_pefts(dropout):
    ours, theirs = adapted(dropout=dropout)
    given = torch.randn(3, 6)
    assert torch.equal(through(ours.eval(), given), through(theirs.eval(), given))
    FlatParameters(ours, dtype=torch.float32)
    assert difference(through(ours, given), through(theirs, given)) < 1e-5


def test_dropout_drops_what_the_adapter_sees_only():
    ours, _ = adapted(dropout=0.5)
    given = torch.ones(64, 6)
    ours.train()
    torch.manual_seed(0)
    one, other = through(ours, given), through(ours, given)
    assert not torch.equal(one, other)
    ours.eval()
    assert torch.equal(through(ours, given), through(ours, given))
