"""Steps of a story and their digests: what a change of the story touches, and how it is told."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml
from kolora.errors import UsageError
from kolora.inputs import Inputs, LoraFile, Scorer
from kolora.planning import check_names, cut_after, decide, plan_steps
from kolora.spec import load_story
from kolora.spec.canonical import canonical
from kolora.stages import STAGES
from kolora.stages.contract import step_name

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
BASELINE = {"baseline-01", "baseline-02"}
TRAINS = {"train", "export_lora", *RENDERS}
ENCODES = {"cache_latents", *TRAINS}


def test_every_stage_has_its_steps_each_after_what_it_needs():
    steps = steps_of(lora__prior="{prompt: 一只猫}")
    assert list(dict.fromkeys(step.stage for step in steps)) == list(STAGES)
    for index, step in enumerate(steps):
        assert set(step.needs) <= {earlier.key for earlier in steps[:index]}


@pytest.mark.parametrize(
    ("changes", "steps"),
    [
        ({"title": "x", "team": "x", "name": "y", "report__title": "z", "scenes__1__title": "w"}, set()),
        ({"lora__steps": 6, "render__seed": 0, "grid__gap": 0, "lora__lr_scheduler": "constant"}, set()),
        ({"dataset__min_images": 2}, {"filter", *ENCODES}),
        ({"dataset__count": 6}, {"fetch", "filter", *ENCODES}),
        ({"filters": "[]"}, {"filter", *ENCODES}),
        ({"lora__resolution": 128}, ENCODES),
        ({"lora__seed": 1}, TRAINS),
        ({"lora__crop": "random", "lora__seed": 0}, ENCODES),
        ({"scenes__2__prompt": "x"}, {"encode_prompt-02", "render-02", "baseline-02", "grid", "score"}),
        ({"scenes__2__seed": 9}, {"render-02", "baseline-02", "grid", "score"}),
        ({"lora__preset": "style"}, set()),
        ({"lora__caption_dropout": 0.1, "lora__trigger": "x"}, ENCODES),
        ({"lora__sample_every": 3}, TRAINS),
        ({"render__negative_prompt": "x"}, {"encode_prompt-01", "encode_prompt-02", *BASELINE, *RENDERS}),
        ({"render__lora_scale": 0.5}, RENDERS),
        ({"report__compare": "false"}, {"score"}),
        ({"grid__gap": 4}, {"grid"}),
        ({"scores__threshold": 5}, {"score"}),
        ({"model__dtype": "bfloat16"}, {"encode_prompt-01", "encode_prompt-02", *BASELINE, *ENCODES}),
    ],
)
def test_a_change_touches_just_what_depends_on_it(changes, steps):
    assert touched(steps_of(), steps_of(**changes)) == steps


def test_a_story_with_its_own_lora_plans_no_training():
    given = Inputs(checkpoint="c" * 64, lora=LoraFile(digest="a" * 64, path=Path("a")))
    steps = steps_of(given, render__lora="a", dataset="null")
    assert {step.stage for step in steps} == {"encode_prompt", "export_lora", "render", "baseline", "grid", "score"}
    other = Inputs(checkpoint="c" * 64, lora=LoraFile(digest="b" * 64, path=Path("a")))
    changed = touched(steps, steps_of(other, render__lora="a", dataset="null"))
    assert changed == {"export_lora", *RENDERS}
    assert touched(steps, steps_of(given, render__lora="elsewhere", lora__steps=9)) == set()


def test_outside_things_count_by_content_and_not_by_place(tmp_path):
    scorer = Scorer(digest="a" * 64, folder=tmp_path)
    before = steps_of(Inputs(checkpoint="c" * 64, dataset="d", clip=scorer))
    moved = Inputs(checkpoint="c" * 64, dataset="d", clip=Scorer(digest="a" * 64, folder=tmp_path / "elsewhere"))
    assert touched(before, steps_of(moved)) == set()
    other = Inputs(checkpoint="e" * 64, dataset="d", clip=scorer)
    assert touched(before, steps_of(other)) == {"encode_prompt-01", "encode_prompt-02", *BASELINE, *ENCODES}


@dataclass
class Known:
    """An earlier record, as far as a decision reads it."""

    digest: str
    version: int
    config: dict
    inputs: dict = field(default_factory=dict)


def known(steps):
    digests = {step.name: step.digest for step in steps}
    return {
        step.name: Known(
            step.digest,
            STAGES[step.stage].VERSION,
            canonical(step.config),
            {step_name(*key): digests[step_name(*key)] for key in step.needs},
        )
        for step in steps
    }


def reasons(before, after, **options):
    decided = decide(after, finished_digests={step.digest for step in before}, records=known(before), **options)
    return {each.step.name: each.reason for each in decided if each.runs}


def test_a_reason_names_the_key_and_both_values():
    before = steps_of()
    assert reasons(before, steps_of(lora__rank=16))["train"] == "lora.rank changed: 2 -> 16"
    assert reasons(before, steps_of(lora__rank=16))["render-01"] == "train changed"
    told = reasons(before, steps_of(scenes__1__prompt="p" * 99))["encode_prompt-01"]
    assert told == f"prompt changed: 一只白色小猫坐在窗前 -> {'p' * 40}…"
    filters = reasons(before, steps_of(filters="[{image_shape_filter: {min_width: 32}}]"))["filter"]
    assert filters == "filters.1.image_shape_filter.min_width changed: 64 -> 32"
    changed = reasons(before, steps_of(Inputs(checkpoint="e" * 64, dataset="world 1")))["cache_latents"]
    assert changed == "checkpoint changed"


def test_many_changes_are_counted():
    before = steps_of()
    changes = {"lora__rank": 4, "lora__alpha": 3, "lora__steps": 9, "lora__dropout": 0.5, "lora__weight_decay": 0.5}
    assert reasons(before, steps_of(**changes))["train"] == (
        "lora.alpha changed: 2.0 -> 3.0, lora.dropout changed: 0.0 -> 0.5, lora.rank changed: 2 -> 4 and 2 more"
    )


def test_scenes_without_the_lora_need_no_training_and_are_not_drawn_twice():
    steps = {step.name: step for step in steps_of(scenes__2__lora_scale=0)}
    assert steps["baseline-01"].needs == (("encode_prompt", 1),)
    assert steps["baseline-01"].config == steps["render-01"].config.model_copy(update={"lora_scale": 0.0})
    assert "baseline-02" not in steps
    assert ("baseline", 1) in steps["score"].needs
    assert not [name for name in (step.name for step in steps_of(report__compare="false")) if "baseline" in name]


def test_other_reasons():
    steps = steps_of()
    everything = decide(steps, finished_digests=(), records={})
    assert {each.reason for each in everything} == {"no result from an earlier run"}
    lost = decide(steps, finished_digests={step.digest for step in steps[1:]}, records=known(steps))
    assert [each.reason for each in lost if each.runs] == ["files of its result are missing or damaged"]
    older = known(steps)
    older["fetch"].version, older["fetch"].digest = 0, "old"
    anew = decide(steps[:1], finished_digests=(), records=older)
    assert anew[0].reason == "stage version changed: 0 -> 2"
    forced = decide(steps, finished_digests={step.digest for step in steps}, records=known(steps), forced=["render"])
    assert [each.step.name for each in forced if each.runs] == ["render-01", "render-02"]
    resumed = decide(steps, finished_digests=(), records={}, resumable=["train"])
    assert {each.reason for each in resumed if each.step.name == "train"} == {
        "was interrupted, continues where it was saved"
    }


def test_training_depends_on_the_scenes_it_draws_samples_of_alone():
    settings = {"lora__sample_every": 3, "lora__sample_scenes": 1}
    before = steps_of(**settings)
    assert touched(before, steps_of(**settings, scenes__2__prompt="x")) == {
        "encode_prompt-02",
        "render-02",
        "baseline-02",
        "grid",
        "score",
    }
    assert "train" in touched(before, steps_of(**settings, scenes__1__prompt="x"))
    assert "train" in touched(before, steps_of(**settings, scenes__1__seed=77))


def test_pictures_of_the_class_are_drawn_before_training_and_only_where_asked():
    before = steps_of(lora__prior="{prompt: 一只猫, count: 3}")
    assert {step.name for step in before} - {step.name for step in steps_of()} == {"encode_prior", "prior"}
    drawn = {"prior", *TRAINS}
    for changes, steps in (
        ({"prompt": "一只狗"}, {"encode_prior", *drawn}),
        ({"count": 4}, drawn),
        ({"weight": 0.5}, drawn - {"prior"}),
    ):
        prior = {"prompt": "一只猫", "count": 3} | changes
        assert touched(before, steps_of(lora__prior=yaml.safe_dump(prior, default_flow_style=True).strip())) == steps


def test_results_of_an_older_kolora_have_a_sentence_of_their_own():
    steps = steps_of()
    decided = decide(steps, finished_digests=(), records={}, outdated={"train": "0.1.0"})
    reasons = {each.step.name: each.reason for each in decided}
    assert reasons["train"] == "results of kolora 0.1.0 are not kept by this version"
    assert reasons["fetch"] == "no result from an earlier run"


@pytest.mark.parametrize("name", ["train", "render-02", "baseline-01", "render", "encode_prompt-02"])
def test_every_name_that_a_plan_prints_can_be_forced_and_stopped_after(name):
    steps = steps_of()
    check_names(steps, forced=[name], until=name)
    cut = cut_after(decide(steps, finished_digests=(), records={}), name)
    assert cut[-1].step.name.startswith(name)
    assert len(cut) < len(steps)


@pytest.mark.parametrize("name", ["grid-03", "plain-01", "prior", "render-03", ""])
def test_a_name_that_no_plan_prints_is_refused(name):
    with pytest.raises(UsageError, match="unknown step"):
        check_names(steps_of(), forced=[name])
    with pytest.raises(UsageError, match="unknown step"):
        check_names(steps_of(), until=name)


def test_a_misspelt_step_has_a_near_one():
    with pytest.raises(UsageError) as raised:
        check_names(steps_of(), forced=["encode_promt-01"])
    assert raised.value.hint == "did you mean encode_prompt-01?"


def test_a_step_that_nothing_is_near_to_has_the_stages_for_a_hint():
    with pytest.raises(UsageError) as raised:
        check_names(steps_of(), until="plain-01")
    assert raised.value.hint.startswith("steps of this story: fetch, filter, encode_prompt, ")
    assert raised.value.hint.endswith("; one scene's are named as encode_prompt-01")
