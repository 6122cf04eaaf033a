"""Every evil name through every door: refused with exit code 65 or 66, or of no effect; nothing outside changes."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from kolora.datasets.archives import unpack
from kolora.errors import InputAbsent, KoloraError, StoryInvalid
from kolora.hubs.hub import HUBS
from kolora.hubs.identity import files_in
from kolora.hubs.repository import RemoteFile
from kolora.hubs.selection import choose_files
from kolora.hubs.store import RepoRequest, Store, StoredFile
from kolora.names import checked_names
from kolora.verification.pack import SubmissionUnsafe, open_pack

from tests.hubs.loopback import LoopbackHub
from tests.names.doors import DOORS, HUB_DOORS, tar_of, zip_of
from tests.names.evil import EVIL, EVIL_SETS, EVIL_SETS_FOLDED, LEGAL, Canary, is_plain, label_of

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


SETS = {**EVIL_SETS, **EVIL_SETS_FOLDED}


@pytest.mark.parametrize("names", EVIL_SETS.values(), ids=EVIL_SETS)
@pytest.mark.parametrize("hub", HUBS)
def test_names_that_cannot_lie_in_one_folder_come_from_no_hub(hub: str, names: tuple[str, ...], tmp_path: Path) -> None:
    request = RepoRequest(hub, "model", "some/model", patterns=("*",))  # type: ignore[arg-type]
    files = [RemoteFile(name, 1) for name in names]
    with pytest.raises(InputAbsent, match=r"twice|below a file"):
        checked_names([file.path for file in choose_files(files, request)], source="a hub")
    if len(set(names)) == len(names):
        with pytest.raises(InputAbsent, match="below a file"):
            Store(tmp_path).save_snapshot(request, "main", {name: StoredFile(1, "0" * 64) for name in names})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("names", SETS.values(), ids=SETS)
def test_a_pack_has_no_two_names_of_one_file(canary: Canary, names: tuple[str, ...]) -> None:
    entries = [(name, b"a") for name in ("story.yaml", *names)]
    (canary.place / "pack.zip").write_bytes(zip_of(entries))
    with pytest.raises(SubmissionUnsafe, match=r"twice|same file|below a file"):
        open_pack(canary.place / "pack.zip")
    assert canary.changes() == []


@pytest.mark.parametrize("names", SETS.values(), ids=SETS)
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_an_archive_writes_no_file_twice(canary: Canary, kind: str, names: tuple[str, ...]) -> None:
    pack = {"zip": zip_of, "tar": tar_of}[kind]
    (canary.place / f"a.{kind}").write_bytes(pack([(f"{name}/x.png" if name == "a" else name, b"a") for name in names]))
    (canary.place / "into").mkdir()
    if names in EVIL_SETS.values() and "a" not in names:
        with pytest.raises(StoryInvalid, match="twice or lies below a file"):
            unpack(canary.place / f"a.{kind}", canary.place / "into")
    else:
        unpack(canary.place / f"a.{kind}", canary.place / "into")
    assert canary.changes() == []


@pytest.mark.parametrize("hub", HUBS)
@pytest.mark.parametrize("size", [200, 230, 231, 236, 240, 246, 247, 251, 255])
def test_a_name_as_long_as_file_systems_take_comes_or_is_refused(
    loopback: LoopbackHub, canary: Canary, hub: str, size: int
) -> None:
    name = "n" * (size - 4) + ".bin"
    problem, told = _attempted(lambda: HUB_DOORS["listing"](loopback, hub, name, canary.place / "cache"))
    assert told == str([name]) if problem is None else problem.code == 66
    assert canary.changes() == []


def test_a_name_in_gb18030_is_read_as_chinese_windows_meant_it(canary: Canary) -> None:
    (canary.place / "a.tar").write_bytes(
        tar_of([(os.fsdecode("画/一.png".encode("gb18030")), b"a"), ("./b.png", b"a")])
    )
    (canary.place / "into").mkdir()
    unpack(canary.place / "a.tar", canary.place / "into")
    assert sorted(files_in(canary.place / "into")) == ["b.png", "画/一.png"]


@pytest.mark.parametrize("name", LEGAL, ids=label_of)
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_name_that_people_have_comes_out_of_an_archive(canary: Canary, kind: str, name: str) -> None:
    pack = {"zip": zip_of, "tar": tar_of}[kind]
    (canary.place / f"a.{kind}").write_bytes(pack([(name, b"a")]))
    (canary.place / "into").mkdir()
    unpack(canary.place / f"a.{kind}", canary.place / "into")
    # What is hidden stays in an archive.
    assert os.path.exists(canary.place / "into" / name) or name.startswith(".")  # noqa: PTH110
