"""A saved state comes back whole, a save that was cut short leaves the one before, and a damaged one is none."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from kolora.saved import StateDamaged, clear_saved, read_saved, write_saved
from kolora.training.state import FILE, State, read_state, write_state

from tests.faults.damage import DAMAGES, Damage, is_untouched, make_outside
from tests.tensors import same

TENSORS = {"vector": torch.arange(6.0).reshape(2, 3).T, "optimizer.exp_avg": torch.ones(2)}
STATE = State(3, TENSORS, {"group.d": 1 / 3, "group.growth_rate": float("inf")}, (0.1, 1 / 3, 2e-9))


def test_a_state_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    write_state(tmp_path / "new" / "folder", STATE, of="a step")
    read = read_state(tmp_path / "new" / "folder", of="a step")
    assert read is not None
    assert (read.step, read.numbers, read.losses) == (STATE.step, STATE.numbers, STATE.losses)
    assert same(read.tensors, STATE.tensors)


def test_where_there_is_none_there_is_none(tmp_path: Path) -> None:
    assert read_state(tmp_path) is None
    assert read_state(tmp_path / "absent") is None


def test_a_later_state_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    write_state(tmp_path, STATE)
    write_state(tmp_path, State(4, STATE.tensors, STATE.numbers, (*STATE.losses, 0.5)))
    again = read_state(tmp_path)
    assert again is not None
    assert again.step == 4
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def test_a_state_of_another_step_is_refused(tmp_path: Path) -> None:
    write_state(tmp_path, STATE, of="one")
    with pytest.raises(StateDamaged, match="of another step"):
        read_state(tmp_path, of="two")


def test_two_files_of_one_step_do_not_change_places(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_saved(tmp_path / name, name.encode(), of="a step")
    (tmp_path / "one").replace(tmp_path / "two")
    with pytest.raises(StateDamaged):
        read_saved(tmp_path / "two", of="a step")


@pytest.mark.parametrize("bit", range(8))
def test_no_flipped_bit_of_any_byte_goes_unseen(tmp_path: Path, bit: int) -> None:
    path = tmp_path / "saved"
    write_saved(path, b"some bytes", of="a step")
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << bit]) + whole[place + 1 :])
        with pytest.raises(StateDamaged):
            read_saved(path, of="a step")


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_state_is_refused_and_makes_room(tmp_path: Path, damage: Damage) -> None:
    outside, folder = make_outside(tmp_path / "elsewhere"), tmp_path / "state"
    write_state(folder, STATE)
    damage(folder / FILE, outside)
    if damage is DAMAGES["remove"]:
        assert read_state(folder) is None
    else:
        with pytest.raises(StateDamaged):
            read_state(folder)
    clear_saved(folder)
    write_state(folder, STATE)
    assert read_state(folder) is not None
    assert is_untouched(outside)
