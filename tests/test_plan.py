"""Steps of a story and their digests: what a change of the story touches, and how it is told."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml
from kolora.inputs import Inputs, LoraFile, Scorer
from kolora.plan import STAGES, decide, plan_steps
from kolora.spec import load_story

from tests.stories import STORY

INPUTS = Inputs(checkpoint="c" * 64, dataset="world 1")


def steps_of(inputs=INPUTS, **changes):
    """Plan the tiny story with overrides: ``lora__rank=4`` is ``--set lora.rank=4``."""
    overrides = [f"{key.replace('__', '.')}={value}" for key, value in changes.items()]
    return plan_steps(load_story(yaml.safe_dump(STORY, allow_unicode=True), overrides=overrides), inputs)


def touched(before, after):
    """Name the steps whose digests differ."""
    digests = {step.name: step.digest for step in before}
    return {step.name for step in after if digests.get(step.name) != step.digest}


RENDERS = {"render-01", "render-02", "grid", "score"}
PLAIN = {"plain-01", "plain-02"}
TRAINS = {"train", "convert", *RENDERS}
ENCODES = {"encode", *TRAINS}


def test_every_stage_has_its_steps_each_after_what_it_needs():
    steps = steps_of(lora__prior="{prompt: 一只猫}")
    assert list(dict.fromkeys(step.stage for step in steps)) == list(STAGES)
    for index, step in enumerate(steps):
        assert set(step.inputs) <= {earlier.name for earlier in steps[:index]}


@pytest.mark.parametrize(
    ("changes", "steps"),
    [
        ({"title": "x"}, {"convert"}),
        ({"team": "x"}, {"convert"}),
        ({"name": "y", "report__title": "z", "scenes__1__title": "w"}, set()),
        ({"dataset__min_images": 2}, {"filter", *ENCODES}),
        ({"dataset__count": 6}, {"fetch", "filter", *ENCODES}),
        ({"filters": "[]"}, {"filter", *ENCODES}),
        ({"lora__resolution": 128}, ENCODES),
        ({"lora__seed": 1}, TRAINS),
        ({"lora__crop": "random", "lora__seed": 0}, ENCODES),
        ({"scenes__2__prompt": "x"}, {"condition-02", "render-02", "plain-02", "grid", "score"}),
        ({"scenes__2__seed": 9}, {"render-02", "plain-02", "grid", "score"}),
        ({"lora__preset": "style"}, set()),
        ({"lora__caption_dropout": 0.1, "lora__trigger": "x"}, ENCODES),
        ({"lora__sample_every": 3}, TRAINS),
        ({"render__negative_prompt": "x"}, {"condition-01", "condition-02", *PLAIN, *RENDERS}),
        ({"render__lora_scale": 0.5}, RENDERS),
        ({"report__compare": "false"}, {"score"}),
        ({"grid__gap": 4}, {"grid"}),
        ({"scores__threshold": 5}, {"score"}),
        ({"model__dtype": "bfloat16"}, {"condition-01", "condition-02", *PLAIN, *ENCODES}),
    ],
)
def test_a_change_touches_just_what_depends_on_it(changes, steps):
    assert touched(steps_of(), steps_of(**changes)) == steps


def test_a_story_with_its_own_lora_plans_no_training():
    given = Inputs(checkpoint="c" * 64, lora=LoraFile(digest="a" * 64, path=Path("a")))
    steps = steps_of(given, render__lora="a", dataset="null")
    assert {step.stage for step in steps} == {"condition", "convert", "render", "grid", "score"}
    other = Inputs(checkpoint="c" * 64, lora=LoraFile(digest="b" * 64, path=Path("a")))
    changed = touched(steps, steps_of(other, render__lora="a", dataset="null"))
    assert changed == {"convert", *RENDERS}
    assert touched(steps, steps_of(given, render__lora="elsewhere", lora__steps=9)) == set()


def test_outside_things_count_by_content_and_not_by_place(tmp_path):
    scorer = Scorer(digest="a" * 64, folder=tmp_path)
    before = steps_of(Inputs(checkpoint="c" * 64, dataset="d", clip=scorer))
    moved = Inputs(checkpoint="c" * 64, dataset="d", clip=Scorer(digest="a" * 64, folder=tmp_path / "elsewhere"))
    assert touched(before, steps_of(moved)) == set()
    other = Inputs(checkpoint="e" * 64, dataset="d", clip=scorer)
    assert touched(before, steps_of(other)) == {"condition-01", "condition-02", *PLAIN, *ENCODES}


@dataclass
class Known:
    """An earlier record, as far as a decision reads it."""

    digest: str
    version: int
    part: dict
    inputs: dict = field(default_factory=dict)


def known(steps):
    digests = {step.name: step.digest for step in steps}
    return {
        step.name: Known(
            step.digest, step.version, step.part.model_dump(mode="json"), {name: digests[name] for name in step.inputs}
        )
        for step in steps
    }


def reasons(before, after, **options):
    decided = decide(after, finished={step.digest for step in before}, known=known(before), **options)
    return {each.step.name: each.reason for each in decided if each.runs}


def test_a_reason_names_the_key_and_both_values():
    before = steps_of()
    assert reasons(before, steps_of(lora__rank=16))["train"] == "lora.rank changed from 2 to 16"
    assert reasons(before, steps_of(lora__rank=16))["render-01"] == "train changed"
    told = reasons(before, steps_of(scenes__1__prompt="p" * 99))["condition-01"]
    assert told == f"prompt changed from 一只白色小猫坐在窗前 to {'p' * 40}…"
    filters = reasons(before, steps_of(filters="[{image_shape_filter: {min_width: 32}}]"))["filter"]
    assert filters == "filters[0].image_shape_filter.min_width changed from 64 to 32"
    changed = reasons(before, steps_of(Inputs(checkpoint="e" * 64, dataset="world 1")))["encode"]
    assert changed == "checkpoint changed"


def test_many_changes_are_counted():
    before = steps_of()
    changes = {"lora__rank": 4, "lora__alpha": 3, "lora__steps": 9, "lora__dropout": 0.5, "lora__weight_decay": 0.5}
    assert reasons(before, steps_of(**changes))["train"] == (
        "lora.alpha changed from 2.0 to 3.0, lora.dropout changed from 0.0 to 0.5, lora.rank changed from 2 to 4 "
        "and 2 more"
    )


def test_scenes_without_the_lora_need_no_training_and_are_not_drawn_twice():
    steps = {step.name: step for step in steps_of(scenes__2__lora_scale=0)}
    assert steps["plain-01"].inputs == ("condition-01",)
    assert steps["plain-01"].part.model_dump() == steps["render-01"].part.model_dump() | {"lora_scale": 0.0}
    assert "plain-02" not in steps
    assert "plain-01" in steps["score"].inputs
    assert not [name for name in (step.name for step in steps_of(report__compare="false")) if "plain" in name]


def test_other_reasons():
    steps = steps_of()
    everything = decide(steps, finished=(), known={})
    assert {each.reason for each in everything} == {"not done yet"}
    lost = decide(steps, finished={step.digest for step in steps[1:]}, known=known(steps))
    assert [each.reason for each in lost if each.runs] == ["its files are gone or damaged"]
    older = known(steps)
    older["fetch"].version, older["fetch"].digest = 0, "old"
    anew = decide(steps[:1], finished=(), known=older)
    assert anew[0].reason == "this kolora does the fetch stage anew (version 0 is now 2)"
    forced = decide(steps, finished={step.digest for step in steps}, known=known(steps), forced=["render"])
    assert [each.step.name for each in forced if each.runs] == ["render-01", "render-02", "plain-01", "plain-02"]
    resumed = decide(steps, finished=(), known={}, resumable=["train"])
    assert {each.reason for each in resumed if each.step.name == "train"} == {
        "was interrupted, goes on where it was saved"
    }


def test_training_depends_on_the_scenes_it_draws_samples_of_alone():
    settings = {"lora__sample_every": 3, "lora__sample_scenes": 1}
    before = steps_of(**settings)
    assert touched(before, steps_of(**settings, scenes__2__prompt="x")) == {
        "condition-02",
        "render-02",
        "plain-02",
        "grid",
        "score",
    }
    assert "train" in touched(before, steps_of(**settings, scenes__1__prompt="x"))
    assert "train" in touched(before, steps_of(**settings, scenes__1__seed=77))


def test_pictures_of_the_class_are_drawn_before_training_and_only_where_asked():
    before = steps_of(lora__prior="{prompt: 一只猫, count: 3}")
    assert {step.name for step in before} - {step.name for step in steps_of()} == {"condition-prior", "prior"}
    drawn = {"prior", *TRAINS}
    for changes, steps in (
        ({"prompt": "一只狗"}, {"condition-prior", *drawn}),
        ({"count": 4}, drawn),
        ({"weight": 0.5}, drawn - {"prior"}),
    ):
        prior = {"prompt": "一只猫", "count": 3} | changes
        assert touched(before, steps_of(lora__prior=yaml.safe_dump(prior, default_flow_style=True).strip())) == steps
