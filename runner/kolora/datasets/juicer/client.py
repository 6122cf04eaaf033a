"""Asking the process that filters, and waiting for it without losing sight of the run."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import kolora.version
from kolora.characters import show
from kolora.environment import isolated_environment
from kolora.errors import InputAbsent, KoloraError
from kolora.redaction import redact

_LAST_LINES = 3


def run_filters(
    rows: Sequence[Mapping[str, Any]],
    operators: Sequence[Mapping[str, Mapping[str, Any]]],
    *,
    scratch: Path,
    log: Path,
    tick: Callable[[], None],
) -> list[dict[str, dict[str, Any]]]:
    """Have Data-Juicer's filters judge rows; `filters.apply_filters` says what goes in and what comes back.

    Everything it writes goes to ``scratch``, everything it prints to ``log``. ``tick`` is called several times a
    second and may raise, which ends the process. Raises InputAbsent for a package that is not installed and KoloraError
    with the log's last words otherwise.
    """
    scratch = scratch.resolve()
    request, answer = scratch / "request.json", scratch / "answer.json"
    request.write_text(json.dumps({"rows": rows, "operators": operators}), encoding="utf-8")
    command = [sys.executable, "-P", "-m", "kolora.datasets.juicer", str(request), str(answer)]
    with (
        log.open("a+b") as noise,
        subprocess.Popen(
            command,
            cwd=scratch,
            env=isolated_environment(scratch, packages=Path(kolora.version.__file__).parents[1]),
            stdin=subprocess.PIPE,
            stdout=noise,
            stderr=subprocess.STDOUT,
            # A terminal's Ctrl-C is for the run to answer.
            start_new_session=True,
        ) as process,
    ):
        try:
            while _runs(process):
                tick()
        finally:
            process.kill()
            process.wait()
            _clean(noise)
    if not answer.is_file():
        raise KoloraError(
            f"data_juicer failed with exit status {process.returncode}: {_last_words(log)}",
            hint=f"read {log}, then change or take out the operator it names in filters",
        )
    answered = json.loads(answer.read_text(encoding="utf-8"))
    if "absent" in answered:
        raise InputAbsent(
            f"filters: {answered['absent']}, and nothing is installed while a story runs",
            hint="take the operator that needs it out of filters",
        )
    verdicts: list[dict[str, dict[str, Any]]] = answered["verdicts"]
    return verdicts


def _runs(process: subprocess.Popen[bytes]) -> bool:
    try:
        process.wait(timeout=0.1)
    except subprocess.TimeoutExpired:
        return True
    return False


def _clean(log: BinaryIO) -> None:
    """Take out of a log what nobody should find there: secrets of captions and paths, characters that act unseen."""
    log.seek(0)
    text = log.read().decode(errors="replace")
    log.truncate(0)
    log.write(show(redact(text)).encode())


def _last_words(log: Path) -> str:
    """Return the end of the log in one line, without a traceback's markers."""
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines()]
    return " | ".join([line for line in lines if line.strip("^~")][-_LAST_LINES:]) or "it said nothing"
