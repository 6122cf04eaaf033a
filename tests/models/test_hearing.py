"""What the U-Net heard of a text stands in for the text, is computed from the weights as they are, and is forgotten."""

import torch
from kolora.models.checkpoint import size_ids
from kolora.models.conditioning import Conditioning
from kolora.models.hearing import TextProjection, having_heard, hear, text_projections
from kolora.models.predictor import Predictor

from tests.tensors import difference


def asked(unet, hidden):
    generator = torch.Generator().manual_seed(0)
    rows = len(hidden)
    sample = torch.randn(1, 4, 8, 8, generator=generator).expand(rows, -1, -1, -1)
    pooled = torch.randn(rows, 32, generator=generator)
    known = {"encoder_hidden_states": hidden, "add_time_id": size_ids(64, 64).repeat(rows), "add_text_embeds": pooled}
    return unet(sample, torch.tensor([500.0]), **known)


def texts(seed=0, rows=2):
    return torch.randn(rows, 256, 32, generator=torch.Generator().manual_seed(seed))


@torch.inference_mode()
def test_what_was_heard_stands_in_for_the_text(tiny_kolors):
    unet = tiny_kolors.unet()
    expected = asked(unet, texts())
    heard = hear(unet, texts())
    assert len(heard) == len(text_projections(unet)) == 1 + 2 * 11  # the first, and key and value of eleven stacks
    with having_heard(unet, heard):
        assert torch.equal(asked(unet, texts(seed=1)), expected)
    assert not torch.equal(asked(unet, texts(seed=1)), expected)


def test_a_foreign_network_hears_nothing():
    network = torch.nn.Linear(2, 2)
    assert hear(network, torch.zeros(1, 1, 2)) == ()
    with having_heard(network, ()):
        pass


def test_a_failure_makes_the_network_forget():
    projection = TextProjection(2, 2)
    try:
        with having_heard(projection, (torch.zeros(1, 1, 2),)):
            raise KeyError
    except KeyError:
        assert projection.kept is None


@torch.inference_mode()
def test_a_predictor_follows_texts_and_weights(tiny_kolors):
    """Scenes of one shape share a recording: each must see its own text, and the LoRA's strength of its moment."""
    unet = tiny_kolors.training_unet()
    predictor = Predictor(unet)
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))

    def predicted(seed, rows=2):
        pooled = torch.randn(rows, 32, generator=torch.Generator().manual_seed(seed))
        ids = size_ids(64, 64).repeat(rows)
        expected = unet(
            latents.expand(rows, -1, -1, -1),
            torch.tensor([7.0]),
            encoder_hidden_states=texts(seed, rows),
            add_time_id=ids,
            add_text_embeds=pooled,
        )
        predict = predictor.listen(Conditioning(texts(seed, rows), pooled), latents, ids)
        return predict(latents, 7), expected

    for seed, rows in ((1, 2), (2, 2), (1, 2), (1, 1)):
        ours, theirs = predicted(seed, rows)
        assert difference(ours, theirs) < 1e-6
    text_projections(unet)[1].weight.mul_(3.0)
    ours, theirs = predicted(1)
    assert difference(ours, theirs) < 1e-6
