"""The command line and the hubs: a cache filled once is enough for ever, offline."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from kolora.hubs.catalogue import KOLORS, find_checkpoint
from kolora.hubs.store import Store

from tests.commands import left
from tests.hubs.loopback import LoopbackHub
from tests.pictures import make_pictures
from tests.stories import write_story


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KOLORA_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("KOLORA_HUB", raising=False)
    return tmp_path


@pytest.fixture(params=["modelscope", "huggingface"])
def story(request: pytest.FixtureRequest, loopback: LoopbackHub, outside: Path, tiny_checkpoint: Path) -> Path:
    """A story whose pictures are on a hub."""
    make_pictures(outside / "pictures", count=6)
    files = {path.name: path.read_bytes() for path in sorted((outside / "pictures").glob("*"))}
    loopback.publish("dataset", "some/set", files)
    dataset = {"source": request.param, "id": "some/set", "caption": "一张画"}
    return write_story(outside / "story", tiny_checkpoint, dataset=dataset)


def test_a_run_downloads_and_fetch_makes_it_work_offline(
    loopback: LoopbackHub, story: Path, outside: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert left("plan", story) == 0
    assert "to download: some/set from" in capsys.readouterr().out
    assert left(story, "--offline") == 66
    assert "kolora fetch" in capsys.readouterr().err
    told = json.loads((outside / "out/tiny/report.json").read_text(encoding="utf-8"))
    assert told["status"] == "failed"
    assert "some/set is not in the cache" in told["failure"]["error"]
    assert "some/set is not in the cache" in (outside / "out/tiny/report.html").read_text(encoding="utf-8")
    assert [scene["state"] for scene in told["scenes"]] == ["pending", "pending"]
    assert loopback.requests == []
    assert left("fetch", story) == 0
    assert "some/set is in the cache" in capsys.readouterr().out
    asked = len(loopback.requests)
    assert left(story, "--offline", "--until", "fetch", "-o", outside / "one") == 0
    assert left(story, "--until", "fetch", "-o", outside / "two") == 0
    assert len(loopback.requests) == asked
    one, two = (json.loads((outside / each / "records" / "fetch.json").read_text()) for each in ("one", "two"))
    assert one["digest"] == two["digest"]
    assert one["facts"]["images"] + one["facts"]["dropped"] > 0
    assert str(outside / "cache") not in json.dumps(one)


def test_a_run_with_an_empty_cache_fills_it(loopback: LoopbackHub, story: Path, outside: Path) -> None:
    assert left(story, "--until", "fetch") == 0
    assert [snapshot.request.id for snapshot in Store(outside / "cache").snapshots()] == ["some/set"]


def test_kolors_is_fetched_from_the_hub_that_is_named(
    loopback: LoopbackHub, outside: Path, tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = ["unet/config.json", "unet/diffusion_pytorch_model.fp16.safetensors", "text_encoder/vocab.txt"]
    large = "unet/diffusion_pytorch_model.safetensors"
    loopback.publish("model", "Kwai-Kolors/Kolors", dict.fromkeys([*wanted, large], b"{}"))
    off = {"aesthetics": "off", "clip": "off"}
    story = write_story(outside / "story", tiny_checkpoint, model={"checkpoint": "kolors"}, scores=off)
    monkeypatch.setenv("KOLORA_HUB", "huggingface")
    assert left("fetch", story) == 0
    assert not [path for _, path, _ in loopback.requests if path.startswith("/api/v1/")]
    folder = find_checkpoint("kolors", cache=outside / "cache")
    assert sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*")) == sorted(wanted)
    monkeypatch.setenv("KOLORA_HUB", "modelscope")
    assert find_checkpoint("kolors", cache=outside / "cache") == folder
    assert KOLORS.bytes < 18e9


def test_a_signal_stops_a_download_which_then_goes_on(loopback: LoopbackHub, story: Path, outside: Path) -> None:
    loopback.failures.bytes_a_second = 2_000
    run = subprocess.Popen(
        [sys.executable, "-m", "kolora", "fetch", str(story)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1] / "runner")},
    )
    assert run.stdout is not None
    assert "some/set" in run.stdout.readline()
    run.send_signal(signal.SIGTERM)
    _, told = run.communicate(timeout=60)
    assert (run.returncode, "stopped on request" in told) == (75, True)
    loopback.failures.bytes_a_second = None
    assert left("fetch", story) == 0


def test_fetch_looks_whether_a_revision_has_moved(loopback: LoopbackHub, story: Path, outside: Path) -> None:
    assert left("fetch", story) == 0
    (before,) = Store(outside / "cache").snapshots()
    make_pictures(outside / "more", count=2)
    loopback.publish("dataset", "some/set", {"0.jpg": next((outside / "more").glob("*.jpg")).read_bytes()})
    assert left("fetch", story) == 0
    (after,) = Store(outside / "cache").snapshots()
    assert (len(after.files), len(before.files) > 1) == (1, True)


def test_fetch_refuses_to_be_offline(outside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert left("fetch", "story") == 2
    assert "KOLORA_OFFLINE" in capsys.readouterr().err


def test_a_full_disk_is_73(
    loopback: LoopbackHub,
    story: Path,
    outside: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Store, "add", fail)
    assert left("fetch", story) == 73
    assert "is full" in capsys.readouterr().err
