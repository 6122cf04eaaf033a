"""A report without its provenance: two runs of one story say the same, and the pages leave no empty places."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from kolora.report import ReportData, read_report_data, without_provenance
from kolora.report.pages import render_html, render_markdown
from kolora.report.provenance import LOCKED_NUMERICS
from kolora.report.sections.environment import Environment, Numerics, Service
from kolora.report.values import Language
from kolora.report.write import write_report_files
from kolora.runfolder.lock import Numerics as NumericsOfLock
from kolora.runfolder.reader import Gap

from tests.report.page import Page
from tests.report.run_folder import make_run_folder

ELSEWHERE = {
    "started": "2031-01-02T03:04:05Z",
    "seconds": 99_999.5,
    "gaps": (Gap(what="absent", path="images/gone.png"),),
}
"""What another run of the same story would say of itself, at the top of its report."""

PROVENANCE = {
    *("again.command", "seconds", "started", "training.resumed_at", "training.samples_per_second"),
    *("environment.cpu", "environment.gpu", "environment.platform", "environment.python"),
    *(f"environment.service.{name}" for name in Service.model_fields),
    *("steps.action", "steps.reason", "steps.why", "steps.seconds"),
    *("steps.peak_memory_bytes.cpu", "steps.peak_memory_bytes.gpu", "numerics.values.device_name"),
}
"""Every leaf of report.json that only the run can know."""


@pytest.fixture(params=["zh", "en"])
def report(request: pytest.FixtureRequest, tmp_path: Path) -> ReportData:
    return read_report_data(make_run_folder(tmp_path / "out", language=request.param, samples=True, kept=("train",)))


def made_elsewhere(report: ReportData) -> ReportData:
    """Tell the same story as run on another machine, another day, in another way."""
    assert report.training is not None
    steps = [
        step.model_copy(
            update={
                "action": "kept",
                "reason": "because",
                "why": (("same",),),
                "seconds": 77.25,
                "peak_memory_bytes": {"gpu": 123_456_789},
            }
        )
        for step in report.steps
    ]
    numerics = [
        Numerics(steps=(name,), values=group.values | {"device_name": f"CPU of {name}", "memory, offload": "all"})
        for group in report.numerics
        for name in group.steps
    ]
    machine = Environment(
        python="9.9.9",
        platform="Plan 9",
        cpu="Another CPU",
        gpu="Another GPU",
        image=report.environment.image,
        service=Service(name="slurm", run="4711"),
        packages=report.environment.packages,
    )
    return report.model_copy(
        update=ELSEWHERE
        | {
            "training": report.training.model_copy(update={"samples_per_second": 3.14159, "resumed_at": 17}),
            "steps": tuple(steps),
            "numerics": tuple(numerics),
            "environment": machine,
            "again": report.again.model_copy(update={"command": "kolora run /home/me/story.yaml --force"}),
        }
    )


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """List every leaf of a JSON value by its dotted path, without the places in lists."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from leaves(item, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for item in value:
            yield from leaves(item, path)
    else:
        yield path, value


def test_two_runs_of_a_story_say_the_same_without_it(report: ReportData) -> None:
    other = made_elsewhere(report)
    assert other != report
    assert without_provenance(other) == without_provenance(report)
    assert without_provenance(other).model_dump_json() == without_provenance(report).model_dump_json()


def test_it_is_left_out_once(report: ReportData) -> None:
    left = without_provenance(report)
    assert left != report
    assert without_provenance(left) == left
    assert ReportData.model_validate_json(left.model_dump_json(by_alias=True)) == left


def test_only_provenance_is_left_out(report: ReportData) -> None:
    before = set(leaves(report.model_dump(mode="json")))
    after = set(leaves(without_provenance(report).model_dump(mode="json")))
    gone = {path for path, _ in before - after}
    assert gone >= {"seconds", "started", "steps.seconds", "steps.action", "training.samples_per_second"}
    assert gone <= PROVENANCE
    assert len(before & after) > 100


@pytest.mark.parametrize("language", ["zh", "en"])
def test_the_pages_have_no_place_for_what_is_left_out(report: ReportData, language: Language) -> None:
    data = made_elsewhere(report).model_copy(update={"language": language})
    left = without_provenance(data)
    for render in (lambda each: render_html(each, {}), render_markdown):
        told, page = render(data), render(left)
        for words in ("2031", "Another CPU", "Plan 9", "slurm", "/home/me", "images/gone.png"):
            assert words in told
            assert words not in page
        assert "kolora run story.yaml -o again" in page
        assert "None" not in page
    text = render_html(left, {})
    assert 'id="timings"' not in text
    assert 'href="#timings"' not in text
    anchors = {link["href"] for link in Page(text).all("a")}
    assert anchors < {link["href"] for link in Page(render_html(data, {})).all("a")}


def test_a_report_of_steps_that_are_not_told_of_is_no_report_without_steps(report: ReportData) -> None:
    """A run that has not begun still says that no step is recorded."""
    assert 'id="timings"' in render_html(report.model_copy(update={"steps": ()}), {})


def test_what_stays_of_the_arithmetic_is_what_a_lock_pins() -> None:
    assert {*LOCKED_NUMERICS, "steps", "device_name"} == NumericsOfLock.model_fields.keys()


def test_the_files_are_written_from_it(report: ReportData, tmp_path: Path) -> None:
    data = without_provenance(report)
    other = "en" if report.language == "zh" else "zh"
    written = write_report_files(data, pictures=tmp_path / "out", into=tmp_path / "pack")
    names = {path.name for path in written}
    assert names == {path.name for path in (tmp_path / "pack").iterdir()}
    assert names == {"report.json", "report.md", "report.html", f"report.{other}.html"}
    told = json.loads((tmp_path / "pack" / "report.json").read_text(encoding="utf-8"))
    assert told["started"] is None
    assert "data:image/jpeg" in (tmp_path / "pack" / "report.html").read_text(encoding="utf-8")
    again = write_report_files(data, pictures=tmp_path / "out", into=tmp_path / "again")
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in written]
