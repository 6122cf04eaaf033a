"""Coherence and style: means of likeness, over pairs and over the training pictures."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from kolora.scoring.coherence import measure_coherence, measure_style
from torch import nn

EAST, NORTH, BETWEEN = [1.0, 0.0], [0.0, 1.0], [0.6, 0.8]


def test_every_scene_is_compared_with_every_other_and_not_with_itself() -> None:
    found = measure_coherence(torch.tensor([EAST, NORTH, BETWEEN]))
    assert np.array(found["matrix"]) == pytest.approx(np.array([[100, 0, 60], [0, 100, 80], [60, 80, 100]]), abs=1e-3)
    assert found["scenes"] == pytest.approx([30, 40, 70], abs=1e-3)
    assert found["mean"] == pytest.approx(140 / 3, abs=1e-3)
    assert (found["baseline_mean"], found["training_mean"]) == (None, None)


def test_what_it_is_measured_by() -> None:
    scenes = torch.tensor([EAST, EAST])
    found = measure_coherence(scenes, baseline=torch.tensor([EAST, NORTH]), training=torch.tensor([EAST, BETWEEN]))
    assert [found[key] for key in ("mean", "baseline_mean", "training_mean")] == pytest.approx([100, 0, 60], abs=1e-3)


def test_the_mean_of_many_pairs_is_that_of_the_matrix() -> None:
    many = nn.functional.normalize(torch.randn(40, 8, generator=torch.Generator().manual_seed(0)), dim=-1)
    found = measure_coherence(many)
    matrix = torch.tensor(found["matrix"])
    others = matrix[~torch.eye(40, dtype=torch.bool)]
    assert found["mean"] == pytest.approx(float(others.mean()), abs=1e-3)


def test_one_scene_has_no_coherence() -> None:
    found = measure_coherence(torch.tensor([EAST]))
    assert found["scenes"] == [None]
    assert found["mean"] is None


def test_style_is_the_likeness_to_the_training_pictures() -> None:
    found = measure_style(
        torch.tensor([EAST, BETWEEN]), training=torch.tensor([EAST, NORTH]), baseline=torch.tensor([NORTH])
    )
    assert found["scenes"] == pytest.approx([50, 70], abs=1e-3)
    assert found["mean"] == pytest.approx(60, abs=1e-3)
    assert found["baseline_mean"] == pytest.approx(50, abs=1e-3)
