"""The process that filters installs nothing, tells why it failed and never outlives the run."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kolora.datasets.juicer.client import run_filters
from kolora.errors import InputAbsent, KoloraError, Stopped

from tests.pictures import truth


def ask(tmp_path: Path, operator: dict[str, dict[str, Any]], tick: Callable[[], None] = lambda: None) -> Any:
    truth((40, 40)).save(tmp_path / "one.png")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    row = {"id": "0001", "text": "x", "image": str(tmp_path / "one.png"), "bytes": 9}
    return run_filters([row], [operator], scratch=scratch, log=tmp_path / "log", tick=tick)


def test_a_missing_package_is_named_and_never_installed(tmp_path: Path) -> None:
    with pytest.raises(InputAbsent, match="the package 'imagededup' is not installed, and nothing is installed"):
        ask(tmp_path, {"image_deduplicator": {}})


def test_a_failure_shows_the_last_lines_of_the_log(tmp_path: Path) -> None:
    with pytest.raises(KoloraError, match=r"exit status 1: .*ValueError: Keep strategy \[any_or_none\]"):
        ask(tmp_path, {"image_shape_filter": {"any_or_all": "any_or_none"}})


def test_a_stop_ends_the_process(tmp_path: Path) -> None:
    def tick() -> None:
        raise Stopped("asked to stop")

    with pytest.raises(Stopped):
        ask(tmp_path, {"image_shape_filter": {}}, tick)


def test_the_process_ends_with_the_run_that_asked(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    worker = subprocess.Popen(
        [sys.executable, "-m", "kolora.datasets.juicer", str(tmp_path / "request.json"), str(tmp_path / "answer.json")],
        stdin=reading,
        stderr=subprocess.DEVNULL,
    )
    os.close(reading)
    os.mkfifo(tmp_path / "request.json")  # so that it waits for its work for ever
    time.sleep(0.5)
    assert worker.poll() is None
    os.close(writing)
    assert worker.wait(timeout=30) == 1


def test_nothing_of_the_environment_reaches_the_filters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, str] = {}

    def popen(command: list[str], **options: Any) -> Any:
        seen.update(options["env"])
        raise Stopped("seen enough")

    monkeypatch.setenv("HF_TOKEN", "secret")
    monkeypatch.setenv("HF_HOME", str(Path.home()))
    monkeypatch.setattr(subprocess, "Popen", popen)
    with pytest.raises(Stopped):
        ask(tmp_path, {"image_shape_filter": {}})
    assert "secret" not in seen.values()
    assert seen["HF_HOME"] == seen["HOME"] == str(tmp_path / "scratch")
    assert seen["HF_HUB_OFFLINE"] == "1"
