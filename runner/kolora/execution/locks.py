"""The lock that holds for a run: which one it is, and refusing what drifted from it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kolora.environment import limit_threads
from kolora.errors import InputAbsent, UsageError
from kolora.execution.provenance import image_digest, packages
from kolora.files import is_file, real_path
from kolora.hubs.store import NO_PINS, Pins
from kolora.inputs import ResolvedInputs
from kolora.runfolder.layout import LOCK
from kolora.runfolder.lock import LARGEST_LOCK, Drift, Lock, drift_of, read_lock, refuse_drift
from kolora.stories import LoadedStory


@dataclass(frozen=True)
class ActiveLock:
    """A lock that holds for a run, and what messages call it; no lock pins nothing."""

    lock: Lock | None = None
    name: str = ""

    @property
    def pins(self) -> Pins:
        """The revisions that downloads must come at."""
        return self.lock.pins if self.lock is not None else NO_PINS

    def drift(self, resolved: ResolvedInputs, *, device: str) -> list[Drift]:
        """List what is not as the lock pins it."""
        if self.lock is None:
            return []
        return drift_of(self.lock, resolved, device=device, packages=packages(), image=image_digest())

    def refuse_drift(self, resolved: ResolvedInputs, *, device: str, accept_environment: bool) -> None:
        """Raise LockDrifted where the lock does not hold."""
        refuse_drift(self.drift(resolved, device=device), lock=self.name, accept_environment=accept_environment)

    def limit_threads(self, *, device: str) -> None:
        """Compute with as many threads as the lock has: on a CPU sums are split by them, and their last bits differ.

        Read when torch is loaded; a number that the user set stays.
        """
        numerics = self.lock.numerics_of("render") if self.lock is not None else None
        if numerics is not None and numerics.threads and device == numerics.device == "cpu":
            limit_threads(numerics.threads)


def find_lock(loaded: LoadedStory, *, out: Path, chosen: Path | None = None, ignored: bool = False) -> ActiveLock:
    """Find the lock that holds: the chosen one, else NAME.lock.yaml beside NAME.yaml.

    The one in ``out`` is what a run there wrote: it follows that run and binds no other, unless it is chosen.
    """
    if chosen is not None and ignored:
        raise UsageError("--lock and --no-lock exclude each other", hint="give one of them")
    path = chosen or _lock_beside(loaded)
    # A run in the folder of its own story finds what the last run wrote there: holding to that would pin an edited
    # story to what it was before the edit.
    if ignored or path is None or (chosen is None and real_path(path) == real_path(out / LOCK)):
        return ActiveLock()
    try:
        with path.open("rb") as file:
            # One byte more than is allowed, so that read_lock sees that it is too long.
            source = file.read(LARGEST_LOCK + 1)
    except OSError as problem:
        raise InputAbsent(f"the lock {path} cannot be read: {problem.strerror}", hint="--lock FILE") from problem
    return ActiveLock(read_lock(source, name=path.name), path.name)


def _lock_beside(loaded: LoadedStory) -> Path | None:
    path = loaded.path and loaded.path.with_suffix(".lock.yaml")
    return path if path is not None and is_file(path) else None
