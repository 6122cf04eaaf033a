"""Old names are read for ever, with their places in messages; a default that changed is what it was."""

from __future__ import annotations

import pytest
from kolora.spec import StoryProblems, load_story
from kolora.spec import migrate as module
from kolora.spec.migrate import migrate_dump

STORY = """dataset: {source: pocket}
lora:
  schedule: %s
  steps: 20
scenes: [{prompt: a cat}]
"""


def test_an_old_name_means_what_it_meant():
    assert load_story(STORY % "cosine").lora.lr_scheduler == "cosine"
    assert load_story(STORY % "cosine", overrides=["lora.lr_scheduler=linear"]).lora.lr_scheduler == "linear"
    assert load_story(STORY % "cosine", overrides=["lora.schedule=linear"]).lora.lr_scheduler == "linear"


def test_a_bad_value_below_an_old_name_is_told_with_its_place():
    with pytest.raises(StoryProblems) as raised:
        load_story(STORY % "cosmic")
    (problem,) = raised.value.problems
    assert (problem.path, problem.line, problem.column) == ("lora.lr_scheduler", 3, 13)


def test_both_names_at_once_are_a_problem_at_the_old_one():
    with pytest.raises(StoryProblems) as raised:
        load_story(STORY % "cosine\n  lr_scheduler: linear")
    problems = [problem for problem in raised.value.problems if "lora.schedule" in str(problem)]
    assert problems
    assert problems[0].line == 3


def test_a_dump_of_an_older_version_is_read_by_the_defaults_of_its_time(monkeypatch: pytest.MonkeyPatch):
    dump = {"lora": {"schedule": "linear", "steps": 5}, "render": {}}
    assert migrate_dump(dump, version="0.1.0") == {"lora": {"lr_scheduler": "linear", "steps": 5}, "render": {}}
    monkeypatch.setattr(module, "FORMER_DEFAULTS", {"0.2.9": {("render", "sampler"): "ddim"}})
    assert migrate_dump(dump, version="0.2.0")["render"] == {"sampler": "ddim"}
    assert migrate_dump({"render": {"sampler": "euler"}}, version="0.2.0")["render"] == {"sampler": "euler"}
    assert migrate_dump(dump, version="0.3.0")["render"] == {}
