"""Lets the n-th operation of a tiny run fail, for every n, and damages every file that one left, in every way.

``python -m tests.faults.sweep --fault EIO --stride 10``, ``python -m tests.faults.sweep --damage flip_middle``. A run
that was never disturbed is the measure: a run with a fault gives its bytes or a named error, and the run after it gives
its bytes; so does a run over a damaged file, and what is outside stays as it was. SQLite is tested in this way.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from tests.faults.damage import ALL, is_untouched, make_outside
from tests.faults.nursery import HUNG, Nursery, Outcome
from tests.faults.seam import CRASHED, KINDS, Fault, Kind
from tests.stories import results, write_story
from tests.tiny import write_tiny_checkpoint

NAMED = frozenset({65, 66, 69, 71, 73, 75, 78})
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

    def close(self) -> None:
        """End what it started."""
        self.nursery.close()

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
        return self._judge_error(faulty, where)

    def differences(self, out: Path) -> str:
        """Name the files that are other than the undisturbed run's."""
        now = results(out)
        return ", ".join(name for name in sorted(now | self.bytes) if now.get(name) != self.bytes.get(name))

    def interrupted(self) -> Path:
        """Give a run that was killed in training, its state saved."""
        out = self.folder / "interrupted"
        # When a state is saved depends on how long the last save took, so that the moment is looked for.
        for _ in range(20):
            if list(out.glob("work/train-*.state/training.saved")):
                return out
            shutil.rmtree(out, ignore_errors=True)
            counted = self.run(out, Fault(at=10**9)).operations
            saved = [place for place, each in enumerate(counted, 1) if each.endswith("/training.saved")]
            shutil.rmtree(out)
            if saved:
                assert self.run(out, Fault("crash", at=saved[0] + 2)).code == CRASHED
        raise AssertionError("no state was saved")

    def try_damage(self, source: Path, name: str, damage: str) -> str:
        """Damage a file of a copy of a run folder and run the story there; returns in words how it ended."""
        out, outside = self._damaged_copy(source, name, damage)
        ended = self.run(out)
        where = f"{name}, {damage}"
        if not is_untouched(outside):
            return f"BAD what is outside was changed ({where})"
        if ended.code == 0:
            return self._judge_finished(out, where)
        return self._judge_error(ended, where)

    def try_reading(self, source: Path, name: str, damage: str) -> str:
        """Damage a file of a copy of a run folder, and have everything read it that reads run folders."""
        out, outside = self._damaged_copy(source, name, damage)
        bad = []
        for command in (
            ("plan", str(self.story), "-o", str(out)),
            ("diff", str(out), str(self.undisturbed)),
            ("export", str(out), "--to", "comfyui"),
            ("report", str(out)),
        ):
            ended = self.nursery.run(*command)
            if ended.code:
                outcome = self._judge_error(ended, f"{command[0]}, {name}, {damage}")
                bad += [outcome] if outcome.startswith("BAD") else []
        if not is_untouched(outside):
            bad.append(f"BAD what is outside was changed ({name}, {damage})")
        return bad[0] if bad else "read, or a named error"

    def _damaged_copy(self, source: Path, name: str, damage: str) -> tuple[Path, Path]:
        out, elsewhere = self.folder / "out", self.folder / "elsewhere"
        for each in (out, elsewhere):
            shutil.rmtree(each, ignore_errors=True)
        shutil.copytree(source, out, symlinks=True)
        outside = make_outside(elsewhere)
        ALL[damage](out / name, outside)
        return out, outside

    def _judge_error(self, ended: Outcome, where: str) -> str:
        if ended.code in NAMED:
            return f"exit {ended.code}"
        what = "hangs" if ended.code == HUNG else f"exit {ended.code}"
        return f"BAD {what}: {last_error(ended.printed)} ({where})"

    def _judge_finished(self, out: Path, where: str) -> str:
        if results(out) != self.bytes:
            return f"BAD exit 0 with other bytes: {self.differences(out)} ({where})"
        checked = subprocess.run(
            ["sha256sum", "-c", "--quiet", "manifest.sha256"], cwd=out, check=False, capture_output=True
        )
        if checked.returncode:
            return f"BAD exit 0 and not what the manifest says ({where})"
        return "same bytes"


def last_error(printed: str) -> str:
    """Return the last error that was printed, or the last line."""
    found = re.findall(r'error: .*|"message": "[^"]*"|\w+Error: .*', printed)
    return (found[-1] if found else printed.strip()[-200:])[:300]


def sweep_faults(bench: Bench, kind: Kind, *, first: int = 1, stride: int = 1) -> Counter[str]:
    """Try a kind of fault at every ``stride``-th operation until none is left; returns how many ended in which way."""
    outcomes: Counter[str] = Counter()
    at = first
    while True:
        fired, outcome = bench.try_fault(Fault(kind, at))
        if not fired:
            return outcomes
        _count(outcome, outcomes)
        at += stride


def sweep_damages(bench: Bench, damage: str, *, first: int = 1, stride: int = 1) -> Counter[str]:
    """Try a damage on every ``stride``-th file of a finished and of an interrupted run."""
    outcomes: Counter[str] = Counter()
    for source in (bench.undisturbed, bench.interrupted()):
        for name in files_of(source)[first - 1 :: stride]:
            _count(bench.try_damage(source, name, damage), outcomes)
            _count(bench.try_reading(source, name, damage), outcomes)
    return outcomes


def _count(outcome: str, outcomes: Counter[str]) -> None:
    # At once: a sweep takes long, and one fault can be mended while it looks for the next.
    if outcome.startswith("BAD"):
        print(outcome, file=sys.stderr, flush=True)
    outcomes[outcome] += 1


def files_of(folder: Path) -> list[str]:
    """List the files of a run folder."""
    return [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if path.is_file()]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fault", choices=KINDS, action="append", default=[])
    parser.add_argument("--damage", choices=list(ALL), action="append", default=[])
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--stride", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        write_tiny_checkpoint(Path(scratch) / "tiny")
        bench = Bench(Path(scratch), Path(scratch) / "tiny")
        named = options.fault or options.damage
        for fault in options.fault if named else KINDS:
            for words, count in sweep_faults(bench, fault, first=options.first, stride=options.stride).most_common():
                print(f"{fault}: {count} x {words}", flush=True)
        for each in options.damage if named else ALL:
            for words, count in sweep_damages(bench, each, first=options.first, stride=options.stride).most_common():
                print(f"{each}: {count} x {words}", flush=True)
        bench.close()
