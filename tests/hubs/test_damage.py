"""A damaged cache: what is not what came is fetched again, or said to be damaged where nothing is downloaded."""

from __future__ import annotations

import threading
from itertools import product
from pathlib import Path

import pytest
from kolora.errors import InputAbsent, Stopped
from kolora.events import Noticed
from kolora.execution.downloads import download_one
from kolora.execution.signals import Halt
from kolora.hubs.catalogue import refuse_damaged
from kolora.hubs.download import download
from kolora.hubs.store import RepoRequest, Snapshot, Store

from tests.faults.damage import DAMAGES, Damage, is_untouched, make_outside
from tests.hubs.loopback import LoopbackHub

FILES = {"config.json": b'{"a": 1}', "unet/weights.safetensors": bytes(range(256)) * 8192, "empty.json": b""}
WANTED = RepoRequest("modelscope", "model", "some/model", patterns=("*",))
PLACES = {
    "a file": "files/??/*",
    "a file of a snapshot": "snapshots/*/**/*",
    "a manifest": "manifests/**/*.json",
    "a lock": "locks/*",
    "a memo": "identities/*",
}
CASES = [
    pytest.param(DAMAGES[name], pattern, id=f"{place}, {name}")
    for (place, pattern), name in product(PLACES.items(), DAMAGES)
]


@pytest.fixture
def cache(loopback: LoopbackHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache that holds one model, its large file's digest remembered."""
    monkeypatch.setattr("kolora.hubs.identity.SETTLED_SECONDS", -1)
    monkeypatch.setenv("KOLORA_CACHE", str(tmp_path / "cache"))
    loopback.publish("model", WANTED.id, FILES)
    bring(tmp_path / "cache")
    assert Store(tmp_path / "cache").find(WANTED) is not None
    return tmp_path / "cache"


def bring(cache: Path) -> Snapshot:
    return download(WANTED, cache=cache, tick=lambda *_: None)[0]


def contents(snapshot: Snapshot) -> dict[str, bytes]:
    return {path: (snapshot.folder / path).read_bytes() for path in snapshot.files}


def files(cache: Path, pattern: str) -> list[Path]:
    found = sorted(path for path in cache.glob(pattern) if path.is_file())
    assert found
    return found


@pytest.mark.parametrize(("damage", "pattern"), CASES)
def test_no_damage_of_any_file_of_the_cache_reaches_a_run(
    cache: Path, tmp_path: Path, damage: Damage, pattern: str
) -> None:
    outside = make_outside(tmp_path / "elsewhere")
    for path in files(cache, pattern):
        damage(path, outside)
        found = Store(cache).find(WANTED)
        assert found is None or contents(found) == FILES
        if found is None and not pattern.startswith("manifests"):
            with pytest.raises(InputAbsent, match="damaged or gone"):
                refuse_damaged(WANTED, cache)
        assert contents(bring(cache)) == FILES
        assert Store(cache).find(WANTED) is not None
        assert [fault for _, _, fault in Store(cache).verify()] == [None] * len(FILES)
    assert is_untouched(outside)


def test_one_edit_in_place_damages_every_name_of_a_file_and_all_are_mended(cache: Path) -> None:
    other = RepoRequest("modelscope", "model", "other/model", patterns=("*",))
    store = Store(cache)
    found = store.find(WANTED)
    assert found is not None
    # The same content under two names, in two snapshots.
    store.save_snapshot(other, "r1", {"weights": found.files["unet/weights.safetensors"]})
    place = found.folder / "unet" / "weights.safetensors"
    assert place.stat().st_nlink == 3
    DAMAGES["flip_middle"](place, place)
    assert store.find(WANTED) is None
    assert store.find(other) is None
    assert store.damaged(other) == ("weights",)
    bring(cache)
    assert store.find(WANTED) is not None


def test_it_is_said_that_a_damaged_file_is_fetched_again(cache: Path) -> None:
    events: list[object] = []
    (cache / "files").rename(cache / "gone")
    for path in files(cache, "snapshots/*/config.json"):
        DAMAGES["flip_first"](path, path)
    download_one(WANTED, on_event=events.append, halt=Halt())
    assert [each.message for each in events if isinstance(each, Noticed)] == [
        "config.json of some/model in the cache is damaged or gone, and is fetched again"
    ]


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_download_goes_on_over_whatever_became_of_its_first_part(
    loopback: LoopbackHub, tmp_path: Path, damage: Damage
) -> None:
    loopback.publish("model", WANTED.id, FILES)
    loopback.failures.bytes_a_second = 4_000_000
    outside = make_outside(tmp_path / "elsewhere")

    def stop(done: int, _total: int) -> None:
        if done > 100_000:
            raise Stopped("asked to stop")

    with pytest.raises(Stopped):
        download(WANTED, cache=tmp_path, tick=stop)
    loopback.failures.bytes_a_second = None
    for thread in threading.enumerate():
        # Those that downloaded end their file, which stays where the next download looks for it.
        if "_work" in thread.name:
            thread.join()
    for path in files(tmp_path, "partial/**/*"):
        damage(path, outside)
    assert contents(bring(tmp_path)) == FILES
    assert is_untouched(outside)


@pytest.mark.parametrize("name", ["partial", "locks", "identities", "files", "snapshots"])
@pytest.mark.parametrize("rubbish", ["file", "link"])
def test_a_folder_of_the_cache_that_is_none_makes_room(cache: Path, tmp_path: Path, name: str, rubbish: str) -> None:
    outside = make_outside(tmp_path / "elsewhere")
    if (cache / name).exists():
        (cache / name).rename(tmp_path / "moved")
    if rubbish == "file":
        (cache / name).write_text("rubbish")
    else:
        (cache / name).symlink_to(outside.parent)
    assert contents(bring(cache)) == FILES
    if name != "identities":
        assert is_untouched(outside)
