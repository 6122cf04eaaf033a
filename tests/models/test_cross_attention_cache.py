"""The cache stands in for the text, is computed from the weights as they are, and is gone afterwards."""

import torch
from kolora.models.checkpoint import size_ids
from kolora.models.cross_attention_cache import TextProjection, compute_cache, text_projections, use_cache
from kolora.models.predictor import Predictor
from kolora.models.prompt_embeds import PromptEmbeds

from tests.tensors import difference


def asked(unet, prompt_embeds):
    generator = torch.Generator().manual_seed(0)
    rows = len(prompt_embeds)
    sample = torch.randn(1, 4, 8, 8, generator=generator).expand(rows, -1, -1, -1)
    pooled_prompt_embeds = torch.randn(rows, 32, generator=generator)
    known = {
        "encoder_hidden_states": prompt_embeds,
        "add_time_id": size_ids(64, 64).repeat(rows),
        "add_text_embeds": pooled_prompt_embeds,
    }
    return unet(sample, torch.tensor([500.0]), **known)


def texts(seed=0, rows=2):
    return torch.randn(rows, 256, 32, generator=torch.Generator().manual_seed(seed))


@torch.inference_mode()
def test_what_was_heard_stands_in_for_the_text(tiny_kolors):
    unet = tiny_kolors.unet()
    expected = asked(unet, texts())
    cache = compute_cache(unet, texts())
    assert len(cache) == len(text_projections(unet)) == 1 + 2 * 11  # the first, and key and value of eleven stacks
    with use_cache(unet, cache):
        assert torch.equal(asked(unet, texts(seed=1)), expected)
    assert not torch.equal(asked(unet, texts(seed=1)), expected)


def test_a_foreign_network_hears_nothing():
    network = torch.nn.Linear(2, 2)
    assert compute_cache(network, torch.zeros(1, 1, 2)) == ()
    with use_cache(network, ()):
        pass


def test_a_failure_makes_the_network_forget():
    projection = TextProjection(2, 2)
    try:
        with use_cache(projection, (torch.zeros(1, 1, 2),)):
            raise KeyError
    except KeyError:
        assert projection.cached is None


@torch.inference_mode()
def test_a_predictor_follows_texts_and_weights(tiny_kolors):
    """Scenes of one shape share a graph: each must see its own text, and the LoRA's strength of its moment."""
    unet = tiny_kolors.training_unet()
    predictor = Predictor(unet)
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))

    def predicted(seed, rows=2):
        pooled_prompt_embeds = torch.randn(rows, 32, generator=torch.Generator().manual_seed(seed))
        ids = size_ids(64, 64).repeat(rows)
        expected = unet(
            latents.expand(rows, -1, -1, -1),
            torch.tensor([7.0]),
            encoder_hidden_states=texts(seed, rows),
            add_time_id=ids,
            add_text_embeds=pooled_prompt_embeds,
        )
        predict = predictor.prepare(PromptEmbeds(texts(seed, rows), pooled_prompt_embeds), latents, ids)
        return predict(latents, 7), expected

    for seed, rows in ((1, 2), (2, 2), (1, 2), (1, 1)):
        ours, theirs = predicted(seed, rows)
        assert difference(ours, theirs) < 1e-6
    text_projections(unet)[1].weight.mul_(3.0)
    ours, theirs = predicted(1)
    assert difference(ours, theirs) < 1e-6
