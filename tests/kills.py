"""Kills runs with SIGKILL and resumes them, and compares the bytes: ``python -m tests.kills --runs 20``.

``--signal TERM`` stops a story at full size instead, 4096 x 4096 pixels, whose operations take many seconds each, and
says how long every stop took.

A run that was never disturbed is the measure. The moments of the kills are spread over its whole length by the lines
that it prints, one at random in each equal share of them, so that every stage is hit, however fast the machine is.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from kolora.errors import Stopped

from tests.stories import results, write_story
from tests.tiny import write_tiny_checkpoint

FULL_SIZE = """
kolora: 1
name: full-size
model: {checkpoint: pocket}
dataset: {source: pocket, style: ink, count: 4, min_images: 2}
lora: {steps: 1, batch_size: 1, rank: 4, resolution: 256}
render: {width: 4096, height: 4096, steps: 4}
scores: {aesthetics: "off", clip: "off"}
report: {compare: false}
scenes: [{prompt: a cat, seed: 1}]
"""
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


def stop_runs(story: Path, *, runs: int, seed: int, number: signal.Signals, seconds: float) -> list[tuple[float, str]]:
    """Stop each of ``runs`` runs of one folder, at moments spread over ``seconds`` from their start.

    Returns how long each took to leave, and what was at work. Raises AssertionError where one leaves with another code
    than 75, or without a record and a report that say so.
    """
    rng = random.Random(seed)
    out, figures = story.parent / "stopped", []
    for run in range(runs):
        shutil.rmtree(out, ignore_errors=True)
        with subprocess.Popen(_command(story, out), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            time.sleep(seconds * (run + rng.random()) / runs)
            began = time.monotonic()
            process.send_signal(number)
            process.communicate(timeout=60)
            taken = time.monotonic() - began
        assert process.returncode == Stopped.code, process.returncode
        figures.append((round(taken, 2), _stopped_in(out)))
    return figures


def _stopped_in(out: Path) -> str:
    """Say what a stopped run was at work on, and see that it is recorded and reported as stopped."""
    record = out / "records" / "run.json"
    if not record.is_file():
        assert not (out / "records").exists(), "a run that began has no record"
        return "before the run"
    run = json.loads(record.read_text(encoding="utf-8"))
    assert run["status"] == "stopped", run["status"]
    assert json.loads((out / "status.json").read_text(encoding="utf-8"))["stage"] == "stopped"
    # On a busy machine the time may end before the report is written; what there is says so.
    report = out / "report.json"
    assert not report.exists() or json.loads(report.read_text(encoding="utf-8"))["status"] == "stopped"
    reported = "reported" if report.exists() else "recorded alone"
    pending = [step["step"] for step in run["steps"] if step["action"] == "pending"]
    return f"{reported}, at work on {pending[0] if pending else 'the inputs'}"


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
    parser.add_argument("--signal", choices=["KILL", "TERM", "INT", "USR1", "USR2"], default="KILL")
    parser.add_argument("--seconds", type=float, default=60.0, help="over which the stops are spread")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        if options.signal != "KILL":
            (Path(scratch) / "story.yaml").write_text(FULL_SIZE, encoding="utf-8")
            which = signal.Signals[f"SIG{options.signal}"]
            stops = stop_runs(
                Path(scratch) / "story.yaml",
                runs=options.runs,
                seed=options.seed,
                number=which,
                seconds=options.seconds,
            )
            for taken, at_work in stops:
                print(f"{taken:5.2f} s: {at_work}")
            print(f"{len(stops)} stops, the slowest {max(taken for taken, _ in stops)} s")
            sys.exit()
        write_tiny_checkpoint(Path(scratch) / "tiny")
        tale = write_story(Path(scratch), Path(scratch) / "tiny", lora__steps=40, render__steps=10)
        print(dict(kill_runs(tale, runs=options.runs, seed=options.seed)), "- every run ended with the same bytes")
