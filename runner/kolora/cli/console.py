"""How a run is shown: a person's lines and bars on a terminal, one JSON object a line otherwise."""

from __future__ import annotations

import datetime
import json
import os
import sys
import time
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, Protocol, TextIO

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from kolora.characters import show
from kolora.cli.streams import GuardedStream
from kolora.errors import KoloraError
from kolora.events import Downloaded, Downloading, Event, Noticed, Planned, StepBegan, StepEnded, StepProgressed
from kolora.hubs.hub import HUBS
from kolora.planning import Decision
from kolora.redaction import redact, redact_values
from kolora.stages.contract import Step

TERMINATION_LOG = Path("/dev/termination-log")
"""Where Kubernetes looks for the reason of a container's end."""
QUIET_SECONDS = 1.0
"""Least time between two progress lines of one step."""


class RunConsole(Protocol):
    """Shows a run's events, and what commands say of their own."""

    def on_event(self, event: Event) -> None:
        """Show an event of the run."""

    def say(self, message: str, **fields: Any) -> None:
        """Show one message that is not an error."""

    def close(self) -> None:
        """Put the terminal back in order."""


def console_for(stream: TextIO) -> RunConsole:
    """Choose by where the output goes."""
    if not stream.isatty():
        return Lines(stream)
    return Terminal(Console(file=stream.for_terminal() if isinstance(stream, GuardedStream) else stream))


def print_error(problem: KoloraError) -> None:
    """Write the error's two lines to stderr, and where Kubernetes looks for the reason."""
    text = f"error: {problem.error}\n" + (f"hint: {problem.hint}\n" if problem.hint else "")
    text += "".join(f"({note})\n" for note in getattr(problem, "__notes__", ()))
    text = show(redact(text))
    sys.stderr.write(text)
    try:
        if TERMINATION_LOG.is_file():
            TERMINATION_LOG.write_text(text, encoding="utf-8")
    except OSError as unwritable:
        sys.stderr.write(f"({TERMINATION_LOG} cannot be written: {unwritable.strerror})\n")


def plan_lines(decisions: Sequence[Decision]) -> Iterable[tuple[str, bool, str]]:
    """Put a plan in lines of name, whether it runs, and why; scenes with the same reason share one."""
    for (_, runs, reason), group in groupby(decisions, lambda each: (each.step.stage, each.runs, each.reason)):
        names = [each.step.name for each in group]
        shown = names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"
        yield shown, runs, reason


class Lines:
    """One JSON object a line: time, severity, message, and stage and scene where there is one."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._last = 0.0
        self._downloads: dict[str, tuple[float, int]] = {}

    def say(self, message: str, **fields: Any) -> None:
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line = {"time": now, "severity": "INFO", "message": message} | fields
        try:
            self._stream.write(show(json.dumps(redact_values(line), ensure_ascii=False)) + "\n")
            self._stream.flush()
        except BrokenPipeError:
            # Who listened has left, as `head` does. The work goes on; its records and status.json say how.
            with Path(os.devnull).open("w") as nobody:
                os.dup2(nobody.fileno(), self._stream.fileno())

    def on_event(self, event: Event) -> None:
        match event:
            case Planned(decisions):
                for name, runs, reason in plan_lines(decisions):
                    self.say(f"{name}: {'will run' if runs else 'kept'}: {reason}")
            case StepBegan(step, reason):
                self._last = time.monotonic()
                self.say(f"{step.name} begins: {reason}", **_place(step))
            case StepProgressed(step, done, total):
                if self._is_due():
                    self.say(f"{step.name}: {done} of {total}", **_place(step), done=done, total=total)
            case StepEnded(step, seconds):
                self.say(f"{step.name} is done", **_place(step), seconds=seconds)
            case Noticed(message, step):
                self.say(message, severity="WARNING", **({} if step is None else _place(step)))
            case Downloading():
                self._download(event)
            case Downloaded():
                self.say(_downloaded(event), revision=event.revision, bytes=event.bytes)

    def _is_due(self) -> bool:
        """Tell whether enough time has gone since the last line of progress."""
        moment = time.monotonic()
        if moment - self._last < QUIET_SECONDS:
            return False
        self._last = moment
        return True

    def _download(self, event: Downloading) -> None:
        moment = time.monotonic()
        began, before = self._downloads.setdefault(event.repository, (moment, event.done))
        if self._is_due():
            speed = (event.done - before) / max(moment - began, 1e-3)
            eta = round((event.total - event.done) / speed) if speed > 0 else None
            amount = f"{event.done / 1e6:.1f} of {event.total / 1e6:.1f} MB"
            self.say(f"{event.repository}: {amount}", done=event.done, total=event.total, eta=eta)

    def close(self) -> None:
        self._stream.flush()


class Terminal:
    """Lines for a person, and a bar for the step at work."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress = Progress(
            TextColumn("  {task.description}"),
            BarColumn(bar_width=32),
            MofNCompleteColumn(),
            TimeRemainingColumn(compact=True),
            console=console,
            transient=True,
        )
        self._task: TaskID | None = None
        self._downloads = Progress(
            TextColumn("  {task.description}"),
            BarColumn(bar_width=32),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(compact=True),
            console=console,
            transient=True,
        )
        self._names: dict[str, TaskID] = {}

    def say(self, message: str, **_fields: Any) -> None:
        self._print(_shown(message))

    def on_event(self, event: Event) -> None:
        match event:
            case Planned(decisions):
                for name, runs, reason in plan_lines(decisions):
                    mark = "[bold]run [/bold]" if runs else "[dim]keep[/dim]"
                    self._print(f"{mark} {_shown(name):<36} [dim]{_shown(reason)}[/dim]")
            case StepBegan(step):
                self._progress.start()
                self._task = self._progress.add_task(_shown(step.name), total=None)
            case StepProgressed(_, done, total):
                if self._task is not None:
                    self._progress.update(self._task, completed=done, total=total)
            case StepEnded(step, seconds):
                self.close()
                self._print(f"[green]done[/green] {_shown(step.name):<36} [dim]{seconds or 0:.1f} s[/dim]")
            case Noticed(message):
                self.say(message)
            case Downloading(repository, done, total):
                self._downloads.start()
                if repository not in self._names:
                    self._names[repository] = self._downloads.add_task(_shown(repository), total=None)
                self._downloads.update(self._names[repository], completed=done, total=total or None)
            case Downloaded():
                self.say(_downloaded(event))

    def _print(self, line: str) -> None:
        self._console.print(line, highlight=False)

    def close(self) -> None:
        self._downloads.stop()
        if self._task is not None:
            self._progress.remove_task(self._task)
            self._task = None
        self._progress.stop()


def _shown(text: str) -> str:
    """Return a text as rich draws just it: before the line is broken, where a secret would be broken too."""
    return escape(show(redact(text)))


def _place(step: Step) -> dict[str, Any]:
    return {"stage": step.stage} | ({} if step.scene is None else {"scene": step.scene})


def _downloaded(event: Downloaded) -> str:
    return (
        f"{event.repository} is in the cache: {event.files} files at {event.revision}, "
        f"{event.bytes / 1e6:.1f} MB downloaded from {HUBS[event.hub].title}"
    )
