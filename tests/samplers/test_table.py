"""A story chooses from the table, and whoever draws or tells of it has the table's sampler."""

from __future__ import annotations

import pytest
from kolora.errors import StoryInvalid
from kolora.rendering.a1111 import parameters_of
from kolora.rendering.comfyui import graph_of
from kolora.samplers import SAMPLERS
from kolora.spec import load_story
from kolora.spec.schema import expects
from kolora.spec.sections.render import Render
from kolora.spec.words import join_choices

STORY = "dataset: {{source: pocket}}\nrender: {{scheduler: {}}}\nscenes: [{{prompt: a}}]\n"


def test_the_choices_of_a_story_are_the_table() -> None:
    assert expects(Render, "scheduler") == join_choices(list(SAMPLERS))
    assert Render().scheduler in SAMPLERS


def test_an_unknown_sampler_is_refused_with_the_choices() -> None:
    with pytest.raises(StoryInvalid) as raised:
        load_story(STORY.format("no_such"))
    assert "render.scheduler" in str(raised.value)
    assert join_choices(list(SAMPLERS)) in str(raised.value)


@pytest.mark.parametrize("name", SAMPLERS)
def test_other_tools_are_told_its_name(name: str) -> None:
    (scene,) = load_story(STORY.format(name)).resolved_scenes()
    assert f"Sampler: {SAMPLERS[name].a1111}," in parameters_of(scene, lora=None, checkpoint="c" * 64)
    (node,) = (each for each in graph_of({1: scene}, lora=None).values() if each["class_type"] == "KSampler")
    assert (node["inputs"]["sampler_name"], node["inputs"]["scheduler"]) == SAMPLERS[name].comfyui
