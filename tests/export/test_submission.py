"""The contest's pack: named by the rule, whole, the same bytes every time; and everything that is wrong, at once."""

from __future__ import annotations

import json
import subprocess
import zipfile
from pathlib import Path

import pytest
import yaml
from kolora.export.finished import read_finished
from kolora.models.lora import read_lora
from kolora.report import parse_report, without_provenance
from kolora.report.pages import render_markdown
from kolora.runfolder.manifest import write_manifest
from kolora.spec import load_story

from tests.commands import left

NAME = "墨韵-可图Kolors训练-小猫的一天"


@pytest.fixture(scope="module")
def packed(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packed")
    assert left("export", finished, "--to", "submission", "-o", folder) == 0
    return folder


def test_a_pack_holds_what_the_contest_asks_for(packed: Path, finished: Path) -> None:
    assert {path.name for path in packed.iterdir()} == {NAME, f"{NAME}.zip"}
    folder = packed / NAME
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert files >= {
        *(
            "story.yaml",
            "story.lock.yaml",
            "grid.png",
            "report.html",
            "report.md",
            "report.json",
            "report.en.html",
            "README.md",
        ),
        *(f"images/{number:02d}.png" for number in range(1, 9)),
        *(f"lora/{NAME}.safetensors", "lora/diffsynth.safetensors", "lora/pytorch_lora_weights.safetensors"),
        "manifest.sha256",
    }
    assert not [path for path in files if path.startswith(("data/train", "work", "records", "logs"))]
    assert (folder / "images" / "03.png").read_bytes() == (finished / "images" / "03.png").read_bytes()
    subprocess.run(["sha256sum", "-c", "--quiet", "manifest.sha256"], cwd=folder, check=True)
    assert read_lora(folder / "lora" / f"{NAME}.safetensors").pairs


def test_the_packs_story_is_the_one_that_was_run(packed: Path, finished: Path, out: Path) -> None:
    assert (packed / NAME / "story.yaml").read_bytes() == (finished / "story.yaml").read_bytes()
    changes = ["--set", "render.guidance_scale=2", "--set", "team=另一队"]
    assert left("run", finished.parent / "story.yaml", "-o", out, *changes) == 0
    assert left("export", out, "--to", "submission") == 0
    told = load_story((out / "export" / "另一队-可图Kolors训练-小猫的一天" / "story.yaml").read_bytes())
    assert told == read_finished(out).story
    assert (told.render.guidance_scale, told.team) == (2, "另一队")
    folder = out / "export" / "另一队-可图Kolors训练-小猫的一天"
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    assert report["again"]["story"] == (folder / "story.yaml").read_text(encoding="utf-8")


def test_the_card_is_read_by_hubs_and_people(packed: Path) -> None:
    text = (packed / NAME / "README.md").read_text(encoding="utf-8")
    _, front, body = text.split("---\n", 2)
    told = yaml.safe_load(front)
    assert told["pipeline_tag"] == "text-to-image"
    assert "lora" in told["tags"]
    assert told["widget"][1] == {"text": "一只小猫，{第2幕|?}", "output": {"url": "images/02.png"}}
    assert "base_model" not in told, "the tiny checkpoint is not Kolors"
    assert "widget:" not in body, "one head is enough"
    for word in ("images/08.png", "grid.png", f"lora/{NAME}.safetensors", "load_lora_weights", "kolora verify"):
        assert word in body


def test_the_same_run_is_the_same_zip(packed: Path, finished: Path, tmp_path: Path) -> None:
    for _ in range(2):
        assert left("export", finished, "--to", "submission", "-o", tmp_path / "b") == 0
        assert (tmp_path / "b" / f"{NAME}.zip").read_bytes() == (packed / f"{NAME}.zip").read_bytes()
    with zipfile.ZipFile(packed / f"{NAME}.zip") as archive:
        assert archive.testzip() is None
        assert archive.namelist() == sorted(archive.namelist())
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        folder = packed / NAME
        for entry in archive.infolist():
            assert archive.read(entry) == (folder / entry.filename).read_bytes()


def test_another_run_of_the_story_is_the_same_zip(packed: Path, out: Path) -> None:
    """What only a run can know is no part of its pack: nobody could rebuild it."""
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    report |= {"started": "2031-01-02T03:04:05Z", "seconds": 12_345.5}
    report["again"]["command"] = "kolora run elsewhere.yaml"
    report["environment"] |= {"cpu": "Another CPU", "python": "9.9", "platform": "Plan 9"}
    for step in report["steps"]:
        step |= {"action": "kept", "reason": "another", "why": [], "seconds": 99.5, "peak_memory_bytes": {"cpu": 1}}
    (out / "report.json").write_text(json.dumps(report), encoding="utf-8")
    write_manifest(out)
    assert left("export", out, "--to", "submission") == 0
    assert (out / "export" / f"{NAME}.zip").read_bytes() == (packed / f"{NAME}.zip").read_bytes()


def test_a_packs_pages_are_made_of_its_report(packed: Path) -> None:
    folder = packed / NAME
    report = parse_report((folder / "report.json").read_bytes())
    assert without_provenance(report) == report
    assert (folder / "report.md").read_text(encoding="utf-8") == render_markdown(report)
    assert {path.name for path in folder.glob("report*")} == {
        *("report.json", "report.md", "report.html", "report.en.html")
    }
    assert report.language == "zh"
    assert 'lang="zh-CN"' in (folder / "report.html").read_text(encoding="utf-8")
    assert '<html lang="en">' in (folder / "report.en.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"schema": 2}', b"[" * 100_000, b"\xff", None])
def test_a_report_that_cannot_be_read_is_said(
    out: Path, capsys: pytest.CaptureFixture[str], content: bytes | None
) -> None:
    (out / "report.json").unlink()
    if content is not None:
        (out / "report.json").write_bytes(content)
    write_manifest(out)
    assert left("export", out, "--to", "submission") == 65
    assert "report.json cannot be read" in capsys.readouterr().err


def test_the_team_may_be_told_on_the_command_line(finished: Path, tmp_path: Path) -> None:
    assert left("export", finished, "--to", "submission", "-o", tmp_path, "--team", "另一队") == 0
    assert (tmp_path / "另一队-可图Kolors训练-小猫的一天.zip").is_file()


def test_everything_that_is_wrong_is_told_at_once(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = out / "records" / "run.json"
    told = json.loads(run.read_text(encoding="utf-8"))
    told["story"] |= {"team": "", "title": "a/b", "scenes": told["story"]["scenes"][:7]}
    run.write_text(json.dumps(told), encoding="utf-8")
    score = out / "records" / "score.json"
    told = json.loads(score.read_text(encoding="utf-8"))
    # With its own digest, a changed record would only be a torn one.
    del told["sha256"]
    told["facts"]["aesthetics_mean"] = 5.994
    score.write_text(json.dumps(told), encoding="utf-8")
    (out / "lora" / "kohya.safetensors").unlink()
    (out / "lora" / "kohya.safetensors").write_bytes(b"no weights")
    assert left("export", out, "--to", "submission") == 65
    error = capsys.readouterr().err
    for words in (
        "is not a valid submission",
        "the team has no name",
        "the title 'a/b' cannot be part of a file name",
        "it has 7 pictures",
        "score of its pictures is 5.994",
        "lora/kohya.safetensors, records/run.json, records/score.json changed",
        "its LoRA cannot be loaded",
    ):
        assert words in error
    assert error.splitlines()[-1].startswith("hint: ")
    assert not (out / "export").exists()


def test_what_is_no_submission_is_not_replaced(finished: Path, tmp_path: Path) -> None:
    (tmp_path / NAME).mkdir()
    (tmp_path / NAME / "mine.txt").write_text("mine")
    assert left("export", finished, "--to", "submission", "-o", tmp_path) == 73
    assert (tmp_path / NAME / "mine.txt").read_text() == "mine"


def test_without_scores_nothing_is_said_to_be_valid(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    score = out / "records" / "score.json"
    told = json.loads(score.read_text(encoding="utf-8"))
    # With its own digest, a changed record would only be a torn one.
    del told["sha256"]
    told["facts"]["aesthetics_mean"] = None
    score.write_text(json.dumps(told), encoding="utf-8")
    assert left("export", out, "--to", "submission") == 65
    assert "were not scored" in capsys.readouterr().err
