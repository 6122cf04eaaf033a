"""The cache: files by content, snapshots as folders, whole or not there, verifiable and prunable."""

from __future__ import annotations

import hashlib
import os
from contextlib import ExitStack
from pathlib import Path

import pytest
from kolora.hubs.identity import identify_folder
from kolora.hubs.store import RepoRequest, Store

WANTED = RepoRequest("modelscope", "model", "one/two", patterns=("*",))


def keep(store: Store, content: bytes):
    path = store.cache / "coming"
    store.cache.mkdir(exist_ok=True)
    path.write_bytes(content)
    return store.add(path, hashlib.sha256(content).hexdigest())


def settle(store: Store, wanted: RepoRequest = WANTED, revision: str = "r1", **files: bytes):
    return store.save_snapshot(wanted, revision, {name.replace("__", "/"): keep(store, files[name]) for name in files})


def test_a_snapshot_is_found_by_its_ask_and_reads_like_a_folder(tmp_path: Path) -> None:
    store = Store(tmp_path)
    made = settle(store, config=b"{}", unet__weights=b"w" * 100)
    assert store.find(WANTED) == made
    assert (made.folder / "unet" / "weights").read_bytes() == b"w" * 100
    assert set(identify_folder(made.folder)[1]) == {"config", "unet/weights"}
    assert store.find(RepoRequest("modelscope", "model", "one/two", revision="v1", patterns=("*",))) is None
    assert store.find(RepoRequest("huggingface", "model", "one/two", patterns=("*",))) is None


def test_the_same_content_is_kept_once(tmp_path: Path) -> None:
    store = Store(tmp_path)
    one = settle(store, a=b"same", b=b"same")
    two = settle(store, RepoRequest("huggingface", "dataset", "three/four"), a=b"same", b=b"same")
    assert one.folder == two.folder
    assert (one.folder / "a").stat().st_ino == (one.folder / "b").stat().st_ino
    assert len(list((tmp_path / "files").glob("*/*"))) == 1


def test_files_are_copied_where_there_are_no_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    made = settle(Store(tmp_path), a=b"alone")
    assert (made.folder / "a").read_bytes() == b"alone"
    assert (made.folder / "a").stat().st_nlink == 1


@pytest.mark.parametrize("harm", ["cut", "gone", "torn manifest"])
def test_what_is_not_whole_is_not_found_and_is_made_anew(tmp_path: Path, harm: str) -> None:
    store = Store(tmp_path)
    made = settle(store, a=b"content", b=b"other")
    if harm == "torn manifest":
        (manifest,) = (tmp_path / "manifests").rglob("*.json")
        manifest.write_text('{"files": {')
    else:
        (made.folder / "a").unlink()
        if harm == "cut":
            (made.folder / "a").write_bytes(b"cont")
    assert store.find(WANTED) is None
    assert settle(store, a=b"content", b=b"other") == store.find(WANTED)
    assert (made.folder / "a").read_bytes() == b"content"


def test_a_flipped_byte_is_found_and_can_be_dropped(tmp_path: Path) -> None:
    store = Store(tmp_path)
    made = settle(store, a=b"content", b=b"other")
    assert [fault for _, _, fault in store.verify()] == [None, None]
    (made.folder / "a").chmod(0o644)
    (made.folder / "a").write_bytes(b"c0ntent")
    faults = {path: fault for _, path, fault in store.verify()}
    assert faults["b"] is None
    assert "sha256" in str(faults["a"])
    store.drop(made, "a")
    assert store.find(WANTED) is None
    assert not store.file(made.files["a"].sha256).exists()
    assert store.file(made.files["b"].sha256).exists()


def test_prune_removes_what_nothing_names(tmp_path: Path) -> None:
    store = Store(tmp_path)
    settle(store, a=b"a" * 1000, b=b"b" * 10)
    moved = settle(store, revision="r2", a=b"A" * 2000, b=b"b" * 10)
    (tmp_path / "partial" / "x").mkdir(parents=True)
    (tmp_path / "partial" / "x" / "y").write_bytes(b"y" * 300)
    freed = store.prune()
    assert 1300 <= freed < 2000
    assert store.find(WANTED) == moved
    assert {file.stat().st_size for file in (tmp_path / "files").glob("*/*")} == {2000, 10}
    store.prune(id="one/two")
    assert store.find(WANTED) is None
    assert not list((tmp_path / "files").glob("*/*"))


def test_a_lock_is_waited_for_and_may_be_shared(tmp_path: Path) -> None:
    store, waits = Store(tmp_path), []

    def never() -> None:
        raise AssertionError("nobody else holds it")

    with ExitStack() as other:
        other.enter_context(store.lock("name", wait=never))

        def waiting() -> None:
            waits.append("name")
            other.close()

        with store.lock("name", wait=waiting):
            assert waits == ["name"]
    with store.lock("all", shared=True, wait=never), store.lock("all", shared=True, wait=never):
        pass
