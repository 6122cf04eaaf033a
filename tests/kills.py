"""Kills runs with SIGKILL and resumes them, and compares the bytes: ``python -m tests.kills --runs 20``.

A run that was never disturbed is the measure. The moments of the kills are spread over its whole length, one at
random in each equal share of it, so that every stage is hit.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.stories import results, write_story
from tests.tiny import write_tiny_checkpoint

START = 0.5
"""Seconds from which on kills fall; before, a run has done nothing that could be lost."""


def kill_runs(story: Path, *, runs: int, seed: int) -> Counter[str]:
    """Kill each of ``runs`` runs of a story once and let it end the second time.

    Returns which stage was at work when a run died. Raises AssertionError when a resumed run ends with other bytes
    than the undisturbed one, or when a run was over before its kill.
    """
    chance = random.Random(seed)
    undisturbed = story.parent / "undisturbed"
    started = time.monotonic()
    _run(story, undisturbed)
    share = 0.95 * (time.monotonic() - started - START) / runs
    victims: Counter[str] = Counter()
    for number in range(runs):
        out = story.parent / f"killed-{number}"
        process = subprocess.Popen(_command(story, out), stdout=subprocess.DEVNULL)
        time.sleep(START + share * (number + chance.random()))
        process.kill()
        if process.wait() == 0:
            victims["over before the kill"] += 1
        else:
            victims[_at_work(out)] += 1
        _run(story, out)
        assert results(out) == results(undisturbed), f"run {number}, killed during {_at_work(out)}, has other bytes"
        assert (out / "manifest.sha256").is_file()
    return victims


def _run(story: Path, out: Path) -> None:
    subprocess.run(_command(story, out), check=True, stdout=subprocess.DEVNULL)


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
