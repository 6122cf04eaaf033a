"""The spec: a story file checked and turned into frozen values."""

from kolora.spec.faults import Problem, StoryProblems
from kolora.spec.load import load_story, read_story
from kolora.spec.new import new_story
from kolora.spec.schema import story_json_schema
from kolora.spec.sections.filters import Filter
from kolora.spec.sections.grid import ResolvedGrid
from kolora.spec.sections.scene import ResolvedScene
from kolora.spec.story import Story

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
