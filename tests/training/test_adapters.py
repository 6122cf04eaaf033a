"""The lean adapters compute what peft's do, gradients included, and one vector holds them all."""

import copy

import pytest
import torch
from kolora.spec.story import Lora
from kolora.training.adapters import Master, add_adapters
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
    """Give the same network with lean adapters and with peft's own, of the same weights, B's not zero."""
    lean = network(bias=True)
    add_adapters(lean, Lora(rank=3, alpha=5.0, **settings))
    theirs = network(bias=True)
    inject_adapter_in_model(LoraConfig(r=3, lora_alpha=5.0, target_modules=list(PROJECTIONS)), theirs)
    for name, parameter in lean.named_parameters():
        if ".lora_B." in name:
            nn.init.normal_(parameter, generator=torch.Generator().manual_seed(1))
    theirs.load_state_dict(lean.state_dict())
    return lean, theirs


@pytest.mark.parametrize("shape", [(4, 6), (2, 5, 6)])
def test_the_lean_forward_and_its_gradients_are_pefts(shape):
    lean, theirs = adapted()
    master = Master(lean, dtype=torch.float32)
    given = torch.randn(shape, generator=torch.Generator().manual_seed(2))
    ours_in, theirs_in = given.clone().requires_grad_(), given.clone().requires_grad_()
    ours, reference = through(lean, ours_in), through(theirs, theirs_in)
    assert difference(ours, reference) < 1e-5
    (reference**2).sum().backward()
    *gradients, input_gradient = torch.autograd.grad((ours**2).sum(), [*master.leaves, ours_in])
    assert difference(input_gradient, theirs_in.grad) < 1e-5
    master.take(gradients)
    master.vector.data.copy_(master.vector.grad)  # the adapters' parameters are views of the vector
    expected = {name: each.grad for name, each in theirs.named_parameters() if ".lora_" in name}
    learned = {name: each for name, each in lean.named_parameters() if ".lora_" in name}
    assert learned.keys() == expected.keys()
    assert all(difference(learned[name], expected[name]) < 1e-5 for name in expected)


def test_in_half_precision_the_network_computes_with_the_vector_rounded():
    lean, _ = adapted()
    master = Master(lean, dtype=torch.bfloat16)
    assert {leaf.dtype for leaf in master.leaves} == {torch.bfloat16}
    assert master.vector.dtype == torch.float32
    with torch.no_grad():
        master.vector.mul_(2.0)
    before = copy.deepcopy([leaf.detach() for leaf in master.leaves])
    master.wear()
    scales = [1.0, 5.0 / 3] * len(PROJECTIONS)
    parts = [each for name, each in lean.named_parameters() if ".lora_" in name]
    for leaf, old, part, scale in zip(master.leaves, before, parts, scales, strict=True):
        assert torch.equal(leaf, (part * scale).bfloat16())
        assert not torch.equal(leaf, old)
    master.take([torch.ones_like(leaf) for leaf in master.leaves])
    assert master.vector.grad.dtype == torch.float32


def test_the_weights_of_a_vector_have_their_scale_in_them():
    lean, _ = adapted()
    layers = {name: layer.pair() for name, layer in lean.named_modules() if hasattr(layer, "pair")}
    master = Master(lean, dtype=torch.float32)
    weights = master.weights(3 * master.vector.data).pairs
    assert list(weights) == [f"attn.{name}" for name in PROJECTIONS]
    for name, (down, up) in weights.items():
        torch.testing.assert_close(down, 3 * layers[name][0])
        torch.testing.assert_close(up, 3 * layers[name][1] * 5.0 / 3)


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_until_it_is_worn_the_adapter_is_pefts(dropout):
    lean, theirs = adapted(dropout=dropout)
    given = torch.randn(3, 6)
    assert torch.equal(through(lean.eval(), given), through(theirs.eval(), given))
    Master(lean, dtype=torch.float32)
    assert difference(through(lean, given), through(theirs, given)) < 1e-5


def test_dropout_drops_what_the_adapter_sees_only():
    lean, _ = adapted(dropout=0.5)
    given = torch.ones(64, 6)
    lean.train()
    torch.manual_seed(0)
    one, other = through(lean, given), through(lean, given)
    assert not torch.equal(one, other)
    lean.eval()
    assert torch.equal(through(lean, given), through(lean, given))
