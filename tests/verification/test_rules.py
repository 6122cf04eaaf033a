"""The contest's rules as verify judges them: by what came out here, whatever the submission says."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from kolora.configs import KOLORS
from kolora.hubs.catalogue import PARTS, POCKET, loaded_files
from kolora.hubs.identity import identify_model
from kolora.inputs import Inputs, ResolvedInputs, Scorer
from kolora.spec import Story, load_story
from kolora.verification.rules import broken_rules, is_exercise, judge_rules, rule_words

from tests.commands import left
from tests.stories import write_story

NAME = "墨韵-可图Kolors训练-小猫的一天"
EXERCISE = "墨韵-pocket练习-小猫的一天"
FILES = ["story.yaml", "lora/kohya.safetensors", "lora/diffsynth.safetensors", "lora/pytorch_lora_weights.safetensors"]


@pytest.fixture(autouse=True)
def _kolors_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lay a folder that says it has Kolors' widths into the working directory."""
    write_config(tmp_path / "kolors", KOLORS["unet"])
    monkeypatch.chdir(tmp_path)


def write_config(folder: Path, config: dict[str, Any]) -> None:
    (folder / "unet").mkdir(parents=True, exist_ok=True)
    (folder / "unet" / "config.json").write_text(json.dumps(config), encoding="utf-8")


def story_of(**changes: Any) -> Story:
    scenes = [{"prompt": "一只小猫", "seed": number} for number in range(1, 9)]
    values = {"kolora": 1, "name": "cat", "team": "墨韵", "title": "小猫的一天", "dataset": {"source": "pocket"}}
    return load_story(json.dumps(values | {"scenes": scenes} | changes))


def drawn(count: int = 8, *, score: float | None = 6.5, verdict: str = "identical") -> list[dict[str, Any]]:
    return [
        {"number": number, "verdict": verdict, "aesthetics": {"submitted": 9.9, "again": score}}
        for number in range(1, count + 1)
    ]


def resolved(story: Story, *, folder: Path | None = None, **checkpoint: Any) -> ResolvedInputs:
    files = checkpoint.pop("files", {"unet/diffusion_pytorch_model.safetensors": "1" * 64})
    inputs = Inputs(checkpoint=checkpoint.pop("digest", "2" * 64))
    return ResolvedInputs(story, story, folder or Path("kolors"), inputs, {}, (), files={"checkpoint": files})


def judged(
    story: Story | None = None,
    scenes: list[dict[str, Any]] | None = None,
    named: list[str] | None = None,
    **checkpoint: Any,
) -> dict[str, dict[str, Any]]:
    story = story or story_of()
    names = [*FILES, f"lora/{NAME}.safetensors"] if named is None else named
    rules = judge_rules(
        story,
        resolved=resolved(story, **checkpoint),
        scenes=drawn() if scenes is None else scenes,
        files=names,
    )
    return {rule["name"]: rule for rule in rules}


def unmet(rules: dict[str, dict[str, Any]]) -> dict[str, bool | None]:
    return {name: rule["met"] for name, rule in rules.items() if not rule["met"]}


def test_an_honest_submission_meets_every_rule() -> None:
    rules = judged()
    assert unmet(rules) == {}
    assert rules["aesthetics"]["found"] == pytest.approx(6.5), "as measured of what was drawn here"
    assert broken_rules(list(rules.values())) == []
    assert not is_exercise(list(rules.values()))


@pytest.mark.parametrize(
    ("scenes", "broken"),
    [
        (drawn(7), {"pictures": False, "complete": False}),
        (drawn(score=5.99), {"aesthetics": False}),
        (drawn(score=None), {"aesthetics": None}),
        (drawn(7) + [drawn(8, score=None)[7]], {"aesthetics": None}),
        (drawn(7) + [drawn(8, verdict="different")[7]], {"pictures": False}),
        (drawn(verdict="different"), {"pictures": False, "aesthetics": None}),
        ([], {"pictures": False, "aesthetics": None, "complete": False}),
    ],
)
def test_pictures_count_as_far_as_they_were_drawn_here(
    scenes: list[dict[str, Any]], broken: dict[str, bool | None]
) -> None:
    assert unmet(judged(scenes=scenes)) == broken


@pytest.mark.parametrize(
    ("names", "met"),
    [
        ([NAME], True),
        (["another-可图Kolors训练-小猫的一天"], False),
        (["墨韵-可图Kolors训练-另一个"], False),
        ([EXERCISE], False),
        ([NAME, EXERCISE], False),
        ([NAME, "pytorch"], False),
        ([], False),
        (["\u202e一金奖"], False),
    ],
)
def test_the_name_is_the_storys(names: list[str], met: bool) -> None:
    rule = judged(named=[*FILES, *(f"lora/{name}.safetensors" for name in names)])["name"]
    assert rule["met"] is met
    assert "\u202e" not in json.dumps(rule["violations"], ensure_ascii=False)
    assert bool(rule["violations"]) is not met


def test_a_story_without_a_team_is_named_by_what_was_packed() -> None:
    """``export --team`` names it: the team then stands in no story."""
    story = story_of(team="")
    assert judged(story, named=[*FILES, "lora/另一队-可图Kolors训练-小猫的一天.safetensors"])["name"]["met"]
    assert judged(story, named=[*FILES, "lora/-可图Kolors训练-小猫的一天.safetensors"])["name"]["met"] is None
    assert judged(story, named=FILES)["name"]["met"] is False


def test_a_run_folder_bears_no_name_of_the_contest() -> None:
    assert judged(named=[*FILES, "records/run.json"])["name"]["met"]
    assert judged(story_of(team=""), named=[*FILES, "records/run.json"])["name"]["met"] is None


@pytest.mark.parametrize("by", ["digest", "files"])
@pytest.mark.parametrize(("name", "is_named"), [(NAME, False), (EXERCISE, True)])
def test_an_exercise_is_one_whatever_it_is_called(by: str, name: str, is_named: bool) -> None:
    digest, files = identify_model(POCKET, parts=PARTS, choose=loaded_files)
    checkpoint = {"digest": digest} if by == "digest" else {"files": files}
    rules = judged(named=[*FILES, f"lora/{name}.safetensors"], **checkpoint)
    assert rules["kolors"]["met"] is False
    assert rules["name"]["met"] is is_named
    assert is_exercise(list(rules.values()))


def test_what_measured_is_named(tmp_path: Path) -> None:
    """A story may bring a predictor of its own, which says what it likes."""
    story = story_of()
    inputs = Inputs(checkpoint="2" * 64, aesthetics=Scorer(digest="3" * 64, folder=tmp_path))
    here = resolved(story)
    files = [*FILES, f"lora/{NAME}.safetensors"]
    for origins, by in (({}, "sha256 333333333333"), ({tmp_path: {"id": "owner/predictor"}}, "owner/predictor")):
        found = replace(here, inputs=inputs, origins=origins)
        rules = judge_rules(story, resolved=found, scenes=drawn(), files=files)
        assert {rule["name"]: rule["by"] for rule in rules if rule["by"]} == {"aesthetics": by}


@pytest.mark.parametrize("change", [{}, {"sample_size": 128}, {"_class_name": "UNet2DConditionModel"}])
def test_pocket_that_was_trained_further_is_no_kolors(tmp_path: Path, change: dict[str, Any]) -> None:
    """Every file has other bytes; the widths are pocket's still."""
    config = json.loads((POCKET / "unet" / "config.json").read_text(encoding="utf-8"))
    write_config(tmp_path, config | change)
    assert judged(folder=tmp_path)["kolors"]["met"] is False
    write_config(tmp_path, KOLORS["unet"])
    assert judged(folder=tmp_path)["kolors"]["met"] is True


def test_a_story_that_calls_its_checkpoint_pocket_gains_and_loses_nothing() -> None:
    """What is loaded here decides."""
    story = story_of(model={"checkpoint": "pocket"})
    assert unmet(judged(story)) == {}


@pytest.mark.parametrize("language", ["zh", "en"])
def test_every_rule_has_its_words(language: Any) -> None:
    rules = [*judged().values()]
    said = rule_words(rules, language)
    assert len(said) == len(rules) == 6
    assert {each["state"] for each in said} == {"met"}
    assert "8" in said[0]["text"]
    assert "6" in said[1]["text"]
    (changed,) = rule_words([replace_met(rules[0])], language)
    assert changed["state"] == "unmeasured"


def replace_met(rule: dict[str, Any]) -> dict[str, Any]:
    return {**rule, "met": None, "needed": None}


def test_what_pocket_drew_is_told_to_be_an_exercise_on_every_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    size = {"width": 64, "height": 64, "steps": 1}
    story = write_story(
        tmp_path,
        POCKET,
        model={"checkpoint": "pocket"},
        filters=[],
        scenes=[{"prompt": "水墨，一只小猫", "seed": 1}],
        render=size,
        lora={"rank": 4, "steps": 1, "resolution": 64},
        report={"compare": False},
    )
    assert left("run", story, "-o", tmp_path / "out") == 0
    capsys.readouterr()
    code = left("verify", tmp_path / "out", "-o", tmp_path / "verified")
    told = capsys.readouterr().out
    facts = json.loads((tmp_path / "verified" / "verify.json").read_text(encoding="utf-8"))
    assert code == 0, told
    assert {rule["name"]: rule["met"] for rule in facts["rules"]}["kolors"] is False
    assert facts["signature"]["state"] == "unsigned"
    assert "not a submission to the contest: an exercise, drawn by pocket; it has 1 pictures" in told
    assert "not signed" in told
    page = (tmp_path / "verified" / "verify.html").read_text(encoding="utf-8")
    assert ("不能作为参赛作品" in page) or ("no submission to the contest" in page)
    assert page.count('<li class="unmet">') >= 2
