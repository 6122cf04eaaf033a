"""Rates follow the step, gradients are cut to length, a running mean follows, and absent extras are named."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from kolora.errors import StoryInvalid
from kolora.spec.sections.lora import Lora
from kolora.training import optimiser
from kolora.training.config import TrainingConfig
from kolora.training.optimiser import Optimiser, learning_rate
from torch import nn


def rates(**settings: Any) -> list[float]:
    config = TrainingConfig.of(Lora(learning_rate=0.1, **{"steps": 8} | settings))
    return [learning_rate(config, step) for step in range(config.steps)]


def moved(
    vector: list[float], gradient: list[float], *, loss: float = 1.0, step: int = 0, **settings: Any
) -> Optimiser:
    """Move a vector once."""
    mover = Optimiser(nn.Parameter(torch.tensor(vector)), TrainingConfig.of(Lora(steps=8, **settings)))
    mover.vector.grad = torch.tensor(gradient)
    moves, reported = mover.prepare(step, torch.tensor(loss))
    if moves:
        mover.torch.step()
    mover.update_average(step, reported)
    return mover


def test_a_constant_rate_stays() -> None:
    assert rates() == [0.1] * 8


def test_the_rate_climbs_over_the_warm_up() -> None:
    assert rates(warmup_steps=4) == pytest.approx([0.025, 0.05, 0.075, 0.1, 0.1, 0.1, 0.1, 0.1])


def test_a_line_falls_evenly_to_where_zero_would_be_next() -> None:
    assert rates(lr_scheduler="linear", warmup_steps=2, steps=6) == pytest.approx([0.05, 0.1, 0.1, 0.075, 0.05, 0.025])


def test_a_cosine_falls_slowly_at_both_ends() -> None:
    expected = [0.05 * (1 + math.cos(math.pi * step / 8)) for step in range(8)]
    assert rates(lr_scheduler="cosine") == pytest.approx(expected)


def test_a_gradient_is_cut_to_length_and_a_short_one_is_left() -> None:
    for given, expected in (([3.0, 4.0], [0.6, 0.8]), ([0.3, 0.4], [0.3, 0.4])):
        mover = moved([1.0, 1.0], given, max_grad_norm=1.0)
        assert mover.vector.grad is not None
        torch.testing.assert_close(mover.vector.grad, torch.tensor(expected))
    assert moved([1.0, 1.0], [30.0, 40.0]).vector.grad.tolist() == [30.0, 40.0]  # type: ignore[union-attr]


@pytest.mark.parametrize(("gradient", "loss"), [([math.nan, 1.0], 1.0), ([1.0, math.inf], 1.0), ([1.0, 1.0], math.nan)])
def test_what_is_no_number_moves_nothing(gradient: list[float], loss: float) -> None:
    mover = moved([1.0, 2.0], gradient, loss=loss, ema_decay=0.5)
    assert mover.vector.tolist() == [1.0, 2.0]
    assert mover.result.tolist() == [1.0, 2.0]


def test_a_running_mean_follows_faster_at_first() -> None:
    for step, share in ((0, 0.9), (8, 0.5)):
        mover = moved([1.0], [1.0], step=step, ema_decay=0.5, learning_rate=0.5)
        assert mover.result.item() == pytest.approx(1 + share * (mover.vector.item() - 1))
    plain = moved([1.0], [1.0], learning_rate=0.5)
    assert plain.result.item() == plain.vector.item()


def test_a_schedule_reaches_the_optimiser() -> None:
    mover = moved([1.0], [1.0], step=4, learning_rate=0.5, lr_scheduler="linear", weight_decay=0.0)
    assert mover.vector.item() == pytest.approx(1 - 0.25)


def test_prodigy_says_nothing_and_moves(capfd: pytest.CaptureFixture[str]) -> None:
    mover = moved([1.0], [1.0], optimizer="prodigy")
    assert mover.vector.item() < 1
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["adamw8bit", "prodigy"])
def test_an_extra_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setitem(optimiser.EXTRAS, name, ("no_such_package.optim", "Best"))
    with pytest.raises(StoryInvalid, match=f"lora.optimizer is {name}, which needs no_such_package") as caught:
        moved([1.0], [1.0], optimizer=name)
    assert f"kolora[{name}]" in caught.value.hint
