"""A run on the tiny checkpoint, its submission, and the run rebuilt of it, once for all tests here."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from kolora.events import ignore
from kolora.execution.signals import Halt
from kolora.export.finished import read_finished
from kolora.export.submission import write_pack
from kolora.runfolder.lock import read_lock
from kolora.spec import load_story
from kolora.verification.expected import Expectations
from kolora.verification.rebuild import Rebuilt, Task, rebuild
from kolora.verification.resolve import Folders

from tests.commands import left
from tests.stories import write_story
from tests.verification.forger import Forger, copied

NAME = "渡口-可图Kolors训练-一只小猫"


@pytest.fixture(scope="session")
def done(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``run``, a run folder, ``pack``, its submission, and the ``checkpoint`` they were made with."""
    folder = tmp_path_factory.mktemp("verify")
    story = write_story(
        folder,
        tiny_checkpoint,
        team="渡口",
        lora__steps=2,
        lora__sample_every=1,
        lora__sample_scenes=1,
        render__steps=2,
    )
    assert left("run", story, "-o", folder / "run") == 0
    write_pack(read_finished(folder / "run"), folder / "pack", name=NAME)
    return folder


@pytest.fixture(scope="session")
def rebuilt(done: Path, tmp_path_factory: pytest.TempPathFactory) -> Rebuilt:
    """The run rebuilt here, as ``verify`` does it."""
    out = tmp_path_factory.mktemp("rebuilt")
    lora = shutil.copy(done / "pack" / "lora" / "diffsynth.safetensors", out / "lora.safetensors")
    source = (done / "pack" / "story.yaml").read_bytes()
    return rebuild(
        Task(
            story=load_story(source),
            source=source,
            lock=read_lock((done / "pack" / "story.lock.yaml").read_bytes(), name="story.lock.yaml"),
            lora=Path(lora),
            out=out,
            device="cpu",
            folders=Folders(checkpoint=done / "checkpoint"),
            retrain=True,
            on_event=ignore,
            halt=Halt(),
        )
    )


@pytest.fixture(scope="session")
def expectations(rebuilt: Rebuilt, tmp_path_factory: pytest.TempPathFactory) -> Expectations:
    return Expectations(rebuilt, tmp_path_factory.mktemp("expected"))


@pytest.fixture(scope="module")
def run_folder(done: Path, expectations: Expectations, tmp_path_factory: pytest.TempPathFactory) -> Forger:
    return _forger(done / "run", expectations, tmp_path_factory.mktemp("forged"), None)


@pytest.fixture(scope="module")
def submission(done: Path, expectations: Expectations, tmp_path_factory: pytest.TempPathFactory) -> Forger:
    return _forger(done / "pack", expectations, tmp_path_factory.mktemp("forged"), NAME)


def _forger(source: Path, expectations: Expectations, folder: Path, name: str | None) -> Forger:
    forger = Forger(copied(source, folder / "pack"), expectations, folder / "place", name)
    assert forger.verdict({}) == "identical", "the control"
    return forger
