"""A table of bad specs: each message names line, key, what was given and what was expected."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from kolora.errors import SchemaTooNew, StoryInvalid
from kolora.spec import Problem, StoryProblems, load_story

SOUND = "dataset: {source: pocket}\nscenes:\n  - prompt: a cat\n"
"""Three sound lines; what is wrong begins in line 4."""


class Bad(NamedTuple):
    """One wrong thing, and what must be said about it."""

    text: str
    line: int
    path: str
    given: str
    expected: str
    nearest: str | None = None


TABLE = [
    Bad(SOUND + "langauge: en", 4, "langauge", 'unknown key "langauge"', "kolora, name, title, language", "language"),
    Bad(SOUND + "lora:\n  stepps: 5", 5, "lora.stepps", 'unknown key "stepps"', "rank, alpha, steps", "lora.steps"),
    Bad(SOUND + "lora:\n  lora-rank: 5", 5, "lora.lora-rank", 'unknown key "lora-rank"', "rank", "lora.rank"),
    Bad(SOUND + "lora：{rank: 16}", 4, "lora：{rank", 'the key "lora：{rank"', "an ASCII colon and a space"),
    Bad(SOUND + "lora: {rank: 4， alpha: 4}", 4, "", "a full-width comma", "an ASCII comma and a space"),
    Bad(SOUND + "lora:\n  rank: 4\n   alpha: 4", 6, "", "a key set in otherwise", "in the same column"),
    Bad(SOUND + "   seed: 4", 4, "", "a key set in otherwise", "in the same column"),
    Bad(SOUND + "     seed: 4", 4, "", "a key set in otherwise", "in the same column"),
    Bad(SOUND + "lora: {steps: 5e2}", 4, "lora.steps", "the number 500", "100,000: write 500"),
    Bad(SOUND + "kolora: '1'", 4, "kolora", 'the text "1"', "1"),
    Bad(SOUND + "kolora: 0", 4, "kolora", "the number 0", "1"),
    Bad(SOUND + "title: 2024", 4, "title", "the number 2024", "text of at most 200 characters, in quotes"),
    Bad(SOUND + "title: true", 4, "title", "true", "text of at most 200 characters, in quotes"),
    Bad(SOUND + "title: [a]", 4, "title", "a list of 1", "text of at most 200 characters"),
    Bad(SOUND + "name: a/b", 4, "name", 'the text "a/b"', "fit for a file name"),
    Bad(SOUND + "name: ..", 4, "name", 'the text ".."', "not starting with - or ."),
    Bad(SOUND + "language: no", 4, "language", 'the text "no"', "zh or en"),
    Bad(SOUND + "language: fr", 4, "language", 'the text "fr"', "zh or en"),
    Bad(SOUND + "model: {checkpoint: ''}", 4, "model.checkpoint", "empty text", "text of 1 to 4,096 characters"),
    Bad(SOUND + "model: {dtype: fp16}", 4, "model.dtype", 'the text "fp16"', "auto, float32, float16 or bfloat16"),
    Bad(SOUND + "model: pocket", 4, "model", 'the text "pocket"', "a mapping with checkpoint, dtype or memory"),
    Bad(SOUND + "lora: {rank: 0}", 4, "lora.rank", "the number 0", "a whole number from 1 to 256"),
    Bad(SOUND + "lora: {rank: 8.5}", 4, "lora.rank", "the number 8.5", "a whole number from 1 to 256"),
    Bad(SOUND + "lora: {steps: '50'}", 4, "lora.steps", 'the text "50"', "a whole number from 1 to 100,000: write 50"),
    Bad(SOUND + "lora: {learning_rate: '3e-3'}", 4, "lora.learning_rate", 'the text "3e-3"', "to 1: write 0.003"),
    Bad(SOUND + "lora: {learning_rate: '1e-07'}", 4, "lora.learning_rate", 'the text "1e-07"', "write 0.0000001"),
    Bad(SOUND + "lora: {steps: yes}", 4, "lora.steps", 'the text "yes"', "a whole number from 1 to 100,000"),
    Bad(SOUND + "lora:\n  steps:", 5, "lora.steps", "nothing", "a whole number from 1 to 100,000"),
    Bad(SOUND + "lora: {alpha: .nan}", 4, "lora.alpha", "the number nan", "finite"),
    Bad(SOUND + "lora: {alpha: .inf}", 4, "lora.alpha", "the number inf", "finite"),
    Bad(SOUND + "lora: {alpha: 1e999}", 4, "lora.alpha", "the number inf", "finite"),
    Bad(SOUND + "lora: {learning_rate: 0}", 4, "lora.learning_rate", "the number 0", "a number above 0 to 1"),
    Bad(SOUND + "lora: {learning_rate: 1e-4x}", 4, "lora.learning_rate", 'the text "1e-4x"', "a number above 0 to 1"),
    Bad(SOUND + "lora: {resolution: 1000}", 4, "lora.resolution", "the number 1000", "a multiple of 64"),
    Bad(SOUND + "lora: {flip: 'yes'}", 4, "lora.flip", 'the text "yes"', "true or false"),
    Bad(SOUND + "lora: {dropout: 1}", 4, "lora.dropout", "the number 1", "a number from 0 to below 1"),
    Bad(SOUND + "lora: {target_modules: [to_q, to_x]}", 4, "lora.target_modules[2]", '"to_x"', "to_q, to_k, to_v or"),
    Bad(SOUND + "lora: {target_modules: [to_q, to_q]}", 4, "lora.target_modules", "to_q more than once", "once"),
    Bad(SOUND + "lora: {steps: 50, warmup_steps: 50}", 4, "lora.warmup_steps", "50", "fewer than steps, which is 50"),
    Bad(SOUND + "lora: {preset: thing}", 4, "lora.preset", 'the text "thing"', "style or entity"),
    Bad(SOUND + "lora: {template: 'a {word}'}", 4, "lora.template", '"a {word}"', "{caption}, or a trigger"),
    Bad(SOUND + "lora: {template: '{trigger}'}", 4, "lora.template", '"{trigger}"', "{caption}, or a trigger"),
    Bad(SOUND + "lora: {trigger: x, template: '{caption}'}", 4, "lora.template", '"{caption}"', "{trigger}, and"),
    Bad(SOUND + "lora: {prior: {prompt: a, count: 0}}", 4, "lora.prior.count", "the number 0", "from 1 to 1,000"),
    Bad(SOUND + "lora: {prior: {count: 1}}", 4, "lora.prior.prompt", "nothing", "text of 1 to 10,000"),
    Bad(SOUND + "lora: {prior: a dog}", 4, "lora.prior", 'the text "a dog"', "a mapping with prompt"),
    Bad(SOUND + "lora: {prior: {prompt: a, size: 1}}", 4, "lora.prior.size", "unknown key", "prompt, count or"),
    Bad(SOUND + "lora: {target_modules: []}", 4, "lora.target_modules", "a list of 0", "a list of 1 to 4"),
    Bad(SOUND + "render: {width: 100}", 4, "render.width", "the number 100", "from 64 to 4,096, a multiple of 64"),
    Bad(SOUND + "render: {lora_scale: 3}", 4, "render.lora_scale", "the number 3", "a number from 0 to 2"),
    Bad(SOUND + "render: {seed: -1}", 4, "render.seed", "the number -1", "a whole number from 0 to"),
    Bad(SOUND + "render: {scheduler: slow}", 4, "render.scheduler", 'the text "slow"', "ddim"),
    Bad(SOUND + "  - prompt: ''", 4, "scenes[2].prompt", "empty text", "text of 1 to 10,000 characters"),
    Bad(SOUND + "  - prompt: '  '", 4, "scenes[2].prompt", "blank text", "text that says something"),
    Bad(SOUND + "  - title: x", 4, "scenes[2].prompt", "nothing", "text of 1 to 10,000 characters"),
    Bad(SOUND + "  - prompt：猫", 4, "scenes[2]", 'the text "prompt：猫"', "not with a full-width colon"),
    Bad(SOUND + f"  - prompt: {'x' * 10_001}", 4, "scenes[2].prompt", "(10,001 characters)", "of 1 to 10,000"),
    Bad(SOUND + '  - prompt: "a\\0b"', 4, "scenes[2].prompt", "control character U+0000", "printable text"),
    Bad(SOUND + '  - prompt: "a\\ud800b"', 4, "scenes[2].prompt", r'"a\ud800b"', "printable text"),
    Bad(SOUND + "  - prompt: a\n    sede: 3", 5, "scenes[2].sede", 'unknown key "sede"', "seed", "scenes[2].seed"),
    Bad(SOUND + "grid: {background: #fff\n}", 4, "grid.background", "nothing", 'a colour like "#ffffff", in quotes'),
    Bad(SOUND + "scores: {threshold: 11}", 4, "scores.threshold", "the number 11", "a number from 1 to 10"),
    Bad(SOUND + "report: {language: de}", 4, "report.language", 'the text "de"', "zh or en"),
    Bad("dataset: {source: pockets}\nscenes: [{prompt: a}]", 1, "dataset.source", '"pockets"', "pocket", "pocket"),
    Bad("dataset: {count: 3}\nscenes: [{prompt: a}]", 1, "dataset.source", "nothing", "folder, huggingface"),
    Bad("dataset:\n  source: folder\nscenes: [{prompt: a}]", 2, "dataset.path", "nothing", "text of 1 to 4,096"),
    Bad("dataset: {source: folder, path: ''}\nscenes: [{prompt: a}]", 1, "dataset.path", "empty text", "text of 1"),
    Bad("dataset: {source: folder, path: x, count: 3}\nscenes: [{prompt: a}]", 1, "dataset.count", '"count"', "path"),
    Bad(
        "dataset: {source: modelscope, id: nobody}\nscenes: [{prompt: a}]",
        1,
        "dataset.id",
        'the text "nobody"',
        "owner/name, as the hub spells it",
    ),
    Bad(
        "dataset:\n  source: pocket\n  count: 3\n  min_images: 5\nscenes: [{prompt: a}]",
        4,
        "dataset.min_images",
        "5",
        "no more than count, which is 3",
    ),
    Bad("dataset: {source: pocket}\nscenes: []", 2, "scenes", "a list of 0", "a list of 1 to 64"),
    Bad("dataset: {source: pocket}\nscenes: 3", 2, "scenes", "the number 3", "a list of 1 to 64"),
    Bad("dataset: {source: pocket}", 1, "scenes", "nothing", "a list of 1 to 64"),
    Bad("scenes: [{prompt: a}]", 1, "dataset", "nothing", "a mapping with source: folder, huggingface, modelscope"),
    Bad(SOUND + "filters: [image_shap_filter]", 4, "filters[1]", '"image_shap_filter"', "", "image_shape_filter"),
    Bad(
        SOUND + "filters:\n  - image_shape_filter:\n      min_widht: 3",
        6,
        "filters[1].image_shape_filter.min_widht",
        'unknown key "min_widht"',
        "min_width, max_width",
        "filters[1].image_shape_filter.min_width",
    ),
    Bad(
        SOUND + "filters:\n  - image_shape_filter:\n    min_width: 3",
        5,
        "filters[1]",
        "2 keys: image_shape_filter and min_width",
        "indented further",
    ),
    Bad(
        SOUND + "filters:\n  - image_shape_filter: {min_width: wide}",
        5,
        "filters[1].image_shape_filter.min_width",
        'the text "wide"',
        "a whole number of at least 0",
    ),
    Bad(
        SOUND + "filters:\n  - image_aspect_ratio_filter:\n      min_ratio: 2\n      max_ratio: 0.5",
        6,
        "filters[1].image_aspect_ratio_filter.min_ratio",
        "min_ratio the number 2 above max_ratio the number 0.5",
        "min_ratio of at most max_ratio",
    ),
    Bad(
        SOUND + "filters:\n  - image_size_filter: {max_size: 1.5 MB}",
        5,
        "filters[1].image_size_filter.max_size",
        'the text "1.5 MB"',
        'a number of bytes such as "20 KB"',
    ),
    Bad(SOUND + "filters: [python_lambda_mapper]", 4, "filters[1]", "python_lambda_mapper", "runs code from the story"),
    Bad(SOUND + "lora: {rank: 4}\nlora: {rank: 8}", 5, "lora", "lora again, after line 4", "each key once"),
    Bad(SOUND + "lora: {rank: 4, rank: 8}", 4, "lora.rank", "rank again, after line 4", "each key once"),
    Bad(SOUND + "title: !!python/object/apply:os.system [x]", 4, "title", "!!python/object/apply", "without a tag"),
    Bad(SOUND + "title: !!binary aGk=", 4, "title", "the YAML tag !!binary", "a plain value without a tag"),
    Bad(SOUND + "lora: {rank: !!int x}", 4, "lora.rank", "the YAML tag !!int", "a plain value without a tag"),
    Bad(SOUND + f"render: {{seed: {'9' * 5000}}}", 4, "render.seed", "a number of 5,000 digits", "a shorter number"),
    Bad(SOUND + "1: 2", 4, "", "the key 1", "keys of text"),
    Bad("- a\n- b", 1, "", "a list of 2", "a mapping with scenes"),
]


def problems(text: str) -> tuple[Problem, ...]:
    """Return what is wrong with ``text``."""
    with pytest.raises(StoryProblems) as caught:
        load_story(text, name="bad.yaml")
    return caught.value.problems


@pytest.mark.parametrize("bad", TABLE, ids=[f"{number:02}-{bad.path}" for number, bad in enumerate(TABLE, start=1)])
def test_the_message_says_where_what_and_what_instead(bad: Bad) -> None:
    (problem,) = problems(bad.text)
    assert (problem.line, problem.path, problem.nearest) == (bad.line, bad.path, bad.nearest)
    assert bad.given in problem.given
    assert bad.expected in problem.expected
    said = str(problem)
    assert f"line {bad.line}, column {problem.column}" in said
    assert all(part in said for part in (bad.path, problem.given, problem.expected, bad.nearest or ""))


def test_the_table_is_long_enough() -> None:
    assert len(TABLE) >= 30


def test_columns_point_at_the_key_or_the_value() -> None:
    (key,) = problems(SOUND + "lora: {rank: 4, stepps: 8}")
    (value,) = problems(SOUND + "lora: {rank: 4, steps: 0}")
    assert key.column == 17
    assert value.column == 24


def test_all_problems_are_told_at_once_in_the_order_of_the_file() -> None:
    text = "langauge: en\nlora: {rank: 0, rank: 3}\nfilters: [llm_x_filter]\nscenes: [{promt: a}]\n"
    found = problems(text)
    assert [problem.path for problem in found] == [
        "dataset",
        "langauge",
        "lora.rank",
        "filters[1]",
        "scenes[1].prompt",
        "scenes[1].promt",
    ]
    with pytest.raises(StoryInvalid) as caught:
        load_story(text, name="bad.yaml")
    assert caught.value.code == 65
    assert caught.value.error.splitlines()[0] == f"bad.yaml has {len(found)} problems:"
    told = [line for line in caught.value.error.splitlines()[1:] if " | " not in line]
    assert len(told) == len(found)


def test_the_hint_names_the_first_thing_to_change() -> None:
    with pytest.raises(StoryProblems) as caught:
        load_story(SOUND + "lora:\n  stepps: 5\n  rank: 0\n")
    assert caught.value.hint == "in line 5, column 3 write lora.steps"
    with pytest.raises(StoryProblems) as caught:
        load_story(SOUND + "lora: {rank: 0}\n")
    assert caught.value.hint == "in line 4, column 14 give lora.rank a whole number from 1 to 256"


def test_a_problem_alone_needs_no_count() -> None:
    with pytest.raises(StoryProblems) as caught:
        load_story(SOUND + "lora: {rank: 0}\n", name="my.yaml")
    expected = "my.yaml: line 4, column 14: lora.rank: given the number 0, expected a whole number from 1 to 256"
    assert caught.value.error.splitlines()[0] == expected


def test_a_thousand_problems_are_counted_not_all_told() -> None:
    with pytest.raises(StoryProblems) as caught:
        load_story(SOUND + "".join(f"key{number}: 1\n" for number in range(1000)))
    lines = caught.value.error.splitlines()
    assert len(caught.value.problems) == 1000
    assert len([line for line in lines if " | " not in line]) == 42
    assert lines[-1] == "  and 960 more"


@pytest.mark.parametrize("version", ["2", "99"])
def test_a_later_schema_is_told_apart_from_a_bad_story(version: str) -> None:
    with pytest.raises(SchemaTooNew, match=f"kolora: {version}") as caught:
        load_story(f"kolora: {version}\nbrand_new_section: 3\n")
    assert caught.value.code == 78
    assert "newer kolora" in caught.value.hint


def test_control_characters_of_strangers_do_not_reach_the_terminal() -> None:
    with pytest.raises(StoryProblems) as caught:
        load_story(SOUND + '"\\e[31mred\\u202e": 1\ntitle: ["\\e"]\nname: "\\ea"\nfilters: ["\\e[2J"]\n')
    assert not any(letter < " " and letter != "\n" for letter in caught.value.error)
    assert "\u202e" not in caught.value.error
    caught.value.error.encode()
