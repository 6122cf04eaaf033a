"""A process that has loaded everything and runs kolora in children of its own, each a fork: a try costs no start.

It is asked and answers in lines of JSON: ``Nursery`` is the side that asks.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.faults.seam import Fault, Seam

LIMIT_SECONDS = 90
"""Far more than a tiny run takes: what is not over then waits for something that never comes."""
HUNG = -9


@dataclass(frozen=True)
class Outcome:
    """How a run ended: its exit code, what it printed, whether the fault came, and all operations."""

    code: int
    printed: str
    fired: bool
    operations: tuple[str, ...]


class Nursery:
    """The side that asks; scratch: a folder of its own, on the file system of the runs."""

    def __init__(self, scratch: Path, story: Path, cache: Path) -> None:
        scratch.mkdir(parents=True, exist_ok=True)
        self._scratch = scratch
        environment = os.environ | {"KOLORA_CACHE": str(cache), "KOLORA_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
        environment["PYTHONPATH"] = os.pathsep.join((str(Path(__file__).parents[2] / "runner"), str(Path.cwd())))
        with (scratch / "stderr").open("w") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.nursery", str(story), str(scratch / "warm")],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=environment,
                cwd=Path(__file__).parents[2],
            )
        self._answer()

    def run(self, *arguments: str, roots: Sequence[Path] = (), fault: Fault | None = None) -> Outcome:
        """Run the command line with a fault below ``roots``."""
        asked = {
            "arguments": arguments,
            "roots": [str(root) for root in roots],
            "fault": dataclasses.asdict(fault or Fault()),
            "scratch": str(self._scratch),
        }
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        return Outcome(**self._answer())

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, (self._scratch / "stderr").read_text()[-2000:]
        answer: dict[str, Any] = json.loads(line)
        return answer


def _serve(story: str, out: str) -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    _load(story, out)
    answers.write("{}\n")
    answers.flush()
    for line in sys.stdin:
        answers.write(json.dumps(_try(json.loads(line))) + "\n")
        answers.flush()


def _load(story: str, out: str) -> None:
    """Load what a run loads, by a run; up to training, as autograd's threads do not survive a fork."""
    import kolora.datasets.juicer.client
    import kolora.models.checkpoint
    import kolora.rendering.samples
    import kolora.scoring.coherence
    import kolora.scoring.judges
    import kolora.training.loop  # noqa: F401
    from kolora.cli import main

    with contextlib.suppress(SystemExit):
        main(["run", story, "-o", out, "--until", "cache_latents"])


def _try(asked: dict[str, Any]) -> dict[str, Any]:
    backups = Path(asked["scratch"]) / "try"
    shutil.rmtree(backups, ignore_errors=True)
    backups.mkdir()
    child = os.fork()
    if child == 0:
        _be_child(asked, backups)
    code = _wait(child)
    printed = (backups / "printed").read_text(errors="replace")
    fired, *operations = (backups / "operations").read_text().split("\n") if (backups / "operations").exists() else "0"
    return {"code": code, "printed": printed[-6000:], "fired": fired == "1", "operations": operations}


def _be_child(asked: dict[str, Any], backups: Path) -> None:
    code = 70
    try:
        os.setsid()
        # Some commands write into the working directory.
        os.chdir(backups)
        printed = os.open(backups / "printed", os.O_WRONLY | os.O_CREAT)
        for number in (1, 2):
            os.dup2(printed, number)
        seam = Seam(Fault(**asked["fault"]), tuple(map(Path, asked["roots"])), backups)
        if asked["roots"]:
            seam.install()
        from kolora.cli import main

        try:
            main(list(asked["arguments"]))
            code = 0
        except SystemExit as left:
            code = left.code if isinstance(left.code, int) else 70
        seam.report()
    finally:
        os._exit(code)


def _wait(child: int) -> int:
    """Wait for the child, which is killed with all that it started when it takes too long."""
    deadline = time.monotonic() + LIMIT_SECONDS
    while time.monotonic() < deadline:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return HUNG


if __name__ == "__main__":
    _serve(*sys.argv[1:])
