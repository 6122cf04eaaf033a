"""A story's plan: for the memory there is, and no more than it may take."""

from __future__ import annotations

from pathlib import Path

import pytest
from kolora.memory.plan import GIB
from kolora.memory.story import plan_story, story_size
from kolora.spec import Story, load_story

SPEC = Path(__file__).parents[2] / "specs" / "story.yaml"


def story(*overrides: str) -> Story:
    return load_story(SPEC.read_bytes(), name=SPEC.name, overrides=overrides)


@pytest.mark.parametrize(
    ("said", "there", "memory"),
    [("null", 24, 24), ("8", 24, 8), ("24", 8, 8), ("8", None, 8), ("null", None, None)],
)
def test_the_smaller_of_what_there_is_and_what_may_be_taken(said: str, there: int | None, memory: int | None) -> None:
    plan = plan_story(story(f"model.memory={said}"), None, gpu_bytes=there and there * GIB)
    assert plan.available_bytes == (memory and memory * GIB)


def test_the_largest_scene_counts() -> None:
    found = story_size(story("scenes.1.width=2048", "scenes.2.height=1536", "model.dtype=float32"))
    assert (found.width, found.height, found.bytes_per_weight) == (2048, 1024, 4)


def test_a_checkpoints_own_configs_count(tiny_checkpoint: Path) -> None:
    tiny, kolors = (plan_story(story(), checkpoint, gpu_bytes=None) for checkpoint in (tiny_checkpoint, None))
    assert all(tiny.option(name).required_bytes < kolors.option(name).required_bytes / 2 for name in tiny.options)
