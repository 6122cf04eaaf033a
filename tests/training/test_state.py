"""A saved state comes back whole, and a save that was cut short leaves the one before."""

from __future__ import annotations

from pathlib import Path

import torch
from kolora.training.state import State, read_state, write_state

from tests.tensors import same

TENSORS = {"vector": torch.arange(6.0).reshape(2, 3).T, "optimizer.exp_avg": torch.ones(2)}
STATE = State(3, TENSORS, {"group.d": 1 / 3, "group.growth_rate": float("inf")}, (0.1, 1 / 3, 2e-9))


def test_a_state_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    write_state(tmp_path / "new" / "folder", STATE)
    read = read_state(tmp_path / "new" / "folder")
    assert read is not None
    assert (read.step, read.numbers, read.losses) == (STATE.step, STATE.numbers, STATE.losses)
    assert same(read.tensors, STATE.tensors)


def test_where_there_is_none_there_is_none(tmp_path: Path) -> None:
    assert read_state(tmp_path) is None
    assert read_state(tmp_path / "absent") is None


def test_a_save_cut_short_leaves_the_one_before(tmp_path: Path) -> None:
    write_state(tmp_path, STATE)
    (tmp_path / ".state.safetensors.new").write_bytes(b"half a")
    read = read_state(tmp_path)
    assert read is not None
    assert read.step == 3
    write_state(tmp_path, State(4, STATE.tensors, STATE.numbers, (*STATE.losses, 0.5)))
    again = read_state(tmp_path)
    assert again is not None
    assert again.step == 4
    assert [path.name for path in tmp_path.iterdir()] == ["state.safetensors"]
