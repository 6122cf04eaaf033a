"""Promises over time: what older versions wrote is read for ever, and means what it meant.

Each folder here is what a release wrote: ``stories/`` with ``meaning.json`` (every value in force), and ``run/``, a run
folder without its work; ``make.py`` adds the next one.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import kolora
import pytest
import yaml
from kolora.inputs import Inputs, Scorer
from kolora.planning import decide, plan_steps
from kolora.report import read_report_data
from kolora.runfolder.lock import Lock, read_lock
from kolora.runfolder.store import RunFolder
from kolora.spec import Story, load_story, read_story
from kolora.spec.canonical import canonical
from kolora.spec.migrate import migrate_dump
from kolora.stages import STAGES
from kolora.verification.compare import story_against_lock
from kolora.verification.resolve import Folders
from kolora.verification.verify import verify
from PIL import Image
from pydantic import BaseModel, create_model

from tests.stories import STORY

HERE = Path(__file__).parent
RELEASES = sorted(path.name for path in HERE.iterdir() if (path / "run").is_dir())
KEEPING = [name for name in RELEASES if name != "0.1"]
"""The releases whose finished steps are kept; the digests of 0.1 covered other things."""


def lock_of(release: str) -> Lock:
    return read_lock((HERE / release / "run" / "story.lock.yaml").read_bytes(), name="story.lock.yaml")


def inputs_of(lock: Lock) -> Inputs:
    """Take from a lock what its run stood on."""
    scorers = {}
    for kind, scorer in lock.scorers.items():
        scorers[kind] = Scorer(digest=scorer.sha256, folder=HERE) if scorer else None
    return Inputs(checkpoint=lock.checkpoint.sha256, dataset=(lock.dataset and lock.dataset.identity) or "", **scorers)


def test_every_release_is_here():
    assert RELEASES[0] == "0.1"
    for release in RELEASES:
        assert len(list((HERE / release / "stories").glob("*.yaml"))) >= 5


@pytest.mark.parametrize("release", RELEASES)
def test_old_stories_mean_what_they_meant(release: str):
    meaning = json.loads((HERE / release / "meaning.json").read_text(encoding="utf-8"))
    for name, values in meaning.items():
        source = (HERE / release / "stories" / name).read_bytes()
        version = lock_of(release).kolora
        then = Story.model_validate(migrate_dump(values, version=version))
        assert canonical(load_story(source, version=version)) == canonical(then), name
    assert len(meaning) >= 5


@pytest.mark.parametrize("release", KEEPING)
def test_an_old_run_keeps_its_steps(release: str):
    """A stage whose VERSION was raised since runs again, with what reads it; nothing else does."""
    story = read_story(HERE / release / "run" / "story.yaml")
    steps = plan_steps(story, inputs_of(lock_of(release)))
    folder = RunFolder(HERE / release / "run")
    records = {step.name: record for step in steps if (record := folder.last_record(step.name))}
    finished = {record.digest for record in records.values()}
    raised = {step.key for step in steps if records[step.name].version != STAGES[step.stage].VERSION}
    for step in steps:
        if raised & set(step.needs):
            raised.add(step.key)
    decided = decide(steps, finished_digests=finished, records=records)
    assert {each.step.key: each.reason for each in decided if each.runs and each.step.key not in raised} == {}
    assert len(decided) > 10


def test_a_run_of_kolora_0_1_is_told_to_be_one(tmp_path: Path):
    shutil.copytree(HERE / "0.1" / "run", tmp_path / "run")
    folder = RunFolder(tmp_path / "run")
    steps = plan_steps(read_story(folder.root / "story.yaml"), inputs_of(lock_of("0.1")))
    (folder.root / "records" / "run.json").unlink()
    told = {folder.outdated_version(step.name) for step in steps}
    assert told == {"0.1.0"}
    assert folder.outdated_version("render-03") is None, "a scene that is new was never drawn"
    assert not any(folder.last_record(step.name) for step in steps)


def test_a_folder_of_kolora_0_1_is_brought_to_this_version(tiny_checkpoint: Path, tmp_path: Path):
    out = tmp_path / "run"
    shutil.copytree(HERE / "0.1" / "run", out)
    story = kolora.load_story(out / "story.yaml", overrides=[f"model.checkpoint={tiny_checkpoint}"])
    run = kolora.run(story, out=out, device="cpu", offline=True)
    assert run.is_complete
    assert not (out / "images" / "plain").exists()
    listed = (out / "manifest.sha256").read_text(encoding="utf-8")
    assert "images/baseline/02.png" in listed
    assert not [line for line in listed.splitlines() if "plain" in line or "condition" in line or "convert" in line]
    for picture in ("01.png", "02.png"):
        assert same_pixels(out / "images" / picture, HERE / "0.1" / "run" / "images" / picture)


def same_pixels(one: Path, other: Path) -> bool:
    with Image.open(one) as left, Image.open(other) as right:
        return left.size == right.size and left.tobytes() == right.tobytes()


@pytest.mark.parametrize("release", RELEASES)
def test_the_report_of_an_old_run_is_whole(release: str, tmp_path: Path):
    root = tmp_path / "run"
    shutil.copytree(HERE / release / "run", root)
    told = json.loads((root / "report.json").read_text(encoding="utf-8"))
    data = read_report_data(root)
    assert [scene.seed for scene in data.scenes] == [scene["seed"] for scene in told["scenes"]]
    assert [scene.aesthetics for scene in data.scenes] == [scene["aesthetics"] for scene in told["scenes"]]
    assert all(scene.image and scene.baseline for scene in data.scenes)
    assert data.training is not None
    assert data.training.loss_last == told["training"]["loss_last"]
    # The pictures that it was trained on are not kept here.
    assert {gap.path.partition("/")[0] for gap in data.gaps} <= {"data"}


@pytest.mark.parametrize("release", RELEASES)
def test_the_story_of_an_old_submission_is_its_locks(release: str):
    lock = lock_of(release)
    source = (HERE / release / "run" / "story.yaml").read_bytes()
    story = load_story(source, overrides=lock.overrides, version=lock.kolora)
    assert list(story_against_lock(story, lock)) == []
    other = story.model_copy(update={"lora": story.lora.model_copy(update={"alpha": 3.0})})
    assert [finding.values[0] for finding in story_against_lock(other, lock)] == ["lora.alpha"]


@pytest.mark.parametrize("release", RELEASES)
def test_an_old_submission_is_verified(release: str, tiny_checkpoint: Path, tmp_path: Path):
    root = HERE / release / "run"
    done = verify(root, out=tmp_path, device="cpu", folders=Folders(checkpoint=tiny_checkpoint))
    assert [each["what"] for each in done.facts["findings"] if each["verdict"] == "different"] == []
    # Its pictures are drawn again to the same pixels; that it was another kolora's, or another machine's, lowers it.
    assert done.verdict == "equivalent"
    assert [scene["verdict"] for scene in done.facts["scenes"]] == ["identical", "identical"]
    assert done.facts["unchecked"]


def with_key_in(section: str) -> type[Story]:
    """Return the story's model with one more optional key in a section, as a later version may have it."""
    added: dict[str, Any] = {"added_later": (bool, False)}
    if section == "story":
        return create_model("Later", __base__=Story, **added)
    if section == "scenes":
        scene = create_model("LaterScene", __base__=_item_of("scenes"), **added)
        field = Story.model_fields["scenes"]
        return create_model("Later", __base__=Story, scenes=(tuple[scene, ...], field))
    if section == "dataset":
        pocket = create_model("LaterDataset", __base__=type(_story().dataset), **added)
        return create_model("Later", __base__=Story, dataset=(pocket, ...))
    model = create_model(f"Later{section}", __base__=type(getattr(_story(), section)), **added)
    return create_model("Later", __base__=Story, **{section: (model, model())})


def _item_of(section: str) -> type[BaseModel]:
    return type(getattr(_story(), section)[0])


def _story() -> Story:
    return Story.model_validate(STORY)


SECTIONS = [name for name, field in Story.model_fields.items() if isinstance(field.default, BaseModel)]
INPUTS = Inputs(checkpoint="c" * 64, dataset="world 1")


def test_the_sections_are_all_here():
    assert SECTIONS == ["model", "lora", "render", "grid", "scores", "report"]


@pytest.mark.parametrize("section", ["story", "dataset", "scenes", *SECTIONS])
def test_a_new_optional_key_changes_nothing(section: str):
    later = with_key_in(section).model_validate(STORY)
    assert "added_later" in str(later.model_dump())
    assert canonical(later) == canonical(_story())
    before, after = plan_steps(_story(), INPUTS), plan_steps(later, INPUTS)
    assert [step.digest for step in after] == [step.digest for step in before]


@pytest.mark.parametrize("stage", sorted(STAGES))
def test_a_new_optional_key_of_a_stage_changes_nothing(stage: str, monkeypatch: pytest.MonkeyPatch):
    story = _story_with_every_stage()
    before = plan_steps(story, INPUTS)
    for step in before:
        if step.stage == stage:
            later = create_model("Later", __base__=type(step.config), added_later=(float, 0.5))
            values = {name: getattr(step.config, name) for name in type(step.config).model_fields}
            assert canonical(later(**values)) == canonical(step.config)
            assert canonical(later(**values, added_later=0.25)) != canonical(step.config)
    assert stage in {step.stage for step in before}


@pytest.mark.parametrize("stage", sorted(STAGES))
def test_a_raised_version_runs_just_that_stage_and_what_reads_it(stage: str, monkeypatch: pytest.MonkeyPatch):
    story = _story_with_every_stage()
    before = plan_steps(story, INPUTS)
    monkeypatch.setattr(STAGES[stage], "VERSION", STAGES[stage].VERSION + 1)
    decided = decide(plan_steps(story, INPUTS), finished_digests={step.digest for step in before}, records={})
    runs = {each.step.key for each in decided if each.runs}
    readers = {step.key for step in before if step.stage == stage}
    for step in before:
        if readers & set(step.needs):
            readers.add(step.key)
    assert runs == readers


def _story_with_every_stage() -> Story:
    return load_story(yaml.safe_dump(STORY, allow_unicode=True), overrides=["lora.prior={prompt: 一只猫}"])
