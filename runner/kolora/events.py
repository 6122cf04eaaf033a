"""What a run tells while it works: one frozen value an event, given to whoever asked with ``on_event``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kolora.planning import Decision
from kolora.stages.contract import Step


@dataclass(frozen=True)
class Planned:
    """What will be kept and what will run, before anything does."""

    decisions: Sequence[Decision]


@dataclass(frozen=True)
class StepBegan:
    """A step begins, and why it is not kept."""

    step: Step
    reason: str


@dataclass(frozen=True)
class StepProgressed:
    """How far a step is."""

    step: Step
    done: int
    total: int


@dataclass(frozen=True)
class StepEnded:
    """A step is finished and published."""

    step: Step
    seconds: float | None


@dataclass(frozen=True)
class Noticed:
    """Something that is no error, but that the user should know."""

    message: str
    step: Step | None = None


@dataclass(frozen=True)
class Downloading:
    """How many bytes of a repository are here."""

    repository: str
    done: int
    total: int


@dataclass(frozen=True)
class Downloaded:
    """A repository is in the cache; bytes: what was downloaded for it."""

    repository: str
    hub: str
    revision: str
    files: int
    bytes: int


Event = Planned | StepBegan | StepProgressed | StepEnded | Noticed | Downloading | Downloaded
OnEvent = Callable[[Event], None]


def ignore(_event: Event) -> None:
    """Tell nobody."""
