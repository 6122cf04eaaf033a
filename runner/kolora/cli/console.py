"""How a run is told: a person's lines and bars on a terminal, one JSON object a line otherwise."""

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

from kolora.errors import KoloraError
from kolora.execute import Listener
from kolora.plan import Decision, Step

LAST_WORDS = Path("/dev/termination-log")
"""Where Kubernetes looks for the reason of a container's end."""
QUIET_SECONDS = 1.0
"""Least time between two progress lines of one step."""


class Teller(Listener, Protocol):
    """A listener that can also say things of its own."""

    def say(self, message: str, **fields: Any) -> None:
        """Tell one thing that is no error."""

    def downloading(self, name: str, done: int, total: int) -> None:
        """Tell how many bytes of a download are here."""

    def close(self) -> None:
        """Put the terminal back in order."""


def teller(stream: TextIO) -> Teller:
    """Choose by where the output goes."""
    return Terminal(Console(file=stream)) if stream.isatty() else Lines(stream)


def complain(problem: KoloraError) -> None:
    """Write the error's two lines to stderr, and where the container's keeper looks for last words."""
    text = f"error: {problem.error}\n" + (f"hint: {problem.hint}\n" if problem.hint else "")
    text += "".join(f"({note})\n" for note in getattr(problem, "__notes__", ()))
    sys.stderr.write(text)
    try:
        if LAST_WORDS.is_file():
            LAST_WORDS.write_text(text, encoding="utf-8")
    except OSError as unwritable:
        sys.stderr.write(f"({LAST_WORDS} cannot be written: {unwritable.strerror})\n")


def plan_lines(decisions: Sequence[Decision]) -> Iterable[tuple[str, bool, str]]:
    """Put a plan in lines of name, whether it runs, and why; scenes that fare alike share one."""
    for (_, runs, reason), group in groupby(
        decisions, lambda each: (each.step.name.partition("-")[0], each.runs, each.reason)
    ):
        names = [each.step.name for each in group]
        shown = names[0] if len(names) == 1 else f"{names[0]} to {names[-1].rpartition('-')[2]}"
        yield shown, runs, reason


class Lines:
    """One JSON object a line: time, severity, message, and stage and scene where there is one."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._told = 0.0
        self._downloads: dict[str, tuple[float, int]] = {}

    def say(self, message: str, **fields: Any) -> None:
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line = {"time": now, "severity": "INFO", "message": message} | fields
        try:
            self._stream.write(json.dumps(line, ensure_ascii=False) + "\n")
            self._stream.flush()
        except BrokenPipeError:
            # Who listened has left, as `head` does. The work goes on unheard; its records and status.json tell of it.
            with Path(os.devnull).open("w") as nobody:
                os.dup2(nobody.fileno(), self._stream.fileno())

    def planned(self, decisions: Sequence[Decision]) -> None:
        for name, runs, reason in plan_lines(decisions):
            self.say(f"{name}: {'to run' if runs else 'kept'}: {reason}")

    def began(self, step: Step, reason: str) -> None:
        self._told = time.monotonic()
        self.say(f"{step.name} begins: {reason}", **_place(step))

    def progressed(self, step: Step, done: int, total: int) -> None:
        if time.monotonic() - self._told >= QUIET_SECONDS:
            self._told = time.monotonic()
            self.say(f"{step.name}: {done} of {total}", **_place(step), done=done, total=total)

    def noticed(self, step: Step, message: str) -> None:
        self.say(message, severity="WARNING", **_place(step))

    def ended(self, step: Step, seconds: float) -> None:
        self.say(f"{step.name} is done", **_place(step), seconds=seconds)

    def downloading(self, name: str, done: int, total: int) -> None:
        now = time.monotonic()
        if name not in self._downloads:
            self._downloads[name] = (now, done)
        began, before = self._downloads[name]
        if now - self._told >= QUIET_SECONDS:
            self._told = now
            speed = (done - before) / max(now - began, 1e-3)
            eta = round((total - done) / speed) if speed > 0 else None
            self.say(f"{name}: {done / 1e6:.1f} of {total / 1e6:.1f} MB", done=done, total=total, eta=eta)

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
        self._console.print(escape(message), highlight=False)

    def planned(self, decisions: Sequence[Decision]) -> None:
        for name, runs, reason in plan_lines(decisions):
            mark = "[bold]run [/bold]" if runs else "[dim]keep[/dim]"
            self._console.print(f"{mark} {escape(name):<22} [dim]{escape(reason)}[/dim]", highlight=False)

    def began(self, step: Step, reason: str) -> None:
        self._progress.start()
        self._task = self._progress.add_task(step.name, total=None)

    def progressed(self, step: Step, done: int, total: int) -> None:
        if self._task is not None:
            self._progress.update(self._task, completed=done, total=total)

    def noticed(self, step: Step, message: str) -> None:
        self.say(message)

    def ended(self, step: Step, seconds: float) -> None:
        self.close()
        self._console.print(f"[green]done[/green] {step.name:<22} [dim]{seconds:.1f} s[/dim]", highlight=False)

    def downloading(self, name: str, done: int, total: int) -> None:
        self._downloads.start()
        if name not in self._names:
            self._names[name] = self._downloads.add_task(name, total=None)
        self._downloads.update(self._names[name], completed=done, total=total or None)

    def close(self) -> None:
        self._downloads.stop()
        if self._task is not None:
            self._progress.remove_task(self._task)
            self._task = None
        self._progress.stop()


def _place(step: Step) -> dict[str, Any]:
    scene = step.name.rpartition("-")[2]
    return {"stage": step.stage} | ({"scene": int(scene)} if scene.isdigit() else {})
