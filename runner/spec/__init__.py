"""The spec: a story file checked and turned into frozen values."""

from runner.spec.faults import Problem, StoryProblems
from runner.spec.load import load_story, read_story
from runner.spec.new import new_story
from runner.spec.schema import story_json_schema
from runner.spec.story import Filter, ResolvedGrid, ResolvedScene, Story

__all__ = [
    "Filter",
    "Problem",
    "ResolvedGrid",
    "ResolvedScene",
    "Story",
    "StoryProblems",
    "load_story",
    "new_story",
    "read_story",
    "story_json_schema",
]
