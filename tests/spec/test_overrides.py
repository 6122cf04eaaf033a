"""The --set arguments: the same checks as the file, and problems that name the argument."""

from __future__ import annotations

import pytest
from kolora.errors import SchemaTooNew
from kolora.spec import Problem, Story, StoryProblems, load_story

TEXT = "dataset: {source: pocket}\nlora:\n  rank: 4\nscenes:\n  - prompt: a\n  - {prompt: b, seed: 2}\n"


def story(*overrides: str) -> Story:
    """Return the story with ``overrides``."""
    return load_story(TEXT, overrides=overrides)


def refused(*overrides: str) -> Problem:
    """Return the one thing that is wrong with ``overrides``."""
    with pytest.raises(StoryProblems) as caught:
        story(*overrides)
    (problem,) = caught.value.problems
    return problem


def test_values_are_written_over_the_file() -> None:
    changed = story("lora.rank=8", "lora.steps=50", "render.width=256", "title=a title", "language=en")
    assert (changed.lora.rank, changed.lora.steps, changed.render.width) == (8, 50, 256)
    assert (changed.title, changed.language) == ("a title", "en")


@pytest.mark.parametrize("argument", ["scenes[2].seed=7", "scenes.2.seed=7", " scenes[2].seed = 7"])
def test_scenes_are_counted_from_one(argument: str) -> None:
    assert [scene.seed for scene in story(argument).scenes] == [None, 7]


def test_values_are_yaml() -> None:
    changed = story("lora.learning_rate=1e-3", "scenes[1]={prompt: c, steps: 3}", "lora.target_modules=[to_q]")
    assert changed.lora.learning_rate == 1e-3
    assert (changed.scenes[0].prompt, changed.scenes[0].steps) == ("c", 3)
    assert changed.lora.target_modules == ("to_q",)
    assert story("title=a=b").title == "a=b"


def test_an_empty_value_is_empty_text() -> None:
    assert story("render.negative_prompt=").render.negative_prompt == ""


def test_the_last_of_two_wins() -> None:
    assert story("lora.rank=8", "lora.rank=16").lora.rank == 16


def test_an_override_may_mend_the_file() -> None:
    broken = TEXT.replace("rank: 4", "rank: 0")
    assert load_story(broken, overrides=["lora.rank=2"]).lora.rank == 2


def test_a_filter_can_be_reached() -> None:
    text = TEXT + "filters:\n  - image_shape_filter: {min_width: 64}\n"
    changed = load_story(text, overrides=["filters[1].image_shape_filter.min_width=128"])
    assert changed.filters[0].thresholds["min_width"] == 128


@pytest.mark.parametrize(
    ("argument", "path", "given", "expected"),
    [
        ("lora.rank=0", "lora.rank", "the number 0", "a whole number from 1 to 256"),
        ("rendr.steps=3", "rendr", 'unknown key "rendr"', "render"),
        ("lora.rank=", "lora.rank", "empty text", "a whole number from 1 to 256"),
        ("scenes[2].seed=x", "scenes[2].seed", 'the text "x"', "a whole number from 0"),
        ("scenes[3].seed=1", "scenes", "item 3", "one of the 2 items of scenes, counted from 1"),
        ("scenes[0].seed=1", "", "item 0", "items counted from 1"),
        ("scenes.seed=1", "scenes", "seed in a list of 2", "a key of a mapping"),
        ("lora[1]=1", "lora", "item 1 of a mapping", "an item of a list"),
        ("lora.rank.x=1", "lora.rank", "x in the number 4", "a key of a mapping"),
        ("lora.rank", "", 'the text "lora.rank"', "path=value"),
        ("=3", "", 'the path ""', "a path such as lora.steps"),
        ("lora..rank=3", "", 'the path "lora..rank"', "a path such as lora.steps"),
        ("[1].x=3", "", 'the path "[1].x"', "a path such as lora.steps"),
        ("lora.rank=[1", "lora.rank", "broken YAML", "YAML"),
        ("title=!!python/name:os.system x", "title", "the YAML tag !!python", "a plain value without a tag"),
        ("dataset.source=nowhere", "dataset.source", 'the text "nowhere"', "folder, huggingface"),
    ],
)
def test_problems_name_the_argument(argument: str, path: str, given: str, expected: str) -> None:
    problem = refused(argument)
    assert (problem.argument, problem.path, problem.line) == (argument, path, None)
    assert given in problem.given
    assert expected in problem.expected
    assert str(problem).startswith(f"--set {argument}: ")
    assert f"in --set {argument} " in problem.remedy


def test_a_misspelt_path_gets_the_nearest_right_one() -> None:
    problem = refused("lora.stepps=50")
    assert problem.nearest == "lora.steps"
    assert "did you mean lora.steps?" in str(problem)


def test_problems_of_the_file_and_of_arguments_come_together() -> None:
    with pytest.raises(StoryProblems) as caught:
        load_story(TEXT + "titel: x\n", overrides=["lora.rank=0", "scenes[9].seed=1"])
    assert [problem.argument for problem in caught.value.problems] == [None, "scenes[9].seed=1", "lora.rank=0"]


def test_a_later_schema_is_refused_here_too() -> None:
    with pytest.raises(SchemaTooNew):
        story("kolora=2")
