"""A disk that fails at any moment, and a run folder damaged anywhere, cost time, or end in a named error; no byte."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.damage import ALL
from tests.faults.seam import KINDS, Kind
from tests.faults.sweep import Bench, files_of, sweep_damages, sweep_faults

SHARES = 4
"""Tests that one kind of fault is split into, so that several processes share the work."""
SAMPLE = 293
"""Of the plain suite, one operation of so many; of about 600."""


@pytest.fixture(scope="module")
def bench(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    bench = Bench(tmp_path_factory.mktemp("bench"), tiny_checkpoint)
    yield bench
    bench.close()


@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_now_and_then_costs_no_byte(bench: Bench, kind: Kind) -> None:
    outcomes = sweep_faults(bench, kind, first=5 + 37 * KINDS.index(kind), stride=SAMPLE)
    assert outcomes.total() > 1
    assert not [each for each in outcomes if each.startswith("BAD")]


@pytest.mark.sweep
@pytest.mark.parametrize("share", range(SHARES))
@pytest.mark.parametrize("kind", KINDS)
def test_no_fault_at_any_moment_costs_a_byte(bench: Bench, kind: Kind, share: int) -> None:
    outcomes = sweep_faults(bench, kind, first=1 + share, stride=SHARES)
    assert outcomes.total() > 50
    assert not [each for each in outcomes if each.startswith("BAD")]


@pytest.mark.parametrize("damage", list(ALL)[::3])
def test_a_damaged_file_now_and_then_costs_no_byte(bench: Bench, damage: str) -> None:
    names = files_of(bench.undisturbed)
    name = names[11 * list(ALL).index(damage) % len(names)]
    outcomes = [bench.try_damage(bench.undisturbed, name, damage), bench.try_reading(bench.undisturbed, name, damage)]
    assert not [each for each in outcomes if each.startswith("BAD")]


@pytest.mark.sweep
@pytest.mark.parametrize("damage", ALL)
def test_no_damage_to_any_file_costs_a_byte(bench: Bench, damage: str) -> None:
    outcomes = sweep_damages(bench, damage)
    assert outcomes.total() > 50
    assert not [each for each in outcomes if each.startswith("BAD")]
