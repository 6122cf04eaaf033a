"""A folder is known by its bytes and names alone."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from kolora.errors import InputAbsent
from kolora.hubs.identity import (
    MEMO_WORTH_BYTES,
    SeenFiles,
    identify_file,
    identify_folder,
    identify_model,
    identity_of_files,
    see_files,
)
from kolora.reads import own_digest

from tests.faults.damage import DAMAGES, Damage, is_untouched, make_outside

PARTS = ("", "sub")


def all_of(paths: Sequence[str]) -> Sequence[str]:
    return paths


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "folder"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.bin").write_bytes(b"a")
    (folder / "sub" / "b.bin").write_bytes(b"b")
    return folder


def test_place_and_times_do_not_count(folder: Path, tmp_path: Path) -> None:
    before = identify_folder(folder)
    os.utime(folder / "a.bin", (1, 1))
    moved = folder.rename(tmp_path / "moved")
    (moved / ".hidden").write_text("x")
    (moved / "Thumbs.db").write_text("x")
    assert identify_folder(moved) == before
    assert before[1] == {"a.bin": hashlib.sha256(b"a").hexdigest(), "sub/b.bin": hashlib.sha256(b"b").hexdigest()}


def test_every_byte_and_name_counts(folder: Path) -> None:
    digests = {identify_folder(folder)[0]}
    (folder / "a.bin").write_bytes(b"c")
    digests.add(identify_folder(folder)[0])
    (folder / "a.bin").rename(folder / "c.bin")
    digests.add(identify_folder(folder)[0])
    (folder / "c.bin").rename(folder / "sub" / "c.bin")
    digests.add(identify_folder(folder)[0])
    (folder / "empty.bin").write_bytes(b"")
    digests.add(identify_folder(folder)[0])
    (folder / "empty.bin").unlink()
    (folder / "empty.bin").symlink_to("absent")
    digests.add(identify_folder(folder)[0])
    assert len(digests) == 6


def test_the_digest_follows_from_the_listing_alone_in_any_order(folder: Path) -> None:
    digest, files = identify_folder(folder)
    assert identity_of_files(dict(reversed(files.items()))) == digest
    assert identity_of_files({"a.bin": files["a.bin"]}) != digest


def test_only_what_is_chosen_is_read_and_counts(folder: Path) -> None:
    def choose(paths: Sequence[str]) -> Sequence[str]:
        return [path for path in paths if path.startswith("sub/")]

    before = identify_model(folder, parts=PARTS, choose=choose)
    (folder / "a.bin").unlink()
    (folder / "a.bin").symlink_to("absent")
    assert identify_model(folder, parts=PARTS, choose=choose) == before
    assert set(before[1]) == {"sub/b.bin"}


def test_links_out_of_a_data_set_are_never_opened(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("one")
    (folder / "link").symlink_to("../secret")
    before = identify_folder(folder)
    (tmp_path / "secret").write_text("two")
    assert identify_folder(folder) == before
    assert before[1]["link"] == ""


def test_a_checkpoint_of_links_is_the_same_as_one_of_files(folder: Path, tmp_path: Path) -> None:
    linked = tmp_path / "linked"
    (linked / "sub").mkdir(parents=True)
    (linked / "a.bin").symlink_to(folder / "a.bin")
    (linked / "sub" / "b.bin").symlink_to(folder / "sub" / "b.bin")
    (linked / "sub" / "loop").symlink_to(linked)
    same = identify_model(linked, parts=PARTS, choose=all_of, roots=[linked, folder])
    assert same == identify_model(folder, parts=PARTS, choose=all_of)
    assert set(same[1]) == {"a.bin", "sub/b.bin"}


def test_what_is_not_there_is_said(folder: Path) -> None:
    for path in (folder / "absent", folder / "a.bin"):
        with pytest.raises(InputAbsent, match="is not a folder"):
            identify_folder(path)
    (folder / "gone").symlink_to("absent")
    with pytest.raises(InputAbsent, match=r"'.*gone' cannot be read: No such file"):
        identify_model(folder, parts=PARTS, choose=all_of)


@pytest.fixture
def big(folder: Path) -> Path:
    file = folder / "big.bin"
    file.write_bytes(bytes(MEMO_WORTH_BYTES))
    return file


def entries(memo: Path) -> list[Path]:
    return sorted(memo.iterdir()) if memo.is_dir() else []


def settle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a file just written count as one that has long been left alone."""
    monkeypatch.setattr("kolora.hubs.identity.SETTLED_SECONDS", -1.0)


def test_the_memo_answers_for_unchanged_large_files_only(
    folder: Path, big: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle(monkeypatch)
    memo = tmp_path / "memo"
    plain = identify_folder(folder)
    assert identify_folder(folder, memo=memo) == plain
    (entry,) = entries(memo)
    memory = json.loads(entry.read_text())
    entry.write_text(json.dumps(memory | {"identity": "ab" * 32}))
    assert identify_folder(folder, memo=memo) == plain, "a damaged memo was believed"
    memory["identity"] = "ab" * 32
    entry.write_text(json.dumps(memory | {"sha256": own_digest(memory)}))
    assert identify_folder(folder, memo=memo)[1]["big.bin"] == "ab" * 32, "the memo was not asked"
    os.utime(big, (1, 1))
    assert identify_folder(folder, memo=memo) == plain, "the memo of other times was believed"


@pytest.mark.parametrize(
    "torn", ["", "{", "[]", "null", '{"key": 1}', '{"key": %s, "sha256": "ab"}', '{"key": %s, "sha256": 7}']
)
def test_a_torn_memo_is_as_good_as_none(
    torn: str, folder: Path, big: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle(monkeypatch)
    memo = tmp_path / "memo"
    plain = identify_folder(folder, memo=memo)
    (entry,) = entries(memo)
    whole = entry.read_text()
    entry.write_text(torn.replace("%s", json.dumps(json.loads(whole)["key"])))
    assert identify_folder(folder, memo=memo) == plain
    assert entry.read_text() == whole, "the torn memo was not mended"


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_memo_is_as_good_as_none(
    damage: Damage, folder: Path, big: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle(monkeypatch)
    memo, outside = tmp_path / "memo", make_outside(tmp_path / "elsewhere")
    plain = identify_folder(folder, memo=memo)
    (entry,) = entries(memo)
    damage(entry, outside)
    assert identify_folder(folder, memo=memo) == plain
    assert is_untouched(outside)


def test_files_are_seen_to_change_and_one_more_link_is_no_change(folder: Path, tmp_path: Path) -> None:
    path = folder / "a.bin"
    seen = SeenFiles(see_files([path]), {path: identify_file(path)})
    assert seen.changed() == []
    (tmp_path / "another").hardlink_to(path)
    assert seen.changed() == []
    status = path.stat()
    path.write_bytes(b"c")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert seen.changed() == [path]
    path.unlink()
    assert seen.changed() == [path]


def test_a_file_just_written_gets_no_memo(folder: Path, big: Path, tmp_path: Path) -> None:
    identify_folder(folder, memo=tmp_path / "memo")
    assert entries(tmp_path / "memo") == []


def test_a_memo_that_cannot_be_written_costs_nothing_but_time(
    folder: Path, big: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle(monkeypatch)
    (tmp_path / "file").write_text("not a folder")
    assert identify_folder(folder, memo=tmp_path / "file") == identify_folder(folder)
