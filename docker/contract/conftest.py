"""Tries the built image through the engine alone, as a batch service would: ``pytest docker/contract --image kolora``.

``-n 2`` halves the time on two cores, as each run computes on one. Every run is without network, without rights, with a
read-only root, a small /dev/shm and a user that nobody knows, unless a test says otherwise.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
STRICT = (
    *("--network", "none", "--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL"),
    *("--security-opt", "no-new-privileges", "--shm-size", "64m", "--user", "12345:0"),
)
QUIET = ("-e", "OMP_NUM_THREADS=1")
"""Two threads on a machine with other work wait for one another, ten times longer than they compute."""
SMALL = "/specs/small.yaml"
NAME = "small"
"""Its name, and that of its run folder."""
LORAS = tuple(f"lora/{name}.safetensors" for name in ("diffsynth", "pytorch_lora_weights", "kohya"))
TOKENS = {"HF_TOKEN": "hf_CONTRACTsecretONE", "MODELSCOPE_API_TOKEN": "ms-CONTRACTsecretTWO"}
FIGURES: list[str] = []
"""What the tests measured, printed at the end."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--image", default="kolora", help="the image to try")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest test, which else one core would end with while the other has nothing left to do."""
    items.sort(key=lambda item: "quickstart" not in item.name)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    for line in FIGURES:
        terminalreporter.write_line(line)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Send what was measured from a worker of ``-n`` to where it is printed."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["figures"] = FIGURES


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    FIGURES.extend(getattr(node, "workeroutput", {}).get("figures", ()))


@dataclass(frozen=True)
class Ended:
    """A container that has ended."""

    code: int
    out: str
    err: str
    seconds: float

    @property
    def lines(self) -> list[dict[str, Any]]:
        """Its stdout, every line of which is to be one JSON object."""
        return [json.loads(line) for line in self.out.splitlines()]


class Running:
    """A container at work; its name is for the engine."""

    def __init__(self, command: Sequence[str], name: str) -> None:
        self.name = name
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.told = ""

    def wait_for(self, message: str) -> bool:
        """Read on until a line's message begins so; False where the container ends before."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.told += line
            if f'"message": "{message}' in line:
                return True
        return False

    def signal(self, name: str) -> tuple[int, float]:
        """Send a signal; returns the exit code, and the seconds until the container was gone."""
        began = time.monotonic()
        subprocess.run(["docker", "kill", "--signal", name, self.name], check=False, capture_output=True)
        assert self.process.stdout is not None
        with self.process.stdout:
            self.told += self.process.stdout.read()
        return self.process.wait(), time.monotonic() - began


@dataclass(frozen=True)
class Engine:
    """The engine, and the image under trial."""

    image: str

    def plain(self, *arguments: str, flags: Sequence[str] = (), given: str | None = None) -> Ended:
        """Run the image with no flags but those named."""
        began = time.monotonic()
        done = subprocess.run(
            ["docker", "run", "--rm", *QUIET, *flags, self.image, *arguments],
            input=given,
            capture_output=True,
            text=True,
            check=False,
        )
        return Ended(done.returncode, done.stdout, done.stderr, time.monotonic() - began)

    def run(self, *arguments: str, flags: Sequence[str] = (), given: str | None = None) -> Ended:
        """Run the image under the strict flags."""
        return self.plain(*arguments, flags=[*STRICT, *flags], given=given)

    def begin(self, *arguments: str, flags: Sequence[str] = ()) -> Running:
        """Start a strict run, to be disturbed."""
        name = f"kolora-contract-{uuid.uuid4().hex[:12]}"
        return Running(["docker", "run", "--rm", "--name", name, *QUIET, *STRICT, *flags, self.image, *arguments], name)


@pytest.fixture(scope="session")
def figures() -> list[str]:
    """Keep what was measured, for the end of the report."""
    return FIGURES


@pytest.fixture(scope="session")
def engine(request: pytest.FixtureRequest) -> Engine:
    return Engine(request.config.getoption("--image"))


@pytest.fixture(scope="session")
def specs(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Mount the small story, read-only."""
    folder = tmp_path_factory.mktemp("specs")
    shutil.copy(HERE / "small.yaml", folder)
    folder.chmod(0o755)
    return ["-v", f"{folder}:/specs:ro"]


@pytest.fixture(scope="session")
def folder(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Path]]:
    """Make folders that any user may write; what strangers left in them is removed by the image's root."""
    root = tmp_path_factory.mktemp("volumes")

    def make() -> Path:
        made = root / uuid.uuid4().hex[:8]
        made.mkdir()
        made.chmod(0o777)
        return made

    yield make
    engine.plain(
        "-c", "rm -rf /volumes/*", flags=["-v", f"{root}:/volumes", "--user", "0:0", "--entrypoint", "/bin/sh"]
    )


@pytest.fixture(scope="session")
def shifted(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Let a container begin in 2038, when seconds no longer fit in 31 bits: by Debian's libfaketime, lent to it."""
    folder = tmp_path_factory.mktemp("faketime")
    script = "cd /tmp; apt-get update -qq; apt-get download -qq libfaketime; dpkg -x libfaketime_*.deb /faketime"
    root = ["--network", "host", "--user", "0:0", "--entrypoint", "/bin/sh", "-v", f"{folder}:/faketime"]
    fetched = engine.plain("-ec", script, flags=root)
    assert fetched.code == 0, fetched
    (library,) = folder.rglob("libfaketimeMT.so.1")
    preload = f"LD_PRELOAD=/faketime/{library.relative_to(folder)}"
    return ["-v", f"{folder}:/faketime:ro", "-e", preload, "-e", "FAKETIME=@2038-06-01 00:00:00"]


@dataclass(frozen=True)
class Undisturbed:
    """The small story as it comes out when nothing disturbs it, and the heartbeats seen on the way."""

    out: Path
    ended: Ended
    beats: list[dict[str, Any]]


@pytest.fixture(scope="session")
def undisturbed(engine: Engine, specs: list[str], folder: Callable[[], Path]) -> Undisturbed:
    """Tell the small story once, tokens in its environment, watching the heartbeat."""
    volume, cache, beats = folder(), folder(), []
    out = volume / NAME
    tokens = [part for name, value in TOKENS.items() for part in ("-e", f"{name}={value}")]
    flags = ["-v", f"{volume}:/out", "-v", f"{cache}:/cache", *tokens, *specs]
    began = time.monotonic()
    process = subprocess.Popen(
        ["docker", "run", "--rm", *QUIET, *STRICT, *flags, engine.image, SMALL],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while process.poll() is None:
        if (out / "status.json").is_file():
            beat = json.loads((out / "status.json").read_text())
            beats += [beat] if beats[-1:] != [beat] else []
        time.sleep(0.05)
    told, complaints = process.communicate()
    beats.append(json.loads((out / "status.json").read_text()))
    ended = Ended(process.returncode, told, complaints, time.monotonic() - began)
    FIGURES.append(f"the small story, undisturbed: {ended.seconds:.1f} s")
    assert ended.code == 0, ended
    return Undisturbed(out, ended, beats)


def results(out: Path) -> dict[str, str]:
    """Digest the LoRA and every picture of a run folder."""
    paths = [*(out / name for name in LORAS), out / "grid.png", *sorted((out / "images").rglob("*.png"))]
    return {path.relative_to(out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


@pytest.fixture(scope="session")
def same(undisturbed: Undisturbed) -> Callable[[Path], bool]:
    """Say whether a run folder is complete and holds the undisturbed run's bytes."""
    wanted = results(undisturbed.out)

    def compare(out: Path) -> bool:
        return results(out) == wanted and (out / "manifest.sha256").is_file()

    return compare
