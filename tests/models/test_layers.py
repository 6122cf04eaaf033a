"""The gated activation is DiffSynth's, gradients included, and DiffSynth's own can take its place."""

import torch

from runner.models.architecture import use_diffsynths_gate
from runner.models.diffsynth_blocks import GEGLU
from runner.models.gating import GatedUnit
from tests.tensors import difference


def test_it_is_diffsynths():
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


def test_diffsynths_own_takes_its_place_with_its_weights(tiny_parts):
    unet = tiny_parts.training_unet()
    before = {name: tensor.data_ptr() for name, tensor in unet.state_dict().items()}
    use_diffsynths_gate(unet)
    assert {name: tensor.data_ptr() for name, tensor in unet.state_dict().items()} == before
    kinds = [type(module) for module in unet.modules() if isinstance(module, GatedUnit | GEGLU)]
    assert kinds == [GEGLU] * 11
