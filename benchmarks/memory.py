"""Kolors at full size under caps of memory, and against DiffSynth: ``python -m benchmarks.memory FOLDER``, by hand.

Writes Kolors with random weights into FOLDER, unless it is there; needs a GPU of 80 GiB, 40 GB of disk, some minutes.
Measures what each computation takes beside its weights, for ``kolora.memory.plan``; then runs the default story's work
once without a cap and once under each, every time in a process of its own; then compares with DiffSynth's pipeline in
one process. What FOLDER already holds the results of is not run again, so a run that was cut short goes on. A dry run:
``python -m benchmarks.memory FOLDER --pocket --caps 0.61``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from kolora.hubs.catalogue import POCKET
from kolora.models.checkpoint import make_deterministic

from benchmarks.capped import named, print_runs, run_story
from benchmarks.footprints import measure
from benchmarks.full_size import write_kolors
from benchmarks.story import Size


def main() -> None:
    """Do all that was asked for."""
    options = asked()
    size = Size(
        folder=options.folder,
        checkpoint=POCKET if options.pocket else options.folder / "Kolors",
        pixels=options.size or (128 if options.pocket else 1024),
        steps=options.steps,
        render_steps=options.render_steps or (3 if options.pocket else 50),
    )
    size.folder.mkdir(parents=True, exist_ok=True)
    if options.child:
        make_deterministic()
        kept(size.folder, options.child).write_text(json.dumps(work(size, options.child), indent=1))
        return
    if torch.cuda.is_available():
        print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}", flush=True)
    if not size.checkpoint.is_dir():
        child(size, "write")
    caps: list[float | None] = [None, *(float(cap) for cap in options.caps.split(","))]
    if "measure" in options.only:
        child(size, "measure")
    if "caps" in options.only:
        print_runs(size.folder, caps, {named(cap): child(size, named(cap)) for cap in caps})
    if "parity" in options.only:
        child(size, "parity")


def asked() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--caps", default="24,16,12,8", help="GiB, by commas")
    parser.add_argument("--only", default="measure,caps,parity", help="what to do, by commas")
    parser.add_argument("--steps", type=int, default=12, help="training steps")
    parser.add_argument("--render-steps", type=int)
    parser.add_argument("--size", type=int, help="side of the pictures")
    parser.add_argument("--pocket", action="store_true", help="the small checkpoint, for a dry run")
    parser.add_argument("--child", help="one piece of work in this process")
    return parser.parse_args()


def child(size: Size, name: str) -> dict[str, Any]:
    """Do a piece of work in a process of its own, unless its result is there."""
    path = kept(size.folder, name)
    if not path.is_file():
        began = time.monotonic()
        subprocess.run([sys.executable, "-m", "benchmarks.memory", *sys.argv[1:], "--child", name], check=True)
        print(f"({name}: {time.monotonic() - began:.0f} s)", flush=True)
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def kept(folder: Path, name: str) -> Path:
    """Say where a result is kept."""
    return folder / f"{name}.json"


def work(size: Size, name: str) -> dict[str, Any]:
    """Do a piece of work by its name."""
    if name == "write":
        write_kolors(size.checkpoint)
        return {}
    if name == "measure":
        return measure(size)
    if name == "parity":
        from benchmarks.parity import compare  # loads all of DiffSynth, which nothing else here needs

        return compare(size)
    return run_story(size, None if name == named(None) else float(name.removeprefix("cap-")))


if __name__ == "__main__":
    main()
