"""Runs a batch on a real Ray cluster of this machine: ``python -m tests.batch.on_ray``, with ``kolora[cluster]``.

Ray takes a quarter of a gigabyte, so it is none of the packages that the tests install; test_cluster.py tries the rest.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.stories import results, write_story
from tests.tiny import write_tiny_checkpoint

STORIES = {"one": {"scenes__0__seed": 1}, "two": {"scenes__0__seed": 2}, "wrong": {"lora__rank": 0}}


def batch(folder, out, *options, stop_at=None):
    """Run the batch; ``stop_at``: a stage at whose first line it is told to stop. Returns its code and its lines."""
    command = [sys.executable, "-m", "kolora", "batch", str(folder / "stories"), "-o", str(out), *options]
    lines = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=folder) as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(json.loads(line))
            if lines[-1].get("stage") == stop_at and process.poll() is None and stop_at is not None:
                process.send_signal(signal.SIGTERM)
                stop_at = None
    return process.returncode, lines


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["KOLORA_CACHE"] = str(folder / "cache")
        os.environ["PYTHONPATH"] = str(Path(__file__).parents[2] / "runner")
        write_tiny_checkpoint(folder / "tiny")
        for label, changes in STORIES.items():
            write_story(folder / "stories" / label, folder / "tiny", filters=[], **changes)
        here, _ = batch(folder, folder / "here")
        code, lines = batch(folder, folder / "ray", "--ray")
        assert (here, code) == (65, 65), (here, code)
        nodes = [line["message"] for line in lines if " begins on " in line["message"]]
        assert len(nodes) == 2, nodes
        assert {line["story"] for line in lines if line.get("stage") == "train"} == {"one", "two"}
        for label in ("one", "two"):
            assert results(folder / "ray" / label) == results(folder / "here" / label), label
        print("one batch here and on Ray: the same codes and the same bytes")
        stopped, lines = batch(folder, folder / "stopped", "--ray", stop_at="train")
        told = json.loads((folder / "stopped" / "batch.json").read_text(encoding="utf-8"))
        states = {line["label"]: line["state"] for line in told["stories"]}
        assert stopped == 75, (stopped, lines[-3:])
        assert set(states.values()) <= {"stopped", "waiting", "failed"}, states
        runs = folder.glob("stopped/*/records/run.json")
        assert {json.loads(run.read_text(encoding="utf-8"))["status"] for run in runs} == {"stopped"}
        print(f"a stop: exit 75, {states}")
        again, _ = batch(folder, folder / "stopped", "--ray")
        assert again == 65
        for label in ("one", "two"):
            assert results(folder / "stopped" / label) == results(folder / "here" / label), label
        print("after the stop: the same bytes")


if __name__ == "__main__":
    main()
