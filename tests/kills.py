"""Kills runs with SIGKILL at random moments until they are through, and compares the bytes: ``python -m tests.kills``.

A run that was never disturbed is the measure. Every other run is started again after each kill, until it ends by
itself; the moments are drawn over the whole length of a run, so all stages are hit.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.stories import results, write_story
from tests.tiny import write_tiny_checkpoint


def kill_runs(story: Path, *, kills: int, seed: int) -> Counter[str]:
    """Kill runs of a story ``kills`` times and let each end; returns how often each step was the one that died.

    Raises AssertionError when a resumed run ends with other bytes than the undisturbed one.
    """
    chance = random.Random(seed)
    folder = story.parent
    undisturbed = folder / "undisturbed"
    subprocess.run(_command(story, undisturbed), check=True, stdout=subprocess.DEVNULL)
    seconds = json.loads((undisturbed / "records" / "run.json").read_text())["seconds"]
    victims: Counter[str] = Counter()
    runs = 0
    while victims.total() < kills:
        runs += 1
        out = folder / f"killed-{runs}"
        while victims.total() < kills:
            process = subprocess.Popen(_command(story, out), stdout=subprocess.DEVNULL)
            try:
                process.wait(timeout=chance.uniform(0.5, seconds + 1.5))
                break
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                victims[_at_work(out)] += 1
        subprocess.run(_command(story, out), check=True, stdout=subprocess.DEVNULL)
        assert results(out) == results(undisturbed), f"run {runs} ended with other bytes"
        assert (out / "manifest.sha256").is_file()
    return victims


def _command(story: Path, out: Path) -> list[str]:
    return [sys.executable, "-m", "runner", "run", str(story), "-o", str(out)]


def _at_work(out: Path) -> str:
    """Name the stage whose partial folder a kill left."""
    partial = [path.name for path in (out / "work").glob("*.partial")]
    return partial[0].split("-")[0] if partial else "between stages"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        write_tiny_checkpoint(Path(scratch) / "tiny")
        tale = write_story(Path(scratch), Path(scratch) / "tiny", lora__steps=40, render__steps=10)
        print(dict(kill_runs(tale, kills=options.kills, seed=options.seed)), "- every run ended with the same bytes")
