"""Where verify, export and batch write: what lies there and is not kolora's stays, and no link is followed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from kolora.ownership import MARK

from tests.commands import left
from tests.stories import write_story
from tests.trees import PLANTS, make_victim, plant, tree_of

SMALL = {"filters": [], "lora__steps": 1, "render__steps": 1, "scenes": [{"prompt": "一只白色小猫", "seed": 1}]}


@pytest.fixture(scope="module")
def done(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a story, and the finished run of it in ``out``."""
    folder = tmp_path_factory.mktemp("places")
    story = write_story(folder, tiny_checkpoint, **SMALL)
    assert left("run", story, "-o", folder / "out") == 0
    return folder


@pytest.fixture
def run(done: Path, tmp_path: Path) -> Path:
    """A copy of the run folder."""
    shutil.copytree(done / "out", tmp_path / "run")
    return tmp_path / "run"


def verify(done: Path, submission: Path, out: Path) -> int:
    return left("verify", submission, "-o", out, "--checkpoint", done / "checkpoint", "--no-retrain")


@pytest.mark.parametrize("kind", PLANTS)
@pytest.mark.parametrize("name", ["verify.json", "again", "submission/lora.safetensors", "notes.txt"])
def test_verify_refuses_a_folder_that_is_not_its_own(
    done: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, kind: str
) -> None:
    plant(kind, tmp_path / "out" / name, make_victim(tmp_path))
    before = tree_of(tmp_path)
    assert verify(done, done / "out", tmp_path / "out") == 73
    assert "is not empty and has no mark of kolora's" in capsys.readouterr().err
    assert tree_of(tmp_path) == before


def test_verify_writes_into_no_run_folder_and_not_into_the_submission(done: Path, run: Path, tmp_path: Path) -> None:
    before = tree_of(tmp_path)
    assert verify(done, done / "out", run) == 73
    assert verify(done, run, run / "verified") == 73
    assert tree_of(tmp_path) == before


@pytest.mark.parametrize("kind", [kind for kind in PLANTS if kind not in ("file", "folder")])
@pytest.mark.parametrize("name", ["verify.json", "verify.html", "again", "submission", "expected", "difference", MARK])
def test_verify_follows_no_link_in_its_own_folder(done: Path, tmp_path: Path, name: str, kind: str) -> None:
    victim = make_victim(tmp_path)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / MARK).write_text('{"folder": "verification", "name": "", "files": ["verify.json"]}')
    plant(kind, tmp_path / "out" / name, victim)
    before = tree_of(victim)
    assert verify(done, done / "out", tmp_path / "out") == 73
    assert tree_of(victim) == before


def test_what_verify_computed_is_used_again_and_files_of_the_user_s_stay(done: Path, tmp_path: Path) -> None:
    for _ in range(2):
        assert verify(done, done / "out", tmp_path / "out") == 0
        (tmp_path / "out" / "notes.txt").write_text("mine")
        (tmp_path / "out" / "images").mkdir(exist_ok=True)
    assert (tmp_path / "out" / "notes.txt").read_text() == "mine"


TARGETS = {"diffusers": "pytorch_lora_weights.safetensors", "kohya": "tiny.safetensors", "comfyui": "story.json"}


@pytest.mark.parametrize("kind", PLANTS)
@pytest.mark.parametrize("tool", TARGETS)
def test_export_replaces_nothing_of_the_user_s(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], tool: str, kind: str
) -> None:
    plant(kind, tmp_path / "into" / TARGETS[tool], make_victim(tmp_path))
    before = tree_of(tmp_path / "into"), tree_of(tmp_path / "victim")
    assert left("export", run, "--to", tool, "-o", tmp_path / "into") == 73
    assert TARGETS[tool] in capsys.readouterr().err
    after = tree_of(tmp_path / "into"), tree_of(tmp_path / "victim")
    assert {name: after[0][name] for name in before[0]} == before[0]
    assert after[1] == before[1]


@pytest.mark.parametrize("kind", [kind for kind in PLANTS if kind not in ("file", "folder")])
@pytest.mark.parametrize("name", ["export", "export/kohya"])
def test_export_follows_no_link_inside_the_run_folder(run: Path, tmp_path: Path, name: str, kind: str) -> None:
    victim = make_victim(tmp_path)
    plant(kind, run / name, victim)
    before = tree_of(victim)
    assert left("export", run, "--to", "kohya") == 73
    assert tree_of(victim) == before


@pytest.mark.parametrize("place", ["inside", "outside"])
def test_an_export_is_replaced_by_the_next_one(done: Path, run: Path, tmp_path: Path, place: str) -> None:
    into = run / "export" / "kohya" if place == "inside" else tmp_path / "into"
    for count in (1, 2):
        if count == 2:
            assert left("run", done / "story.yaml", "-o", run, "--set", "lora.steps=2") == 0
        assert left("export", run, "--to", "kohya", "-o", into) == 0
        assert (into / "tiny.safetensors").read_bytes() == (run / "lora" / "kohya.safetensors").read_bytes()
    assert [path.name for path in into.iterdir()] == ["tiny.safetensors"]


@pytest.mark.parametrize("kind", PLANTS)
@pytest.mark.parametrize("name", ["batch.json", "batch.html", ".batch", ".batch/.lock"])
def test_batch_replaces_nothing_of_the_user_s(done: Path, tmp_path: Path, name: str, kind: str) -> None:
    victim = make_victim(tmp_path)
    plant(kind, tmp_path / "out" / name, victim)
    before = tree_of(tmp_path)
    code = left("batch", done / "story.yaml", "-o", tmp_path / "out", "--set", "lora.rank=0")
    after = tree_of(tmp_path)
    assert {path: after[path] for path in before} == before
    # A folder that nobody marked may hold more; a lock's content is nobody's.
    assert code == (65 if (name, kind) in ((".batch", "folder"), (".batch/.lock", "file")) else 73)
