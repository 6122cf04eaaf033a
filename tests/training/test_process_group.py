"""Two processes learn what one would with twice the batch; a stop changes nothing; an end before its time is told."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from kolora.errors import DeviceUnusable, Stopped
from kolora.models.lora import lora_bytes
from kolora.training.config import TrainingConfig
from kolora.training.loop import TrainingResult, train
from kolora.training.process_group import ProcessGroup, launch

from tests.training.test_loop import SCHEDULE, SmallNet, examples, go_on, stop_at, training

SETTINGS: dict[str, Any] = {"dropout": 0.0, "ema_decay": 0.9, "max_grad_norm": 0.5, "min_snr_gamma": 1.0}


def take_part(folder: Path, settings: TrainingConfig, group: ProcessGroup) -> None:
    """Be the other process, which a signal to all does not disturb."""
    os.kill(os.getpid(), signal.SIGTERM)
    train(SmallNet(), SCHEDULE, examples(more=2), settings, state=folder, tick=go_on, group=group)


def trained(folder: Path, settings: TrainingConfig, *, tick: Callable[[int, int], None] = go_on) -> TrainingResult:
    with launch(settings.devices, partial(take_part, folder, settings), device="cpu") as group:
        return train(SmallNet(), SCHEDULE, examples(more=2), settings, state=folder, tick=tick, group=group)


def fail(_crew: ProcessGroup) -> None:
    raise ValueError("no room")


def test_two_processes_learn_what_one_does_with_twice_the_batch(tmp_path: Path) -> None:
    alone = trained(tmp_path / "alone", training(batch_size=4, **SETTINGS))
    together = training(batch_size=2, devices=2, **SETTINGS)
    whole = trained(tmp_path / "whole", together)
    assert whole.losses == pytest.approx(alone.losses, rel=1e-5)
    for name, pair in whole.weights.pairs.items():
        torch.testing.assert_close(pair, alone.weights.pairs[name], rtol=1e-4, atol=1e-6)
    with pytest.raises(Stopped):
        trained(tmp_path / "parts", together, tick=stop_at(3))
    resumed = trained(tmp_path / "parts", together)
    assert resumed.resumed_at == 3
    assert lora_bytes(resumed.weights, metadata={}) == lora_bytes(whole.weights, metadata={})


def test_a_process_that_ends_before_its_time_says_why(tmp_path: Path) -> None:
    settings = training(devices=2)
    with (
        pytest.raises(DeviceUnusable, match=r"process 2 of 2 .* ended: ValueError: no room"),
        launch(2, fail, device="cpu") as group,
    ):
        train(SmallNet(), SCHEDULE, examples(), settings, state=tmp_path, tick=go_on, group=group)
    assert not torch.distributed.is_initialized()


def test_processes_whose_adapters_lie_otherwise_are_told(tmp_path: Path) -> None:
    mine, theirs = training(devices=2), training(devices=2, target_modules=("to_q",))
    with (
        pytest.raises(DeviceUnusable, match=r"process 2 has other adapters: 1 of .*, the first"),
        launch(2, partial(take_part, tmp_path, theirs), device="cpu") as group,
    ):
        train(SmallNet(), SCHEDULE, examples(), mine, state=tmp_path, tick=go_on, group=group)


def test_more_devices_than_there_are_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with (
        pytest.raises(DeviceUnusable, match=r"lora.devices is 2, and 1 GPUs"),
        launch(2, fail, device="cuda"),
    ):
        pytest.fail("nobody gathers")


def test_one_needs_no_crew() -> None:
    with launch(1, fail, device="cpu") as group:
        assert group is None
