"""``import kolora``: its public names, and a story planned, run and verified without a word printed."""

from __future__ import annotations

import json
import logging
import signal
import subprocess
import sys
from pathlib import Path

import kolora
import pytest
import yaml
from kolora.events import Planned, StepEnded
from kolora.execution.signals import SIGNALS

from tests.stories import STORY, write_story

PUBLIC = {
    *("Decision", "LoadedStory", "Run", "Scores", "Story", "Verification", "__version__"),
    *("load_story", "plan", "run", "verify"),
    *("DeviceUnusable", "HubUnreachable", "InputAbsent", "KoloraError", "OutputUnwritable", "SchemaTooNew"),
    *("Stopped", "StoryInvalid", "UsageError", "VerifyDifferent"),
}


def test_the_public_names_are_these():
    assert set(kolora.__all__) == PUBLIC
    assert all(hasattr(kolora, name) for name in PUBLIC)


def test_nothing_of_it_loads_before_it_is_used():
    """Or ``python -m kolora`` would be deaf to signals meanwhile: Python loads the package before its __main__."""
    code = "import kolora, sys; print(*sorted(name for name in sys.modules if name.startswith('kolora')))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout.split()
    assert loaded == ["kolora", "kolora.characters", "kolora.errors", "kolora.redaction", "kolora.version"]


def test_a_story_is_planned_run_and_verified_without_a_word(
    tiny_checkpoint: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    loggers = list(logging.getLogger().handlers)
    path = write_story(tmp_path, tiny_checkpoint, filters=[], scores={"threshold": 10}, lora__steps=2)
    story = kolora.load_story(path, overrides=["render.steps=2"])
    decisions = kolora.plan(story, out=tmp_path / "out")
    assert all(decision.runs for decision in decisions)
    assert not (tmp_path / "out").exists()
    events: list[object] = []
    run = kolora.run(story, out=tmp_path / "out", device="cpu", offline=True, on_event=events.append)
    assert [picture.name for picture in run.pictures] == ["01.png", "02.png"]
    assert run.scores.valid is False
    assert run.scores.aesthetics_mean == pytest.approx(sum(run.scores.aesthetics) / 2)
    assert run.report.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert run.is_complete
    assert run.worked
    (planned,) = [event for event in events if isinstance(event, Planned)]
    ended = [event.step.name for event in events if isinstance(event, StepEnded)]
    assert ended == [decision.step.name for decision in planned.decisions]
    assert not kolora.run(story, out=tmp_path / "out", device="cpu", offline=True).worked
    assert not any(decision.runs for decision in kolora.plan(story, out=tmp_path / "out"))
    verified = kolora.verify(
        tmp_path / "out", out=tmp_path / "verified", device="cpu", folders=_folders(tmp_path / "checkpoint")
    )
    assert verified.verdict == "equivalent", "a key was set over the story file"
    assert [each["key"] for each in verified.facts["overrides"]] == ["render.steps"]
    assert len(verified.facts["unchecked"]) == 1
    assert verified.page.is_file()
    assert capfd.readouterr() == ("", "")
    assert {number: signal.getsignal(number) for number in SIGNALS} == handlers
    assert logging.getLogger().handlers == loggers


@pytest.mark.parametrize("leave", [KeyboardInterrupt, SystemExit])
def test_a_run_that_is_interrupted_says_so_and_goes_on(
    tiny_checkpoint: Path, tmp_path: Path, leave: type[BaseException]
):
    story = kolora.load_story(write_story(tmp_path, tiny_checkpoint, filters=[], lora__steps=1, render__steps=1))

    def interrupt(event: object) -> None:
        if isinstance(event, StepEnded) and event.step.name == "fetch":
            raise leave

    with pytest.raises(leave):
        kolora.run(story, out=tmp_path / "out", device="cpu", offline=True, on_event=interrupt)
    run = json.loads((tmp_path / "out" / "records" / "run.json").read_text(encoding="utf-8"))
    assert (run["status"], run["error"]["code"]) == ("stopped", 75)
    assert not (tmp_path / "out" / "manifest.sha256").exists()
    finished = kolora.run(story, out=tmp_path / "out", device="cpu", offline=True)
    assert {line.action for line in finished.data.steps} == {"kept", "ran"}


def test_a_story_is_loaded_by_name_by_text_and_from_values():
    assert kolora.load_story("quickstart").story.name == "quickstart"
    text = yaml.safe_dump(STORY, allow_unicode=True)
    loaded = kolora.load_story(text, overrides=["lora.rank=8"])
    assert (loaded.story.name, loaded.story.lora.rank, loaded.base) == ("tiny", 8, Path.cwd())
    from_values = kolora.plan(kolora.Story.model_validate(STORY))
    assert [each.step.digest for each in from_values] == [
        each.step.digest for each in kolora.plan(kolora.load_story(text))
    ]


def test_what_is_wrong_is_one_of_koloras_exceptions(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    with pytest.raises(kolora.StoryInvalid, match=r"lora\.rank"):
        kolora.load_story("scenes: [{prompt: a}]\nlora: {rank: none}\n")
    with pytest.raises(kolora.InputAbsent):
        kolora.load_story(tmp_path / "absent.yaml")
    with pytest.raises(kolora.SchemaTooNew):
        kolora.load_story("kolora: 9\nscenes: [{prompt: a}]\n")
    story = kolora.load_story(yaml.safe_dump(STORY, allow_unicode=True))
    with pytest.raises(kolora.DeviceUnusable, match="Kolors"):
        kolora.run(story, out=tmp_path / "out", device="cpu", offline=True)
    assert (tmp_path / "out" / "report.html").is_file(), "a run that failed has a report too"
    assert capfd.readouterr() == ("", "")


def _folders(checkpoint: Path):
    from kolora.verification.resolve import Folders

    return Folders(checkpoint=checkpoint)
