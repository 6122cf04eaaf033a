"""Lets the n-th operation of a tiny run fail, for every n: ``python -m tests.faults.sweep --kind EIO --stride 10``.

A run that was never disturbed is the measure: a run with a fault gives its bytes or a named error, and the run after it
gives its bytes. SQLite is tested in this way.
"""

from __future__ import annotations

import argparse
import re
import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from tests.faults.nursery import HUNG, Nursery, Outcome
from tests.faults.seam import CRASHED, KINDS, Fault, Kind
from tests.stories import results, write_story
from tests.tiny import write_tiny_checkpoint

NAMED = frozenset({65, 66, 69, 71, 73, 75})
"""Exit codes of errors that say what to do."""

SMALL: dict[str, Any] = {
    "filters": [],
    "dataset__count": 3,
    "dataset__min_images": 2,
    "lora__steps": 2,
    "render__steps": 2,
    "scenes": [{"title": "早晨", "prompt": "一只白色小猫坐在窗前", "seed": 1}],
    "grid": {"columns": 1, "width": 64, "height": 64},
}
"""What makes a story of one scene and two steps; Data-Juicer, a process of its own, is left out."""


class Bench:
    """A tiny story, its undisturbed run, and a nursery to run it in."""

    def __init__(self, folder: Path, checkpoint: Path) -> None:
        self.folder = folder
        self.cache = folder / "cache"
        self.story = write_story(folder / "story", checkpoint, **SMALL)
        self.nursery = Nursery(folder / "scratch", self.story, self.cache)
        self.undisturbed = folder / "undisturbed"
        first = self.run(self.undisturbed)
        assert first.code == 0, first.printed
        self.bytes = results(self.undisturbed)
        assert len(self.bytes) > 10

    def run(self, out: Path, fault: Fault | None = None) -> Outcome:
        """Run the story into ``out``, with a fault in there or in the cache."""
        return self.nursery.run(
            "run", str(self.story), "-o", str(out), roots=(out, self.cache) if fault else (), fault=fault
        )

    def try_fault(self, fault: Fault) -> tuple[bool, str]:
        """Run with a fault, and once more without; returns whether it came, and in words how both ended."""
        out = self.folder / "out"
        shutil.rmtree(out, ignore_errors=True)
        faulty = self.run(out, fault)
        where = faulty.operations[fault.at - 1] if faulty.fired else ""
        outcome = self._judge(out, faulty, where)
        again = self.run(out)
        if again.code != 0:
            outcome = f"BAD the next run exits {again.code}: {last_error(again.printed)} ({where}; {outcome})"
        elif results(out) != self.bytes:
            outcome = f"BAD the next run has other bytes: {self.differences(out)} ({where}; {outcome})"
        elif not (out / "manifest.sha256").is_file():
            outcome = f"BAD the next run is not sealed ({where})"
        return faulty.fired, outcome

    def _judge(self, out: Path, faulty: Outcome, where: str) -> str:
        if faulty.code == 0:
            same = results(out) == self.bytes
            return "same bytes" if same else f"BAD exit 0 with other bytes: {self.differences(out)} ({where})"
        if faulty.code == CRASHED:
            return "killed"
        if faulty.code in NAMED:
            return f"exit {faulty.code}"
        what = "hangs" if faulty.code == HUNG else f"exit {faulty.code}"
        return f"BAD {what}: {last_error(faulty.printed)} ({where})"

    def differences(self, out: Path) -> str:
        """Name the files that are other than the undisturbed run's."""
        now = results(out)
        return ", ".join(name for name in sorted(now | self.bytes) if now.get(name) != self.bytes.get(name))


def last_error(printed: str) -> str:
    """Return the last error that was printed, or the last line."""
    found = re.findall(r'error: .*|"message": "[^"]*"|\w+Error: .*', printed)
    return (found[-1] if found else printed.strip()[-200:])[:300]


def sweep(bench: Bench, kind: Kind, *, first: int = 1, stride: int = 1) -> Counter[str]:
    """Try a kind of fault at every ``stride``-th operation until none is left; returns how many ended in which way."""
    outcomes: Counter[str] = Counter()
    at = first
    while True:
        fired, outcome = bench.try_fault(Fault(kind, at))
        if not fired:
            return outcomes
        outcomes[outcome] += 1
        at += stride


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kind", choices=KINDS, action="append")
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--stride", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        write_tiny_checkpoint(Path(scratch) / "tiny")
        bench = Bench(Path(scratch), Path(scratch) / "tiny")
        for each in options.kind or KINDS:
            for words, count in sweep(bench, each, first=options.first, stride=options.stride).most_common():
                print(f"{each}: {count} x {words}", flush=True)
        bench.nursery.close()
