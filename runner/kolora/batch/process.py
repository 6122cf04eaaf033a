"""One story in a process of its own: its lines passed on, its errors kept, a stop handed over once."""

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
from kolora.execute import Halt

LOOK_SECONDS = 0.1


@dataclass(frozen=True)
class Ended:
    """How a process ended: its code of the contract, and the two lines it left."""

    code: int
    error: str = ""
    hint: str = ""


def run_process(
    arguments: Sequence[str],
    *,
    halt: Halt,
    told: Callable[[dict[str, Any]], None],
    complained: Callable[[str], None],
    environment: Mapping[str, str] = MappingProxyType({}),
) -> Ended:
    """Run ``kolora ARGUMENTS`` until it ends.

    halt: when a stop is asked for, the process is told so, once: it saves and leaves. told: hears each of its JSON
    lines. complained: hears each line of its stderr. environment: variables for it, besides this process's.
    """
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
    words: list[str] = []
    lines: queue.SimpleQueue[tuple[bool, str]] = queue.SimpleQueue()
    readers = [_reader(process.stdout, lines, is_error=False), _reader(process.stderr, lines, is_error=True)]
    was_told = False
    try:
        while any(reader.is_alive() for reader in readers) or not lines.empty():
            if halt.requested and not was_told:
                process.send_signal(signal.SIGTERM)
                was_told = True
            try:
                is_error, line = lines.get(timeout=LOOK_SECONDS)
            except queue.Empty:
                continue
            if is_error:
                words.append(line)
                complained(line)
            else:
                told(_object(line))
        process.wait()
    finally:
        process.kill()
    return _ended(process.returncode, words)


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


def _ended(code: int, words: Sequence[str]) -> Ended:
    if code == 0:
        return Ended(0)
    error, hint = _last_line(words, "error: "), _last_line(words, "hint: ")
    if code == -signal.SIGKILL:
        return Ended(
            DeviceUnusable.code, "the process was killed: the machine's memory may be full", "give it more memory"
        )
    if code < 0:
        return Ended(KoloraError.code, f"the process died of signal {-code}", hint)
    return Ended(code, error or f"the process ended with exit code {code}", hint)


def _last_line(lines: Sequence[str], start: str) -> str:
    """Return what follows ``start`` in the last line that begins with it, or nothing."""
    return next((line.removeprefix(start) for line in reversed(lines) if line.startswith(start)), "")


def _path() -> str:
    own, before = str(Path(kolora.version.__file__).parents[1]), os.environ.get("PYTHONPATH")
    return f"{own}{os.pathsep}{before}" if before else own
