"""Reports of every release are read as what this one says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from kolora.errors import SchemaTooNew
from kolora.report import parse_report, read_report_data
from kolora.report.migrate import migrate_report
from kolora.version import __version__

from tests.report.run_folder import make_run_folder

FORMER = Path(__file__).parents[1] / "compat" / "0.1" / "run" / "report.json"


def test_a_report_of_kolora_0_1_is_read() -> None:
    content = FORMER.read_bytes()
    former = json.loads(content)
    assert former["schema"] == 1
    report = parse_report(content)
    assert [scene.baseline for scene in report.scenes] == [scene["plain"] for scene in former["scenes"]]
    assert [scene.prompt for scene in report.scenes] == [scene["prompt"] for scene in former["scenes"]]
    assert report.coherence is not None
    assert report.coherence.baseline_mean == former["coherence"]["plain_mean"]
    assert report.data is not None
    funnel = [(count.name, count.entered, count.left) for count in report.data.funnel]
    assert funnel == [(each["name"], each["entered"], each["left"]) for each in former["data"]["funnel"]]
    assert report.again.settings[0].key == former["again"]["settings"][0]["key"]


def test_dropped_files_of_schema_1_keep_what_was_asked_of_them() -> None:
    dropped = {"source": "a.png", "by": "f", "reason": "small", "measured": {"w": 1}, "asked": {"min": 2}}
    data = {"source": "folder", "kept": 1, "dropped": 1, "funnel": [], "losses": [dropped]}
    former = json.loads(FORMER.read_bytes()) | {"data": data}
    report = parse_report(json.dumps(former).encode())
    assert report.data is not None
    (file,) = report.data.losses
    assert (file.source, file.thresholds) == ("a.png", {"min": 2})


def test_a_report_of_this_schema_is_read_as_it_is(tmp_path: Path) -> None:
    report = read_report_data(make_run_folder(tmp_path / "out", size=(64, 64), dropped=2))
    text = report.model_dump_json(by_alias=True)
    assert parse_report(text.encode()) == report
    assert migrate_report(json.loads(text)) == json.loads(text)


def test_a_report_of_a_later_schema_is_refused_by_its_number() -> None:
    with pytest.raises(SchemaTooNew, match="schema 99"):
        parse_report(b'{"schema": 99}')


def test_unknown_keys_are_left_out_unless_this_version_wrote_them(tmp_path: Path) -> None:
    report = read_report_data(make_run_folder(tmp_path / "out", size=(64, 64)))
    value = json.loads(report.model_dump_json(by_alias=True)) | {"later": 1, "kolora": "9.0.0"}
    report = report.model_copy(update={"kolora": "9.0.0"})
    assert parse_report(json.dumps(value).encode()) == report
    with pytest.raises(ValueError, match="later"):
        parse_report(json.dumps(value | {"kolora": __version__}).encode())


@pytest.mark.parametrize(
    "value", [None, [], {}, {"schema": "x"}, {"scenes": [1]}, {"data": {"losses": [1], "funnel": [None]}}]
)
def test_what_is_no_report_is_a_value_error(value: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_report(json.dumps(value).encode())
    for content in (b"{", b"\xff", b"[" * 100_000):
        with pytest.raises(ValueError, match=r"."):
            parse_report(content)


@pytest.mark.parametrize(("name", "practice"), [("pocket", True), ("checkpoint", False), (None, False)])
@pytest.mark.parametrize("schema", [1, 2])
def test_reports_without_the_word_are_practice_by_their_checkpoint(
    tmp_path: Path, schema: int, name: str | None, practice: bool
) -> None:
    former = json.loads(FORMER.read_bytes())
    if schema == 2:
        former = read_report_data(make_run_folder(tmp_path / "out")).model_dump(mode="json", by_alias=True)
        del former["practice"]
    former["checkpoint"] = {"name": name, "digest": None} if name else None
    assert parse_report(json.dumps(former).encode()).practice is practice
