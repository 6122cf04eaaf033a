"""A disk that fails at any moment, and a run folder damaged anywhere, cost time, or end in a named error; no byte."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.damage import ALL
from tests.faults.seam import KINDS, Kind
from tests.faults.sweep import Bench, sweep_damages, sweep_faults

SHARES = 4
"""Tests that one kind of fault is split into, so that several processes share the work."""
SAMPLE = 97
"""Of the plain suite, one operation of so many; that many is prime, so that all kinds of operations are met."""


@pytest.fixture(scope="module")
def bench(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    bench = Bench(tmp_path_factory.mktemp("bench"), tiny_checkpoint)
    yield bench
    bench.close()


@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_now_and_then_costs_no_byte(bench: Bench, kind: Kind) -> None:
    outcomes = sweep_faults(bench, kind, first=5 + 13 * KINDS.index(kind), stride=SAMPLE)
    assert outcomes.total() > 2
    assert not [each for each in outcomes if each.startswith("BAD")]


@pytest.mark.sweep
@pytest.mark.parametrize("share", range(SHARES))
@pytest.mark.parametrize("kind", KINDS)
def test_no_fault_at_any_moment_costs_a_byte(bench: Bench, kind: Kind, share: int) -> None:
    outcomes = sweep_faults(bench, kind, first=1 + share, stride=SHARES)
    assert outcomes.total() > 50
    assert not [each for each in outcomes if each.startswith("BAD")]


@pytest.mark.parametrize("damage", ALL)
def test_a_damaged_file_now_and_then_costs_no_byte(bench: Bench, damage: str) -> None:
    outcomes = sweep_damages(bench, damage, first=1 + 7 * list(ALL).index(damage) % SAMPLE, stride=SAMPLE)
    assert not [each for each in outcomes if each.startswith("BAD")]


@pytest.mark.sweep
@pytest.mark.parametrize("damage", ALL)
def test_no_damage_to_any_file_costs_a_byte(bench: Bench, damage: str) -> None:
    outcomes = sweep_damages(bench, damage)
    assert outcomes.total() > 50
    assert not [each for each in outcomes if each.startswith("BAD")]
