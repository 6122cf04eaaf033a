"""The story: its head, its sections, and what is checked across them."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from kolora.spec.faults import Fault, validation_error
from kolora.spec.sections.dataset import Dataset, FolderDataset, HubDataset, PocketDataset
from kolora.spec.sections.filters import Filter
from kolora.spec.sections.grid import CELL, Grid, ResolvedGrid
from kolora.spec.sections.lora import Lora
from kolora.spec.sections.model import Model
from kolora.spec.sections.render import Render
from kolora.spec.sections.report import Report
from kolora.spec.sections.scene import ResolvedScene, Scene
from kolora.spec.sections.scores import Scores
from kolora.spec.types import Frozen, Name, Title

SCHEMA_VERSION = 1


def _require_dataset_or_lora(schema: dict[str, Any]) -> None:
    """Let editors know that a story needs a data set or a LoRA of its own."""
    schema["required"].remove("dataset")
    own = {"required": ["render"], "properties": {"render": {"required": ["lora"]}}}
    schema["anyOf"] = [{"required": ["dataset"]}, own]


class Story(Frozen):
    """A picture story: what to learn from, how to learn it, and what to draw."""

    model_config = ConfigDict(json_schema_extra=_require_dataset_or_lora)

    kolora: Literal[1] = 1
    """Version of this schema."""

    name: Name = "story"
    """Short name for files and submissions."""

    title: Title = ""
    """Title of the story."""

    language: Literal["zh", "en"] = "zh"
    """Language of the story: `zh` (Chinese) or `en` (English)."""

    team: Title = ""
    """Team that hands the story in: author of the LoRA, and first part of a submission's name."""

    model: Model = Model()
    """The checkpoint that is taught and that draws."""

    dataset: Dataset | None
    """The pictures to learn from; `source` says where they are. Needed unless `render.lora` is given."""

    filters: Annotated[tuple[Filter, ...], Field(strict=False, max_length=32)] = ()
    """Data-Juicer operators, in order; a picture must pass all of them."""

    lora: Lora = Lora()
    """How the LoRA is trained."""

    render: Render = Render()
    """How the scenes are drawn."""

    scenes: Annotated[tuple[Scene, ...], Field(strict=False, min_length=1, max_length=64)]
    """The pictures of the story, in order; eight make the usual story."""

    grid: Grid = Grid()
    """How the pictures are pasted into one."""

    scores: Scores = Scores()
    """How the pictures are judged."""

    report: Report = Report()
    """How the report is written."""

    @model_validator(mode="before")
    @classmethod
    def _allow_no_dataset(cls, data: object) -> object:
        """A story that brings its own LoRA may leave the data set out."""
        render = data.get("render") if isinstance(data, Mapping) else None
        has_lora = isinstance(render, Mapping) and render.get("lora") is not None
        return {"dataset": None, **data} if isinstance(data, Mapping) and has_lora else data

    @model_validator(mode="after")
    def _check_dataset(self) -> Self:
        if self.dataset is None and self.render.lora is None:
            expected = "the pictures to learn from, or a LoRA in render.lora"
            raise validation_error(Fault(path=("dataset",), given="nothing", expected=expected))
        return self

    @model_validator(mode="after")
    def _check_grid_size(self) -> Self:
        # Checked here and not in Grid, as the number of rows follows from the number of scenes.
        grid = self.resolved_grid()
        for side, total, cells in (("width", grid.width, grid.columns), ("height", grid.height, grid.rows)):
            # A picture under 8 pixels shows nothing, and rounding could leave it none.
            least = 8 * cells + grid.gap * (cells - 1)
            if total < least:
                expected = f"at least {least} pixels for {cells} pictures and their gaps"
                raise validation_error(Fault(path=("grid", side), given=str(total), expected=expected))
        return self

    @property
    def training_set(self) -> PocketDataset | FolderDataset | HubDataset | None:
        """Return the data set to learn from; None where the story brings its own LoRA."""
        return self.dataset if self.render.lora is None else None

    def resolved_scenes(self) -> tuple[ResolvedScene, ...]:
        """Return the scenes numbered from 1, with every value filled in from `render`."""
        names = set(ResolvedScene.model_fields)
        common = self.render.model_dump(include=names)
        own = (scene.model_dump(include=names, exclude_none=True) for scene in self.scenes)
        return tuple(ResolvedScene(**common | values, number=number) for number, values in enumerate(own, start=1))

    def resolved_grid(self) -> ResolvedGrid:
        """Return the grid for this story's number of scenes, with every value filled in."""
        columns = min(self.grid.columns, len(self.scenes))
        rows = ceil(len(self.scenes) / columns)
        return ResolvedGrid(
            columns=columns,
            rows=rows,
            width=self.grid.width or CELL * columns,
            height=self.grid.height or CELL * rows,
            gap=self.grid.gap,
            background=self.grid.background,
        )
