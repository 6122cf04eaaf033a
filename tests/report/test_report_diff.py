"""Two runs side by side: settings, scores, pictures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from kolora.cli import main
from kolora.errors import InputAbsent
from kolora.report.diff import read_difference

from tests.report.page import html_page, squeezed
from tests.report.run_folder import edit, make_run_folder


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    """Two runs; the second has another rank and another third picture."""
    one = make_run_folder(tmp_path / "one", language="en", size=(64, 64), scenes=[("", text) for text in "abc"])
    other = make_run_folder(tmp_path / "other", language="en", size=(64, 64), scenes=[("", text) for text in "abc"])
    story = json.loads((other / "records/run.json").read_text(encoding="utf-8"))["story"]
    edit(other / "records/run.json", story=story | {"lora": {"rank": 99}, "title": "<b>new</b>"})
    score = json.loads((other / "records/score.json").read_text(encoding="utf-8"))["facts"]
    edit(other / "records/score.json", facts=score | {"aesthetics_mean": 7.134})
    (other / "images/03.png").write_bytes((other / "images/02.png").read_bytes())
    render = json.loads((other / "records/render-02.json").read_text(encoding="utf-8"))
    edit(other / "records/render-03.json", files=render["files"])
    return one, other


def test_a_run_does_not_differ_from_itself(two: tuple[Path, Path]) -> None:
    same = read_difference(two[0], two[0])
    assert same.settings == ()
    assert {score.change for score in same.scores} == {0}
    assert [pair.state for pair in same.scenes] == ["identical"] * 3


def test_settings_scores_and_pictures_are_compared(two: tuple[Path, Path]) -> None:
    found = read_difference(*two)
    keys = {each.key: tuple(side and side.value for side in (each.one, each.other)) for each in found.settings}
    assert keys == {
        "lora.rank": (8, 99),
        "lora.steps": (100, None),
        "lora.dropout": (0.0, None),
        "title": (None, "<b>new</b>"),
    }
    (aesthetics,) = [score for score in found.scores if score.name == "aesthetics_mean"]
    assert aesthetics.change == pytest.approx(1.0)
    assert [pair.state for pair in found.scenes] == ["identical", "identical", "different"]


def test_scenes_of_one_side_only(tmp_path: Path) -> None:
    one = make_run_folder(tmp_path / "one", size=(64, 64), scenes=[("", "a")])
    other = make_run_folder(tmp_path / "other", size=(64, 64), scenes=[("", "a"), ("", "b")])
    assert [pair.state for pair in read_difference(one, other).scenes] == ["identical", "one_sided"]


def test_the_command_tells_it_and_writes_a_page(
    two: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        main(["diff", str(two[0]), str(two[1]), "-o", str(tmp_path / "pages/both.html")])
    assert left.value.code == 0
    said = capsys.readouterr().out
    for line in (
        "lora.rank: 8 -> 99",
        "lora.steps: 100 -> not set",
        "Mean aesthetics: 6.13 -> 7.13 (+1)",
        "pictures: 2 identical, 1 different, 0 not in both",
    ):
        assert line in said
    page = html_page(tmp_path / "pages", "both.html")
    assert page.dangers() == []
    assert "title – <b>new</b>" in squeezed(page.text).replace("not there", "–")
    assert len(page.all("img")) == 6
    paths = [path for path, _ in page.pictured]
    assert paths[:2] == ["../one/images/01.png", "../other/images/01.png"]
    assert all((tmp_path / "pages" / path).is_file() for path in paths)


def test_what_is_no_run_folder_is_refused(two: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(InputAbsent, match="not a run folder"):
        read_difference(two[0], tmp_path)
