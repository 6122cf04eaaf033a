"""The one reader of a run folder: no value in it, however wrong, is more than a gap."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from kolora.errors import InputAbsent
from kolora.report import read_report_data
from kolora.runfolder.reader import RunReader, read_run
from kolora.stages import STAGES, grid, render, train

from tests.report.run_folder import edit, make_run_folder

WRONG: tuple[Any, ...] = (None, 5, "x", [1], [None], [[]], {"a": 1}, {"step": {}}, True, 1e999)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return make_run_folder(tmp_path / "out", scenes=[("a", "b")], size=(64, 64), samples=True)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """List where a value stands inside another; of long lists only the first two."""
    found = [path]
    items = value.items() if isinstance(value, dict) else enumerate(value[:2]) if isinstance(value, list) else ()
    for key, item in items:
        found += places(item, (*path, key))
    return found


def changed(value: Any, path: tuple[Any, ...], wrong: Any) -> Any:
    """Return a copy with another value in one place."""
    if not path:
        return wrong
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = changed(copy[path[0]], path[1:], wrong)
    return copy


@pytest.mark.parametrize("name", ["run", "fetch", "filter", "train", "render-01", "baseline-01", "grid", "score"])
def test_no_value_of_a_record_is_an_error(out: Path, name: str) -> None:
    record = out / f"records/{name}.json"
    value = json.loads(record.read_text(encoding="utf-8"))
    found = places(value)
    assert len(found) > 10
    for place, path in enumerate(found):
        wrong = WRONG[place % len(WRONG)]
        record.write_text(json.dumps(changed(value, path, wrong)), encoding="utf-8")
        read_report_data(out)


def test_a_whole_run_is_read_without_a_gap(out: Path) -> None:
    reader = read_run(out)
    assert reader.ran_to_end
    assert reader.story is not None
    assert reader.scenes_of("render") == reader.scenes_of("baseline") == (1,)
    facts = reader.facts("train", train.Facts)
    assert facts is not None
    assert facts.loss_last == 0.4871
    record = reader.record("render", 1)
    assert record is not None
    assert reader.path(record, "image.png") == "images/01.png"
    assert reader.facts("export_lora", STAGES["export_lora"].Facts) is None
    assert reader.gaps == []


def test_facts_are_read_by_the_stage_that_wrote_them(out: Path) -> None:
    with pytest.raises(AssertionError, match="not what train writes"):
        RunReader(out).facts("train", grid.Facts)


def test_a_renamed_fact_is_a_gap_and_not_a_silent_null(out: Path) -> None:
    edit(out / "records/render-01.json", facts={"Prompt": "b"})
    reader = read_run(out)
    assert reader.facts("render", render.Facts, 1) is None
    assert [(gap.what, gap.path) for gap in reader.gaps] == [("torn", "records/render-01.json")]


def test_the_manifest_says_what_changed(out: Path) -> None:
    assert read_run(out).manifest == {}
    digest = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    lines = [f"{digest}  empty", f"{digest}  grid.png", f"{digest}  gone"]
    (out / "manifest.sha256").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (out / "empty").touch()
    assert set(read_run(out).changed()) == {"grid.png", "gone"}


@pytest.mark.parametrize(
    "line", ["torn line", "", f"{'0' * 64}  ../../../canary", f"{'g' * 64}  grid.png", "0  grid.png"]
)
def test_a_manifest_with_a_line_that_kolora_never_writes_is_torn(out: Path, line: str) -> None:
    (out / "manifest.sha256").write_text(f"{line}\n", encoding="utf-8")
    reader = read_run(out)
    assert reader.changed() == ("manifest.sha256",)
    assert [(gap.what, gap.path) for gap in reader.gaps] == [("torn", "manifest.sha256")]


def test_what_is_no_run_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputAbsent, match="not a run folder"):
        read_run(tmp_path)
