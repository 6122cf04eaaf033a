"""The stages of a story: one short module each, wiring only, torch loaded when one runs.

A stage module has ``VERSION`` (raise it when the same inputs would give other bytes), ``Part`` (a frozen model of
all it may see of the story; the step's digest covers exactly that) and ``run(part, job)``, which fills
``job.folder`` and returns flat facts for the report.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kolora.memory.plan import MemoryPlan

if TYPE_CHECKING:
    from kolora.models.checkpoint import Checkpoint

Tick = Callable[[int, int], None]
"""``tick(done, total)``: report progress; raises Stopped when the run was asked to stop and may do so here."""

Facts = dict[str, Any]
"""What a stage found, as plain JSON values."""


@dataclass(frozen=True)
class Job:
    """What a stage is handed besides its part of the story.

    folder: empty folder the stage owns; it becomes the finished step when the stage returns.
    state: folder that survives a kill, for stages that save their progress; gone when the step is finished.
    inputs: finished folders of the steps it declared, by step name.
    log: file that takes the noise of libraries.
    checkpoint: gives the checkpoint, whose models are each loaded on first use and shared by the steps of one run.
    tick: progress, and the one place where a stage may be interrupted.
    """

    folder: Path
    state: Path
    inputs: Mapping[str, Path]
    log: Path
    checkpoint: Callable[[], Checkpoint]
    tick: Tick


def open_checkpoint(folder: Path, *, device: str, dtype: str, memory: MemoryPlan) -> Checkpoint:
    """Open a checkpoint; this is what loads torch."""
    from kolora.models.checkpoint import Checkpoint

    return Checkpoint(folder, device=device, dtype=dtype, memory=memory)
