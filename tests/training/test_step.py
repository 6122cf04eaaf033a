"""A step's batch is mixed as the draw says, and its loss counts rows as it should."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from kolora.configs import KOLORS
from kolora.memory.plan import OffloadOption
from kolora.models.prompt_embeds import PromptEmbeds
from kolora.models.schedule import NoiseSchedule
from kolora.spec.sections.lora import Lora
from kolora.training.adapters import FlatParameters, add_adapters
from kolora.training.config import TrainingConfig
from kolora.training.draws import Draw, draw
from kolora.training.examples import Bucket, Examples, with_prior
from kolora.training.step import Batch, build_step, mix
from torch import nn

from tests.training.test_loop import SmallNet

SCHEDULE = NoiseSchedule.from_config(KOLORS["scheduler"])


@pytest.fixture
def examples() -> Examples:
    rng = torch.Generator().manual_seed(0)
    return Examples(
        PromptEmbeds(torch.randn(3, 8, 4, generator=rng), torch.randn(3, 4, generator=rng)),
        (Bucket(torch.randn(3, 1, 4, 8, 8, generator=rng), torch.tensor([0, 1, 0])),),
    )


def drawn(**changes: Any) -> Draw:
    one_draw = draw(seed=0, step=0, batch_size=3, examples=3, variants=1, num_train_timesteps=1100, shape=(4, 8, 8))
    return replace(one_draw, **changes)


def mixed(examples: Examples, given: Draw, **settings: Any) -> Batch:
    return mix(given, examples, SCHEDULE, dtype=torch.float32, **settings)


def loss_of(batch: Batch, *, weighted: bool) -> torch.Tensor:
    unet: nn.Module = SmallNet()
    add_adapters(unet, TrainingConfig.of(Lora(rank=2)))
    step = build_step(unet, FlatParameters(unet, dtype=torch.float32), batch, option=OffloadOption(), weighted=weighted)
    return step(*batch.tensors())


def test_rows_hear_their_captions_or_the_empty_text(examples: Examples) -> None:
    without_caption = torch.tensor([True, False, True])
    given = drawn(rows=torch.tensor([0, 1, 2]), without_caption=without_caption)
    embeds = examples.embeds.prompt_embeds
    assert torch.equal(mixed(examples, given).prompt_embeds, embeds[[2, 1, 2]])
    assert torch.equal(
        mixed(examples, replace(given, without_caption=~without_caption)).pooled_prompt_embeds,
        examples.embeds.pooled_prompt_embeds[[0, 2, 0]],
    )


def test_clear_rows_count_less_with_min_snr(examples: Examples) -> None:
    """At Kolors' timesteps 0, 300 and 1099, whose ratios of signal to noise follow from its betas."""
    given = drawn(timesteps=torch.tensor([0, 300, 1099]))
    weights = mixed(examples, given, min_snr_gamma=5.0).weights
    assert weights[0] == pytest.approx(5 / (1 / 0.00085 - 1), rel=1e-3)
    signal = float(torch.cumprod(1 - torch.linspace(0.00085**0.5, 0.014**0.5, 1100).double() ** 2, 0)[300])
    assert weights[1] == pytest.approx(min(5 * (1 - signal) / signal, 1), rel=1e-4)
    assert weights[2] == 1
    assert torch.equal(mixed(examples, given).weights, torch.ones(3))


def test_a_class_is_shown_every_other_step_with_its_weight(examples: Examples) -> None:
    rng = torch.Generator().manual_seed(1)
    known = PromptEmbeds(torch.randn(1, 8, 4, generator=rng), torch.randn(1, 4, generator=rng))
    drawn_before = Examples(known, (Bucket(torch.randn(5, 1, 4, 8, 8, generator=rng), torch.zeros(5).long()),))
    both = with_prior(examples, drawn_before, weight=0.5)
    assert both.shares == (3, 3)
    assert both.weighted
    assert not examples.weighted
    own, others = (mixed(both, drawn(bucket=bucket)) for bucket in (0, 1))
    assert torch.equal(own.prompt_embeds, mixed(examples, drawn()).prompt_embeds)
    assert torch.equal(others.prompt_embeds, known.prompt_embeds.expand(3, -1, -1))
    assert own.weights.tolist() == [1, 1, 1]
    assert others.weights.tolist() == [0.5, 0.5, 0.5]
    without_caption = mixed(both, drawn(bucket=1, without_caption=torch.ones(3, dtype=torch.bool)))
    assert torch.equal(without_caption.prompt_embeds[0], examples.embeds.prompt_embeds[-1])


def test_a_row_of_no_weight_is_not_learnt_from(examples: Examples) -> None:
    batch = mixed(examples, drawn())
    weights = torch.tensor([2.0, 0.0, 1.0])
    rows = zip(*(each.split(1) for each in batch.tensors()), strict=True)
    alone = [loss_of(Batch(*row), weighted=False) for row in rows]
    counted = loss_of(replace(batch, weights=weights), weighted=True)
    torch.testing.assert_close(counted, (2 * alone[0] + alone[2]) / 3)
    torch.testing.assert_close(loss_of(batch, weighted=True), loss_of(batch, weighted=False))
    assert torch.equal(loss_of(replace(batch, weights=weights), weighted=False), loss_of(batch, weighted=False))
