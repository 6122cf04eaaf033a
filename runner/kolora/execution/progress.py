"""How far a run is: the heartbeat ``status.json`` while it works, and ``records/run.json`` about the whole."""

from __future__ import annotations

import contextlib
import datetime
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from kolora.characters import show
from kolora.errors import KoloraError, Stopped
from kolora.execution.provenance import machine, now
from kolora.files import writing
from kolora.planning import Decision
from kolora.runfolder import layout
from kolora.runfolder.records import (
    RECORD_FORMAT,
    Action,
    CheckpointName,
    PlannedScene,
    RunFailure,
    RunRecord,
    Status,
    StepLine,
    redacted,
)
from kolora.runfolder.store import RunFolder
from kolora.spec import Story
from kolora.stages.contract import StageFacts, Step
from kolora.version import __version__

_HEARTBEAT_SECONDS = 1.0
"""Seconds between two writes at least: steps may take milliseconds, and each write is a file and a rename."""


@dataclass
class Progress:
    """What is known of a run while it works: how each step fared and how long it took."""

    folder: RunFolder
    decisions: Sequence[Decision] = ()
    started: float = field(default_factory=time.time)
    actions: dict[str, Action] = field(default_factory=dict)
    seconds: dict[str, float | None] = field(default_factory=dict)
    _beat: float = 0.0
    _step_started: float = 0.0
    _is_over: bool = False
    _writing: threading.Lock = field(default_factory=threading.Lock)

    def mark_kept(self, step: Step, seconds: float | None) -> None:
        """Note that a step's earlier result is used; seconds: what it took then."""
        self.actions[step.name], self.seconds[step.name] = "kept", seconds

    def mark_started(self, step: Step) -> None:
        """Note that a step is at work; until it ends it counts as failed."""
        # Failed until it ends, so that an exception anywhere leaves the right word without being caught.
        self.actions[step.name], self._step_started = "failed", time.monotonic()

    def mark_finished(self, step: Step, seconds: float | None) -> None:
        """Note that a step is finished."""
        self.actions[step.name], self.seconds[step.name] = "ran", seconds

    def beat(self, step: Step, done: int, total: int) -> None:
        """Write the heartbeat, at most once a second."""
        moment = time.monotonic()
        # A step's last beat is always written, so that it never stands at one before the end.
        if moment - self._beat < _HEARTBEAT_SECONDS and done < total:
            return
        self._beat = moment
        elapsed = moment - self._step_started
        status = {
            "time": now(),
            "stage": step.stage,
            "step": step.name,
            "done": done,
            "total": total,
            "eta_seconds": round(elapsed * (total - done) / done, 1) if done else None,
            "steps_done": sum(action == "ran" for action in self.actions.values()),
            "steps_total": sum(decision.runs for decision in self.decisions),
            "pid": os.getpid(),
        }
        # A run that is being left has its end recorded by another thread, which the step's next beat must not undo.
        with self._writing:
            if not self._is_over:
                self.folder.write_json(layout.STATUS, status)

    def finish(
        self,
        story: Story,
        failure: KoloraError | None,
        *,
        checkpoint: CheckpointName,
        is_partial: bool,
        device: str,
        command: Sequence[str],
    ) -> None:
        """Write ``records/run.json``, and the last heartbeat, which keeps the reason of an early end."""
        # There is one at most: the run ends with the first step that fails.
        failed = next((name for name, action in self.actions.items() if action == "failed"), None)
        status = _status(failure, is_partial=is_partial)
        # A step that was stopped on request did not fail: the next run goes on with it.
        if status == "stopped" and failed is not None:
            self.actions[failed] = "pending"
        run = RunRecord(
            format=RECORD_FORMAT,
            kolora=__version__,
            name=story.name,
            title=story.title,
            language=story.report.language or story.language,
            status=status,
            started=datetime.datetime.fromtimestamp(self.started, datetime.UTC).isoformat(timespec="seconds"),
            seconds=round(time.time() - self.started, 1),
            checkpoint=checkpoint,
            command=tuple(command),
            story=story.model_dump(mode="json"),
            scenes=tuple(PlannedScene(**scene.model_dump()) for scene in story.resolved_scenes()),
            error=None if failure is None else _failure(failure, failed),
            steps=tuple(self._line(decision) for decision in self.decisions),
            environment=machine(device),
        )
        last = {"time": now(), "stage": status, "pid": os.getpid()}
        if failure is not None:
            last |= {"code": failure.code, "error": failure.error, "hint": failure.hint}
        # A full disk must not hide the error that led here.
        with self._writing, contextlib.suppress(OSError, KoloraError) if failure else writing(self.folder.root):
            self._is_over = True
            self.folder.write_text(layout.RUN_RECORD, show(redacted(run).model_dump_json(indent=1)) + "\n")
            self.folder.write_json(layout.STATUS, last)

    def _line(self, decision: Decision) -> StepLine:
        step = decision.step
        return StepLine(
            step=step.name,
            stage=step.stage,
            scene=step.scene,
            digest=step.digest,
            action=self.actions.get(step.name, "pending"),
            reason=decision.reason,
            why=decision.why,
            seconds=self.seconds.get(step.name),
        )


def _status(failure: KoloraError | None, *, is_partial: bool) -> Status:
    if failure is None:
        return "partial" if is_partial else "complete"
    return "stopped" if isinstance(failure, Stopped) else "failed"


def _failure(failure: KoloraError, step: str | None) -> RunFailure:
    facts = getattr(failure, "facts", None)
    return RunFailure(
        code=failure.code,
        error=failure.error,
        hint=failure.hint,
        step=step,
        facts=facts.model_dump(mode="json", by_alias=True) if isinstance(facts, StageFacts) else None,
    )
