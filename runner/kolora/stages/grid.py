"""Grid: all scenes in one picture."""

from __future__ import annotations

from collections.abc import Iterator

from kolora.inputs import Inputs
from kolora.spec import Story
from kolora.spec.types import Frozen
from kolora.stages.contract import Job, StageFacts, Step
from kolora.stages.render import IMAGE

VERSION = 1
SECTION = "grid"


class Config(Frozen):
    """All that decides how the pictures are pasted together; sizes in pixels."""

    columns: int
    rows: int
    width: int
    height: int
    gap: int
    background: str


class Facts(StageFacts):
    """The grid's size in pixels and in pictures."""

    width: int
    height: int
    columns: int
    rows: int


def steps(story: Story, inputs: Inputs) -> Iterator[Step]:
    """One step, from every rendered scene."""
    needs = tuple(("render", scene.number) for scene in story.resolved_scenes())
    yield Step("grid", Config(**story.resolved_grid().model_dump()), needs=needs)


def run(config: Config, job: Job) -> Facts:
    """Paste the scenes, in the story's order, row by row."""
    from kolora.rendering.pictures import paste_grid, png_bytes

    picture = paste_grid(
        [folder / IMAGE for folder in job.inputs_of("render")],
        columns=config.columns,
        width=config.width,
        height=config.height,
        gap=config.gap,
        background=config.background,
    )
    (job.folder / "grid.png").write_bytes(png_bytes(picture, {}))
    job.tick(1, 1)
    return Facts(width=config.width, height=config.height, columns=config.columns, rows=config.rows)
