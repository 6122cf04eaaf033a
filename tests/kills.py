"""Kills runs with SIGKILL and resumes them, and compares the bytes: ``python -m tests.kills --runs 20``.

A run that was never disturbed is the measure. The moments of the kills are spread over its whole length by the lines
that it prints, one at random in each equal share of them, so that every stage is hit, however fast the machine is.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.stories import results, write_story
from tests.tiny import write_tiny_checkpoint

LINGER = 0.2
"""Seconds, at most, from a line to the kill, so that it does not always fall right behind one."""


def kill_runs(story: Path, *, runs: int, seed: int) -> Counter[str]:
    """Kill each of ``runs`` runs of a story once and let it end the second time.

    Returns which stage was at work when a run died; one may be over before its kill. Raises AssertionError when a
    resumed run ends with other bytes than the undisturbed one.
    """
    rng = random.Random(seed)
    undisturbed = story.parent / "undisturbed"
    lines = _begun(_run(story, undisturbed))
    victims: Counter[str] = Counter()
    for number in range(runs):
        out = story.parent / f"killed-{number}"
        _kill_at(_command(story, out), int(lines * (number + rng.random()) / runs), rng.uniform(0, LINGER))
        if (out / "manifest.sha256").is_file():
            victims["over before the kill"] += 1
        else:
            victims[_at_work(out)] += 1
        _run(story, out)
        assert results(out) == results(undisturbed), f"run {number}, killed during {_at_work(out)}, has other bytes"
        assert (out / "manifest.sha256").is_file()
    return victims


def _run(story: Path, out: Path) -> str:
    return subprocess.run(_command(story, out), check=True, capture_output=True, text=True).stdout


def _begun(printed: str) -> int:
    """Count the lines that say that a step begins or is done: how many there are does not depend on time."""
    return sum(map(_is_mark, printed.splitlines()))


def _is_mark(line: str) -> bool:
    message = json.loads(line)["message"]
    return " begins: " in message or message.endswith(" is done")


def _kill_at(command: list[str], mark: int, linger: float) -> None:
    """Start a run and kill it a moment after it has printed so many marks."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        seen = -1
        while seen < mark and (line := process.stdout.readline()):
            seen += _is_mark(line)
        time.sleep(linger)
        process.kill()


def _command(story: Path, out: Path) -> list[str]:
    return [sys.executable, "-m", "kolora", "run", str(story), "-o", str(out)]


def _at_work(out: Path) -> str:
    """Name the stage whose partial folder a kill left."""
    partial = [path.name for path in (out / "work").glob("*.partial")]
    return partial[0].split("-")[0] if partial else "between steps"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        write_tiny_checkpoint(Path(scratch) / "tiny")
        tale = write_story(Path(scratch), Path(scratch) / "tiny", lora__steps=40, render__steps=10)
        print(dict(kill_runs(tale, runs=options.runs, seed=options.seed)), "- every run ended with the same bytes")
