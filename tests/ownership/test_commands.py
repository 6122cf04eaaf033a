"""Every command that is given a path: nothing of the user's is lost by it, no path is a bug."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from kolora.ownership import MARK

from tests.commands import left
from tests.stories import write_story
from tests.trees import PLANTS, make_victim, plant, tree_of

PATHS = {
    "too long": "x" * 300,
    "too deep": "/".join(["y" * 200] * 25),
    "circle": "circle",
    "below a circle": "circle/below",
    "pipe": "pipe",
    "below a file": "story.yaml/below",
    "device": "/dev/full",
    "kernel": "/proc/self/below",
    "of the kernel": "/proc/self",
    "no UTF-8": os.fsdecode(b"\xd2\xbb"),
    "line break": "a\nb",
}
COMMANDS = {
    "plan -o": "plan story.yaml -o @",
    "plan": "plan @",
    "report": "report @",
    "export": "export @ --to kohya",
    "export -o": "export out --to kohya -o @",
    "sign": "export out --to submission --practice --team t --sign @",
    "diff": "diff @ out",
    "diff -o": "diff out out -o @",
    "publish": "publish @ --to huggingface --repo a/b",
    "verify": "verify @",
    "verify -o": "verify out -o @",
    "signer": "verify out --signer @",
    "checkpoint": "verify out --checkpoint @",
    "batch": "batch @ --offline",
    "emit": "emit slurm @",
    "emit -o": "emit slurm story.yaml -o @",
    "new": "new @",
    "data": "plan story.yaml --set dataset=@",
    "LoRA": "plan story.yaml --set render.lora=@",
    "model": "plan story.yaml --set model.checkpoint=@",
    "roots": "KOLORA_ROOTS=@ plan story.yaml",
    "cache": "KOLORA_CACHE=@ plan story.yaml",
    "prune": "KOLORA_CACHE=@ cache prune",
    "doctor": "KOLORA_CACHE=@ doctor",
    "root": "KOLORA_OUT=@ plan story.yaml",
}
RIGHT = (0, 2, 65, 66, 73)


@pytest.fixture(scope="module")
def done(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a story, and the finished run of it in ``out``."""
    folder = tmp_path_factory.mktemp("commands")
    scene = {"prompt": "一只白色小猫", "seed": 1}
    story = write_story(folder, tiny_checkpoint, filters=[], lora__steps=1, render__steps=1, scenes=[scene])
    assert left("run", story, "-o", folder / "out") == 0
    return folder


@pytest.fixture
def here(done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of that, with a circle of links and a pipe; the working directory."""
    folder = tmp_path / "here"
    shutil.copytree(done, folder)
    plant("link to itself", folder / "circle", folder)
    plant("pipe", folder / "pipe", folder)
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_no_path_is_a_bug(here: Path, monkeypatch: pytest.MonkeyPatch, command: str, path: str) -> None:
    words = command.split()
    if "=" in words[0]:
        monkeypatch.setenv(words[0].partition("=")[0], path)
        words = words[1:]
    before = tree_of(here / "out" / "images")
    assert left(*(word.replace("@", path) for word in words)) in RIGHT
    assert tree_of(here / "out" / "images") == before


def test_where_nobody_names_a_folder_no_link_is_followed(here: Path) -> None:
    victim = make_victim(here)
    (here / "out" / "verify-out").symlink_to(victim)
    before = tree_of(victim)
    assert left("verify", "out") == 73
    assert tree_of(victim) == before


@pytest.mark.parametrize("listed", [[], {}, "by name", "by other bytes"])
def test_an_export_replaces_only_what_an_export_wrote(here: Path, listed: object) -> None:
    mine = here / "models" / "tiny.safetensors"
    mine.parent.mkdir()
    mine.write_bytes(b"the user's own")
    mark = json.loads((here / "out" / MARK).read_text())
    named = {"by name": [str(mine)], "by other bytes": {str(mine): "0" * 64}}
    mark["exports"] = named.get(listed, listed) if isinstance(listed, str) else listed
    (here / "out" / MARK).write_text(json.dumps(mark))
    assert left("export", "out", "--to", "kohya", "-o", "models") == 73
    assert mine.read_bytes() == b"the user's own"
    mine.unlink()
    for _ in range(2):
        assert left("export", "out", "--to", "kohya", "-o", "models") == 0


@pytest.mark.parametrize("place", ["out", "out/images", "out/work", "out/lora/below", "linked/data"])
def test_no_export_goes_among_the_runs_own_files(here: Path, place: str) -> None:
    (here / "linked").symlink_to("out")
    before = tree_of(here / "out" / "images"), set(tree_of(here / "out"))
    assert left("export", "out", "--to", "comfyui", "-o", place) == 73
    assert (tree_of(here / "out" / "images"), set(tree_of(here / "out"))) == before


@pytest.mark.parametrize("kind", PLANTS)
def test_new_writes_over_and_through_nothing(here: Path, kind: str) -> None:
    victim = make_victim(here)
    plant(kind, here / "new.yaml", victim)
    before = tree_of(here)
    assert left("new", "new.yaml") == 2
    assert tree_of(here) == before


@pytest.mark.parametrize("command", ["emit slurm story.yaml -o jobs", "diff out out -o jobs/job.sbatch"])
@pytest.mark.parametrize("kind", PLANTS)
def test_what_is_in_the_way_is_set_aside_or_refused(
    here: Path, capsys: pytest.CaptureFixture[str], command: str, kind: str
) -> None:
    victim = make_victim(here)
    plant(kind, here / "jobs" / "job.sbatch", victim)
    before, what = tree_of(victim), tree_of(here / "jobs")
    code = left(*command.split())
    assert code == 0 if kind == "file" else code in (2, 73)
    assert tree_of(victim) == before
    if kind == "file":
        assert tree_of(here / "jobs")["job.sbatch.old"] == what["job.sbatch"]
        assert "job.sbatch.old" in capsys.readouterr().err
        assert left(*command.split()) == 0
        assert "job.sbatch.old1" not in tree_of(here / "jobs")
    else:
        assert tree_of(here / "jobs").items() >= what.items()
