"""The table of losses has every step once and the same bytes however the run was cut; events lie elsewhere."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from kolora.spec.sections.lora import Lora
from kolora.training import curves
from kolora.training.config import TrainingConfig
from kolora.training.curves import Curves

CONFIG = TrainingConfig.of(Lora(steps=150, learning_rate=0.5, lr_scheduler="linear"))
LOSSES = [1 / (1 + step) for step in range(150)]


def written(folder: Path, *portions: int, events: Path | None = None, since: int = 0) -> bytes:
    """Tell the losses in portions; returns the table."""
    curves = Curves(CONFIG, folder, events=events)
    for portion in portions:
        curves.log(LOSSES[:portion], since=since)
    curves.close()
    return (folder / "metrics.csv").read_bytes()


def test_the_table_holds_every_step_once(tmp_path: Path) -> None:
    rows = list(csv.DictReader(written(tmp_path, 1, 7, 7, 150).decode().splitlines()))
    assert [int(row["step"]) for row in rows] == list(range(1, 151))
    assert [float(row["loss"]) for row in rows] == LOSSES
    assert float(rows[75]["learning_rate"]) == 0.25
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.csv"]


def test_a_run_taken_up_writes_the_same_table(tmp_path: Path) -> None:
    assert written(tmp_path / "whole", *range(1, 151)) == written(tmp_path / "resumed", 100, 150, since=100)


def test_events_are_written_where_they_can_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = written(tmp_path / "with", 150, events=tmp_path / "events")
    (events,) = (tmp_path / "events").iterdir()
    assert events.name.startswith("events.out.tfevents")
    assert b"learning_rate" in events.read_bytes()
    monkeypatch.setattr(curves, "TENSORBOARD", ())
    assert written(tmp_path / "without", 150, events=tmp_path / "none") == table
    assert not (tmp_path / "none").exists()
