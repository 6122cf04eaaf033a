"""What a stage is: a module with ``VERSION``, ``Config``, ``Facts``, ``steps`` and ``run``, and what it is handed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict

from kolora.errors import StoryInvalid
from kolora.inputs import Inputs
from kolora.spec import Story
from kolora.spec.types import Frozen

if TYPE_CHECKING:
    from kolora.models.checkpoint import Checkpoint

Tick = Callable[[int, int], None]
"""``tick(done, total)``: report progress; raises Stopped when the run was asked to stop and may do so here."""

Key = tuple[str, int | None]
"""Stage and scene of a step; None where the step is the whole story's."""


def step_name(stage: str, scene: int | None = None) -> str:
    """Name a step as plans, folders and messages do: ``train``, ``render-03``."""
    return stage if scene is None else f"{stage}-{scene:02d}"


def stage_of(name: str) -> str:
    """Return the stage of a step's name, as records and locks hold it."""
    stage, _, scene = name.rpartition("-")
    return stage if scene.isdecimal() else name


@dataclass(frozen=True)
class Step:
    """One piece of work: a stage, the config that is all it sees of the story, and the steps whose results it needs.

    scene: its number, from 1, where there is such a step for each scene. needs: in an order that the stage chooses and
    keeps, as the digest covers it. digest: of all that the result depends on; the plan fills it in.
    """

    stage: str
    config: Frozen
    scene: int | None = None
    needs: tuple[Key, ...] = ()
    digest: str = ""

    @property
    def key(self) -> Key:
        """Stage and scene."""
        return self.stage, self.scene

    @property
    def name(self) -> str:
        """The step's name."""
        return step_name(self.stage, self.scene)


@dataclass(frozen=True)
class Job:
    """What a stage is handed besides its config.

    folder: empty folder the stage owns; it becomes the finished step when the stage returns.
    state: folder that survives a kill, for stages that save their progress; gone when the step is finished.
    inputs: finished folders of the steps it needs.
    log: file that takes the noise of libraries.
    checkpoint: gives the checkpoint, whose models are each loaded on first use and shared by the steps of one run.
    tick: progress, and the one place where a stage may be interrupted.
    digest: of the step, which is what its saved state is a state of.
    notice: tells the user what is no error and yet to be known.
    check: raises where the finished folder of a needed step is no longer what its record lists; called as it is asked
    for.
    """

    folder: Path
    state: Path
    inputs: Mapping[Key, Path]
    log: Path
    checkpoint: Callable[[], Checkpoint]
    tick: Tick
    digest: str = ""
    notice: Callable[[str], None] = lambda _message: None
    check: Callable[[Key], None] = lambda _key: None

    def input(self, stage: str, scene: int | None = None) -> Path:
        """Return the folder of a step that this one needs, its files checked."""
        self.check((stage, scene))
        return self.inputs[stage, scene]

    def inputs_of(self, stage: str) -> tuple[Path, ...]:
        """Return the folders of all needed steps of a stage, in the order of the story, their files checked."""
        return tuple(self.input(*key) for key in self.inputs if key[0] == stage)


Line = TypeVar("Line", bound="StageFacts")


class StageFacts(BaseModel):
    """What a stage found, as its record and every reader of it hold it; what a later version adds is left alone."""

    # JSON has no word for NaN or infinity: pydantic would write null, and the record would not say which.
    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


def read_json_lines(path: Path, kind: type[Line]) -> list[Line]:
    """Read what a stage wrote about each file; raises StoryInvalid where it is something else by now."""
    try:
        with path.open(encoding="utf-8") as file:
            return [kind.model_validate_json(line) for line in file]
    except ValueError as problem:
        raise StoryInvalid(
            f"{path} is not what kolora wrote: {problem}", hint="--fresh does all of it again"
        ) from problem


class Stage(Protocol):
    """A module of this package.

    VERSION: raised when the same inputs would give other bytes, or a default of Config changes. Config: frozen; all
    that the stage may see of the story, in flat fields; the step's digest covers exactly that, less what equals its
    default.
    Facts: frozen; what the stage found, for record and report. A stage may also have SECTION, the section of the story
    that most keys of its Config are of, by which reasons name them; and MEMORY_KEYS, the story's keys that its memory
    grows with, for the error that a full GPU gives.
    """

    VERSION: int
    Config: Any
    Facts: Any

    def steps(self, story: Story, inputs: Inputs) -> Iterator[Step]:
        """Yield the story's steps of this stage."""

    def run(self, config: Any, job: Job) -> StageFacts:
        """Do the work: fill ``job.folder``, return the facts."""
