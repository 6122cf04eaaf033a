"""Paths as file systems have them: a cache that nobody may look into, names that are no UTF-8."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from kolora.errors import OutputUnwritable
from kolora.places import cache_folder

from tests.commands import left
from tests.stories import write_story
from tests.trees import make_victim, plant

NAMES = {
    "GBK": "一座桥".encode("gbk"),
    "Latin-1": "Brücke".encode("latin-1"),
    "half of a letter": "桥".encode()[:2],
    "line break": b"one\ntwo",
    "escape": b"\x1b[31mred",
    "turned": "abc\u202edef".encode(),
    "longest": b"x" * 200,
    "only bad bytes": b"\xff\xfe",
}
"""What a folder or a file may be called."""


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_a_run_goes_to_a_folder_of_any_name(
    tiny_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: bytes
) -> None:
    out = tmp_path / os.fsdecode(name)
    story = write_story(tmp_path, tiny_checkpoint, filters=[])
    story = story.rename(tmp_path / f"{os.fsdecode(name)}.yaml")
    for _ in range(2):
        assert left("run", story, "-o", out, "--until", "filter") == 0
    assert left("plan", story, "-o", out) == 0
    assert left("report", out) == 0
    assert "keep filter" in capsys.readouterr().out
    command = json.loads((out / "records" / "run.json").read_text(encoding="utf-8"))["command"]
    assert "run" in command


@pytest.mark.parametrize("kind", ["file", "link to a file", "link to itself", "pipe"])
def test_a_cache_that_is_no_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    cache = tmp_path / "cache"
    plant(kind, cache, make_victim(tmp_path))
    monkeypatch.setenv("KOLORA_CACHE", str(cache))
    with pytest.raises(OutputUnwritable) as told:
        cache_folder()
    assert str(cache) in told.value.error
    assert "KOLORA_CACHE" in told.value.hint
