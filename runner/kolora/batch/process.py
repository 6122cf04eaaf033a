"""One story in a process of its own: its lines are passed on, its errors kept, a stop sent once."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any

import kolora.version
from kolora.errors import DeviceUnusable, KoloraError
from kolora.execution.signals import Halt

LOOK_SECONDS = 0.1
"""Between two looks at whether a stop was asked for."""


@dataclass(frozen=True)
class ProcessResult:
    """How a process ended: its code of the contract, and the two lines it left."""

    code: int
    error: str = ""
    hint: str = ""


def run_process(
    arguments: Sequence[str],
    *,
    halt: Halt,
    on_event: Callable[[dict[str, Any]], None],
    on_stderr: Callable[[str], None],
    environment: Mapping[str, str] = MappingProxyType({}),
) -> ProcessResult:
    """Run ``kolora ARGUMENTS`` until it ends.

    halt: when a stop is asked for, the process gets one SIGTERM: it saves and leaves. on_event: called with each of its
    JSON lines. on_stderr: called with each line of its stderr. environment: variables for it, besides this process's.
    """
    # -P: what lies in the working directory, a stranger's random.py, is no module.
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "kolora", *arguments],
        env={**os.environ, **environment, "PYTHONPATH": _path()},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        errors="replace",
        # Signals to the group would reach it twice, and the second one means: at once.
        start_new_session=True,
    )
    errors: list[str] = []
    lines: queue.SimpleQueue[tuple[bool, str]] = queue.SimpleQueue()
    # Two threads, as a full pipe that nobody reads would stop the process.
    readers = [_reader(process.stdout, lines, is_error=False), _reader(process.stderr, lines, is_error=True)]
    is_stopping = False
    try:
        while any(reader.is_alive() for reader in readers) or not lines.empty():
            if halt.requested and not is_stopping:
                process.send_signal(signal.SIGTERM)
                is_stopping = True
            try:
                is_error, line = lines.get(timeout=LOOK_SECONDS)
            except queue.Empty:
                continue
            if is_error:
                errors.append(line)
                on_stderr(line)
            else:
                on_event(_object(line))
        process.wait()
    finally:
        # Does nothing where it has ended; after an exception here nobody else would look after it.
        process.kill()
    return _result(process.returncode, errors)


def _reader(stream: IO[str] | None, lines: queue.SimpleQueue[tuple[bool, str]], *, is_error: bool) -> threading.Thread:
    assert stream is not None

    def read() -> None:
        with stream:
            for line in stream:
                lines.put((is_error, line.rstrip("\n")))

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    return thread


def _object(line: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except ValueError:
        value = None
    return value if isinstance(value, dict) and "message" in value else {"message": line}


def _result(code: int, errors: Sequence[str]) -> ProcessResult:
    if code == 0:
        return ProcessResult(0)
    error, hint = _last_line(errors, "error: "), _last_line(errors, "hint: ")
    if code == -signal.SIGKILL:
        return ProcessResult(
            DeviceUnusable.code, "the process was killed: the machine's memory may be full", "give it more memory"
        )
    if code < 0:
        return ProcessResult(KoloraError.code, f"the process was ended by signal {-code}", hint)
    return ProcessResult(code, error or f"the process ended with exit code {code}", hint)


def _last_line(lines: Sequence[str], start: str) -> str:
    """Return what follows ``start`` in the last line that begins with it, or nothing."""
    return next((line.removeprefix(start) for line in reversed(lines) if line.startswith(start)), "")


def _path() -> str:
    # -P has taken the working directory off the path, from where a checkout may have been started.
    own, before = str(Path(kolora.version.__file__).parents[1]), os.environ.get("PYTHONPATH")
    return f"{own}{os.pathsep}{before}" if before else own
