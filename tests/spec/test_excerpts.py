"""A problem shows its line and a caret below the place, on any terminal and of any line."""

from __future__ import annotations

import pytest
from kolora.spec import StoryProblems, load_story


def shown(text: str) -> list[str]:
    """Return the message of a bad story, line by line."""
    with pytest.raises(StoryProblems) as raised:
        load_story(text)
    return raised.value.error.split("\n")


def test_a_problem_shows_its_line_and_points_at_the_place():
    first, line, caret = shown("dataset: {source: pocket}\nlora: {rank: none}\nscenes: [{prompt: a}]\n")
    assert first.startswith('story: line 2, column 14: lora.rank: given the text "none"')
    assert line == "    2 | lora: {rank: none}"
    assert caret == "      |              ^"
    assert line[caret.index("^")] == "n"


def test_every_problem_has_its_own_line():
    told = shown("dataset: {source: pocket}\nlora: {rank: none, alpha: no}\nscenes: [{prompt: a}]\n")
    assert told[0] == "story has 2 problems:"
    assert [line for line in told if line.startswith("    2 | ")] == ["    2 | lora: {rank: none, alpha: no}"] * 2
    assert [line.index("^") for line in told if line.endswith("^")] == [21, 34]


def test_chinese_letters_take_two_columns():
    _, line, caret = shown("dataset: {source: pocket}\nscenes: [{title: 渡灯, prompt: 5}]\n")
    assert line == "    2 | scenes: [{title: 渡灯, prompt: 5}]"
    assert caret.index("^") == line.index("5") + 2


def test_of_a_long_line_the_part_around_the_place_is_shown():
    text = "dataset: {source: pocket}\nscenes: [{prompt: " + "长" * 500 + ", seed: none, title: " + "题" * 100 + "}]\n"
    _, line, caret = shown(text)
    assert line.startswith("    2 | …长")
    assert line.endswith("题…")
    assert "seed: none" in line
    assert len(line) < 90
    assert caret.endswith("^")


def test_control_characters_of_a_line_do_not_act():
    _, line, _ = shown('dataset: {source: pocket}\nscenes: [{prompt: "\u202egnirts", seed: none}]\n')
    assert "\u202e" not in line
    assert "\\u202e" in line


def test_what_is_in_no_line_shows_none():
    assert shown("") == ["story: given an empty file, expected a story with at least dataset and scenes"]
    with pytest.raises(StoryProblems) as raised:
        load_story("dataset: {source: pocket}\nscenes: [{prompt: a}]\n", overrides=["lora.rank=none"])
    assert "\n" not in raised.value.error


def test_yaml_that_cannot_be_read_shows_where():
    told = shown("dataset: {source: pocket\nscenes: [}\n")
    assert told[-1].endswith("^")
    assert told[-2].startswith("    2 | scenes: [}")
