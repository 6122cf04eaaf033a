"""Every evil name through every door: refused with exit code 65 or 66, or of no effect; nothing outside changes."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from kolora.errors import KoloraError
from kolora.hubs.hub import HUBS

from tests.hubs.loopback import LoopbackHub
from tests.names.doors import DOORS, HUB_DOORS
from tests.names.evil import EVIL, LEGAL, Canary, is_plain, label_of

OF_NO_EFFECT = {
    # Such a manifest, record or mark is as good as none: the download or the step is done again.
    *("cached_file", "cached_damaged_file", "cached_sha256", "cached_id", "cached_kind", "cached_hub"),
    *("record_file", "record_step", "record_digest", "step_of_run", "mark_file"),
    # Names are looked up among those that are there, and never opened.
    *("table_row", "metadata_row"),
    # Told and never opened.
    *("parquet_path",),
    # What is no picture by its name stays in the archive; the other doors refuse it.
    *("zip_member", "tar_member"),
    # Refused by the rules of the contest.
    *("story_title",),
    # Some names of the table are none that a file system takes, or are those of a file that is elsewhere.
    *("pack_folder", "story_of_batch"),
    # Of a folder in a zip nothing is made but what lies in it.
    *("pack_in_zip",),
}
"""Doors that may let a name pass without an error, as nothing is done with it."""


@pytest.fixture
def canary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Canary:
    canary = Canary(tmp_path / "canary")
    monkeypatch.chdir(canary.place)
    monkeypatch.setenv("KOLORA_CACHE", str(tmp_path / "cache"))
    return canary


def check_outcome(door: str, attempt: Callable[[], str], canary: Canary) -> str:
    """Make an attempt and judge it; returns what came out of it."""
    problem, told = _attempted(attempt)
    if problem is None:
        assert door in OF_NO_EFFECT, f"{door} let it in: {told!r}"
    else:
        assert problem.code in (65, 66), problem
        assert problem.hint
        told = problem.error + problem.hint
    assert is_plain(told), told
    assert canary.changes() == []
    return str(problem.code) if problem else "no effect"


def _attempted(attempt: Callable[[], str]) -> tuple[KoloraError | None, str]:
    try:
        return None, attempt()
    except KoloraError as problem:
        return problem, ""


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("name", EVIL, ids=label_of)
def test_an_evil_name_comes_through_no_door(canary: Canary, door: str, name: str) -> None:
    check_outcome(door, lambda: DOORS[door](name, canary.place), canary)


@pytest.mark.parametrize("door", HUB_DOORS)
@pytest.mark.parametrize("hub", HUBS)
@pytest.mark.parametrize("name", EVIL, ids=label_of)
def test_an_evil_name_comes_from_no_hub(loopback: LoopbackHub, canary: Canary, door: str, hub: str, name: str) -> None:
    cache = canary.place / "cache"
    assert check_outcome(door, lambda: HUB_DOORS[door](loopback, hub, name, cache), canary) == "66"
    assert not [path for path in (cache / "snapshots").rglob("*") if path.name not in ("kept.bin",) and path.is_file()]


@pytest.mark.parametrize("hub", HUBS)
@pytest.mark.parametrize("name", [name for name in LEGAL if not re.search("n{240}", name)], ids=label_of)
def test_a_name_that_people_have_comes_from_every_hub(
    loopback: LoopbackHub, canary: Canary, hub: str, name: str
) -> None:
    assert HUB_DOORS["listing"](loopback, hub, name, canary.place / "cache") == str([name])
