"""The story in full: every key told apart from its default."""

from __future__ import annotations

from kolora.report.settings import read_settings
from kolora.spec import load_story
from kolora.spec.story import Story

LEAST = "dataset: {source: pocket}\nscenes: [{prompt: a}]"


def told(text: str) -> tuple[dict[str, object], set[str]]:
    """Return all keys with their values, and those that are not as by default."""
    settings = read_settings(load_story(text.encode(), name="story").model_dump(mode="json"))
    return {each.key: each.value for each in settings}, {each.key for each in settings if not each.is_default}


def test_the_least_story_differs_only_in_what_it_must_say() -> None:
    values, others = told(LEAST)
    assert others == {"dataset.source", "scenes.1.prompt"}
    assert values["lora.target_modules"] == ["to_q", "to_k", "to_v", "to_out"]
    assert {key.split(".")[0] for key in values} == set(Story.model_fields)


def test_what_a_story_changes_is_told() -> None:
    _, others = told(LEAST.replace("a}", "a, steps: 9}") + "\nlora: {rank: 4, alpha: 4}\nmodel: {checkpoint: pocket}")
    assert others == {"dataset.source", "scenes.1.prompt", "scenes.1.steps", "lora.rank", "model.checkpoint"}


def test_filters_have_the_defaults_of_their_operators() -> None:
    filters = "\nfilters: [image_aspect_ratio_filter: {min_ratio: 0.5, max_ratio: 3.0}, image_shape_filter: {}]"
    values, others = told(LEAST + filters)
    assert values["filters.1.image_aspect_ratio_filter.min_ratio"] == 0.5
    assert others == {"dataset.source", "scenes.1.prompt", "filters.1.image_aspect_ratio_filter.min_ratio"}


def test_keys_that_this_kolora_does_not_know_are_told_as_not_default() -> None:
    (setting,) = read_settings({"future": {"key": 1}})
    assert (setting.key, setting.value, setting.is_default) == ("future.key", 1, False)
    assert read_settings({"dataset": None, "filters": [{"unknown_filter": {"a": 1}}]})[-1].is_default is False


def test_a_default_that_another_key_decides_is_one() -> None:
    _, others = told(LEAST + "\nlora: {preset: entity, optimizer: prodigy}")
    assert others == {"dataset.source", "scenes.1.prompt", "lora.preset", "lora.optimizer"}
    _, others = told(LEAST + "\nlora: {preset: entity, rank: 16}")
    assert "lora.rank" in others
