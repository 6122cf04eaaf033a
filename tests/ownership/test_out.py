"""OUT is the user's until kolora's mark says otherwise: nothing of theirs is lost, no link followed, nothing hangs."""

from __future__ import annotations

import json
import shutil
from itertools import product
from pathlib import Path

import pytest
from kolora.ownership import MARK
from kolora.runfolder import layout

from tests.commands import left
from tests.pictures import make_pictures
from tests.stories import copy_tree, results, write_story
from tests.trees import PLANTS, make_victim, plant, tree_of

SMALL = {"filters": [], "lora__steps": 1, "render__steps": 1, "scenes": [{"prompt": "一只白色小猫", "seed": 1}]}
NAMES = sorted(layout.ALWAYS | {layout.GRID, layout.LEDGER, "images/01.png", "data/train/0001.jpg", "work/notes.txt"})
"""Names that a run writes to, or below which it does."""


@pytest.fixture(scope="module")
def done(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a story, and the finished run of it in ``out``."""
    folder = tmp_path_factory.mktemp("ownership")
    story = write_story(folder, tiny_checkpoint, **SMALL)
    assert left("run", story, "-o", folder / "out") == 0
    return folder


@pytest.fixture
def again(done: Path, tmp_path: Path) -> Path:
    """A copy of that."""
    folder = tmp_path / "again"
    folder.mkdir()
    shutil.copy(done / "story.yaml", folder)
    copy_tree(done / "checkpoint", folder / "checkpoint")
    shutil.copytree(done / "out", folder / "out")
    return folder


@pytest.mark.parametrize("kind", PLANTS)
@pytest.mark.parametrize("name", NAMES)
def test_a_folder_that_is_not_kolora_s_is_refused_and_untouched(
    tiny_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, kind: str
) -> None:
    story = write_story(tmp_path, tiny_checkpoint, **SMALL)
    victim = make_victim(tmp_path)
    plant(kind, tmp_path / "out" / name, victim)
    before = tree_of(tmp_path)
    assert left("run", story, "-o", tmp_path / "out") == 73
    assert "is not empty and has no mark of kolora's" in capsys.readouterr().err
    assert tree_of(tmp_path) == before


HIDDEN = (layout.RUN_LOCK, MARK)


@pytest.mark.parametrize("kind", PLANTS)
@pytest.mark.parametrize("name", HIDDEN)
def test_a_hidden_name_of_kolora_s_is_not_followed_either(
    tiny_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, kind: str
) -> None:
    story = write_story(tmp_path, tiny_checkpoint, **SMALL)
    victim = make_victim(tmp_path)
    plant(kind, tmp_path / "out" / name, victim)
    before = tree_of(tmp_path)
    # A file that is only locked may be anybody's: it is neither read nor written.
    if (name, kind) == (layout.RUN_LOCK, "file"):
        assert left("run", story, "-o", tmp_path / "out", "--until", "fetch") == 0
    else:
        assert left("run", story, "-o", tmp_path / "out") == 73
        assert name in capsys.readouterr().err
    after = tree_of(tmp_path)
    assert {path: after[path] for path in before} == before


WRITTEN = sorted(layout.ALWAYS | {layout.GRID, layout.LEDGER, "images/01.png", *layout.LORAS.values()})
PLACES = sorted({layout.WORK, layout.RECORDS, layout.LOGS, "images", "lora", "data", layout.TRAINING_SET})


COMMANDS = {"run": (), "forced": ("--force", "grid"), "fresh": ("--fresh", "--until", "fetch"), "report": None}
ALL = list(product([*WRITTEN, *PLACES, layout.RUN_LOCK, MARK], [kind for kind in PLANTS if kind != "file"], COMMANDS))
PLAIN = ALL[::37]
"""Which of them every test run tries; 37 has no divisor in common with the numbers of kinds and commands."""


@pytest.mark.parametrize(
    ("name", "kind", "command"),
    [pytest.param(*each, marks=[] if each in PLAIN else pytest.mark.sweep) for each in ALL],
)
def test_what_stands_in_a_run_folder_in_place_of_a_file_is_named_or_put_right(
    again: Path, capsys: pytest.CaptureFixture[str], name: str, kind: str, command: str
) -> None:
    victim = make_victim(again)
    plant(kind, again / "out" / name, victim)
    before = tree_of(victim)
    story, out = again / "story.yaml", again / "out"
    options = COMMANDS[command]
    code = left("report", out) if options is None else left("run", story, "-o", out, *options)
    told = capsys.readouterr()
    assert tree_of(victim) == before
    assert code in (0, 65, 66, 73)
    if code:
        assert name.partition("/")[0] in told.err
    if kind == "folder":
        assert any(path.name == "mine.txt" for path in out.rglob("*")), "what the user put there"


def test_files_of_the_user_s_beside_kolora_s_stay(again: Path) -> None:
    mine = [
        "images/99.png",
        "images/mine.png",
        "data/train/mine.jpg",
        "records/mine.json",
        "work/notes.txt",
        "note.txt",
    ]
    for name in mine:
        (again / "out" / name).write_text("mine")
    for options in ((), ("--force", "grid"), ("--fresh",)):
        assert left("run", again / "story.yaml", "-o", again / "out", *options) == 0
        assert {(again / "out" / name).read_text() for name in mine} == {"mine"}
    assert "mine" not in (again / "out" / "manifest.sha256").read_text(), "only what kolora wrote is promised"


def test_a_file_of_the_user_s_where_a_new_scene_goes_is_refused_before_any_work(
    again: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (again / "out" / "images" / "02.png").write_text("mine")
    before = tree_of(again / "out")
    more = 'scenes=[{prompt: "一只白色小猫", seed: 1}, {prompt: "一只黑色小狗", seed: 2}]'
    assert left("run", again / "story.yaml", "-o", again / "out", "--set", more) == 73
    assert "images/02.png, which kolora did not write" in capsys.readouterr().err
    assert tree_of(again / "out") == before


def test_the_run_folder_of_another_story_is_refused(again: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = tree_of(again / "out")
    assert left("run", again / "story.yaml", "-o", again / "out", "--set", "name=other") == 73
    told = capsys.readouterr().err
    assert "is the run folder of 'tiny'" in told
    assert f"-o {again / 'other'}\n" in told, "beside it, not in it"
    assert tree_of(again / "out") == before


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("dataset", "{source: folder, path: out/data/train, caption: a}"),
        ("dataset", "{source: folder, path: out/images, caption: a}"),
        ("render.lora", "out/lora/diffsynth.safetensors"),
        ("scores.clip", "out/work/clip"),
    ],
)
def test_data_that_the_run_would_write_over_is_refused(
    again: Path, capsys: pytest.CaptureFixture[str], key: str, path: str
) -> None:
    before = tree_of(again / "out")
    assert left("run", again / "story.yaml", "-o", again / "out", "--set", f"{key}={path}") == 65
    assert "the run writes its own" in capsys.readouterr().err
    assert tree_of(again / "out") == before


def test_published_files_are_copies(again: Path) -> None:
    out = again / "out"
    assert left("run", again / "story.yaml", "-o", out, "--fresh") == 0
    published = [path for path in out.rglob("*") if path.is_file() and path.relative_to(out).parts[0] != "work"]
    assert {path.stat().st_nlink for path in published} == {1}
    picture = (out / "images" / "01.png").read_bytes()
    (out / "images" / "01.png").write_bytes(b"edited in place")
    assert left("run", again / "story.yaml", "-o", out) == 0
    assert (out / "images" / "01.png").read_bytes() == picture


def test_a_complete_folder_with_a_changed_or_missing_file_is_put_right_and_told(
    again: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, wanted = again / "out", results(again / "out")
    for name in wanted:
        for damage in (lambda path: path.write_bytes(path.read_bytes()[:-1] + b"\0"), Path.unlink):
            damage(out / name)
            assert left("run", again / "story.yaml", "-o", out) == 0
            assert results(out) == wanted
            assert name in capsys.readouterr().out
    assert left("run", again / "story.yaml", "-o", out) == 0
    assert "nothing to do" in capsys.readouterr().out


def test_a_copied_and_a_moved_folder_go_on(again: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(again / "out", again / "copied")
    (again / "out").rename(again / "moved")
    for name in ("copied", "moved"):
        assert left("run", again / "story.yaml", "-o", again / name) == 0
        assert "nothing to do" in capsys.readouterr().out


@pytest.fixture
def of_default(tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a story, in which the command line is at work."""
    write_story(tmp_path, tiny_checkpoint, **SMALL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KOLORA_OUT", raising=False)
    return tmp_path


@pytest.mark.parametrize("root", ["out", "elsewhere"])
def test_a_run_goes_to_the_folder_of_its_name(of_default: Path, monkeypatch: pytest.MonkeyPatch, root: str) -> None:
    if root != "out":
        monkeypatch.setenv("KOLORA_OUT", root)
    (of_default / root).mkdir()
    (of_default / root / "story.yaml").write_text("mine")
    assert left("run", "story.yaml", "--until", "fetch") == 0
    assert (of_default / root / "tiny" / "records" / "fetch.json").is_file()
    assert (of_default / root / "story.yaml").read_text() == "mine"


def test_a_data_set_in_which_runs_lie_is_the_same_every_time(
    of_default: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_pictures(of_default, count=4)
    dataset = {"source": "folder", "path": ".", "caption": "一张画"}
    write_story(of_default, of_default / "checkpoint", **(SMALL | {"dataset": dataset}))
    digests = set()
    for name in ("tiny", "tiny", "other"):
        assert left("run", "story.yaml", "--set", f"name={name}", "--until", "filter") == 0
        facts = json.loads((of_default / "out" / name / "records" / "fetch.json").read_text())
        digests.add((facts["digest"], facts["facts"]["images"]))
    assert len(digests) == 1
    assert "out/tiny was written by kolora and is no part of the data set" in capsys.readouterr().out


def test_two_stories_without_a_name_do_not_share_a_folder(of_default: Path, capsys: pytest.CaptureFixture[str]) -> None:
    unnamed = (of_default / "story.yaml").read_text(encoding="utf-8").replace("name: tiny\n", "")
    for name in ("a.yaml", "b.yaml"):
        (of_default / name).write_text(unnamed, encoding="utf-8")
    assert left("run", "a.yaml", "--until", "fetch") == 0
    before = tree_of(of_default / "out")
    assert left("run", "b.yaml", "--until", "fetch") == 73
    assert "holds the run of a.yaml" in capsys.readouterr().err
    assert tree_of(of_default / "out") == before
    assert left("run", "a.yaml", "--until", "fetch") == 0
    assert left("run", "b.yaml", "--until", "fetch", "-o", "out/story") == 0


def test_a_link_that_a_repository_brings_in_place_of_the_run_folder_is_not_followed(
    of_default: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = of_default / "empty"
    empty.mkdir()
    (of_default / "out").mkdir()
    (of_default / "out" / "tiny").symlink_to(empty)
    assert left("run", "story.yaml") == 73
    assert f"-o {empty}" in capsys.readouterr().err
    assert not list(empty.iterdir())
    assert left("run", "story.yaml", "-o", "out/tiny", "--until", "fetch") == 0


def test_a_run_that_lies_in_the_folder_of_run_folders_itself_is_told_of(
    of_default: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert left("run", "story.yaml", "-o", "out", "--until", "fetch") == 0
    (of_default / "out" / MARK).unlink()
    assert left("run", "story.yaml", "--until", "fetch") == 0
    told = capsys.readouterr().out
    assert "out itself holds a run of this story" in told
    assert "-o out" in told
    assert (of_default / "out" / "tiny" / "records" / "fetch.json").is_file()


def test_a_mark_lists_what_kolora_wrote(done: Path) -> None:
    mark = json.loads((done / "out" / MARK).read_text(encoding="utf-8"))
    assert (mark["folder"], mark["name"]) == ("run", "tiny")
    there = {path.relative_to(done / "out").as_posix() for path in (done / "out").rglob("*") if path.is_file()}
    known = {name for name in there if not name.startswith(("work/", "logs/tensorboard/"))} - {MARK, layout.RUN_LOCK}
    assert known <= set(mark["files"])
