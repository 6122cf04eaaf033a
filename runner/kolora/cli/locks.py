"""The lock of a story on the command line: which one holds, and refusing what drifted from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from kolora.cli.stories import LoadedStory
from kolora.environment import limit_threads
from kolora.errors import InputAbsent, UsageError
from kolora.execute import image_digest, packages
from kolora.hubs.store import NO_PINS, Pins
from kolora.inputs import ResolvedInputs
from kolora.lock import MOST_BYTES, Drift, Lock, drift_of, read_lock, refuse_drift

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Held:
    """A lock that holds for a run, and what messages call it; no lock pins nothing."""

    lock: Lock | None = None
    name: str = ""

    @property
    def pins(self) -> Pins:
        """The revisions that downloads must come at."""
        return self.lock.pins if self.lock is not None else NO_PINS

    def drift(self, found: ResolvedInputs, *, device: str) -> list[Drift]:
        """List what is not as the lock pins it."""
        if self.lock is None:
            return []
        return drift_of(self.lock, found, device=device, packages=packages(), image=image_digest())

    def refuse(self, found: ResolvedInputs, *, device: str, accept_environment: bool) -> None:
        """Raise LockDrifted where the lock does not hold."""
        refuse_drift(self.drift(found, device=device), lock=self.name, accept_environment=accept_environment)

    def take_numerics(self, *, device: str) -> None:
        """Compute with as many threads as the lock has: on a CPU sums are split by them, and their last bits differ.

        Read when torch is loaded; a number that the user set stays.
        """
        numerics = self.lock.numerics_of("render") if self.lock is not None else None
        if numerics is not None and numerics.threads and device == numerics.device == "cpu":
            limit_threads(numerics.threads)


def lock_options(command: F) -> F:
    """Add ``--lock``, ``--no-lock`` and ``--accept-environment``."""
    path = click.Path(path_type=Path, dir_okay=False)
    for option in (
        click.option(
            "--accept-environment",
            is_flag=True,
            help="Go on where packages, device or image are not the lock's; inputs must be.",
        ),
        click.option("--no-lock", is_flag=True, help="Pay no heed to a lock beside the story."),
        click.option("--lock", "lock", type=path, help="Hold to this lock [STORY's: story.lock.yaml beside it]."),
    ):
        command = option(command)
    return command


def held_lock(given: LoadedStory, *, out: Path, chosen: Path | None, ignored: bool) -> Held:
    """Find the lock that holds: the chosen one, else NAME.lock.yaml beside NAME.yaml.

    The one in ``out`` is what a run there wrote: it follows that run and binds no other, unless it is chosen.
    """
    if chosen is not None and ignored:
        raise UsageError("--lock and --no-lock exclude each other", hint="give one of them")
    path = chosen or beside(given)
    if ignored or path is None or (chosen is None and path.resolve() == (out / "story.lock.yaml").resolve()):
        return Held()
    try:
        with path.open("rb") as file:
            source = file.read(MOST_BYTES + 1)
    except OSError as problem:
        raise InputAbsent(f"the lock {path} cannot be read: {problem.strerror}", hint="--lock FILE") from problem
    return Held(read_lock(source, name=path.name), path.name)


def beside(given: LoadedStory) -> Path | None:
    """Name the lock beside a story's file, where there is one."""
    path = given.path and given.path.with_suffix(".lock.yaml")
    return path if path is not None and path.is_file() else None
