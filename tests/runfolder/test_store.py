"""The run folder: atomic steps, records that may be torn, publishing, tidying, sealing."""

import errno
import os
import socket
import subprocess

import pytest
from kolora.errors import OutputUnwritable
from kolora.files import as_unwritable, write_text
from kolora.runfolder.records import RECORD_FORMAT, StepRecord, files_in, parse_record
from kolora.runfolder.store import RunFolder
from kolora.spec.types import Frozen
from kolora.stages.contract import Step


@pytest.fixture
def folder(tmp_path):
    folder = RunFolder(tmp_path / "out")
    with folder.hold("story"):
        yield folder


def record_of(folder, step, digest="d" * 64, **files):
    """Do a step by hand: begin it, write its files, finish it."""
    partial, _ = folder.begin(step, digest)
    for name, text in files.items():
        path = partial / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    stage, _, scene = step.partition("-")
    record = StepRecord(
        format=RECORD_FORMAT,
        kolora="0",
        step=step,
        stage=stage,
        scene=int(scene) if scene else None,
        version=1,
        digest=digest,
        config={},
        inputs={},
        facts={},
        files=files_in(partial),
        started="",
        seconds=1.0,
        peak_memory_bytes={"cpu": 1, "gpu": None},
        numerics={},
    )
    folder.finish(record)
    return record


def test_a_step_is_finished_only_under_its_digest_and_with_all_its_files(folder):
    record = record_of(folder, "fetch", a_txt="one", b__c_txt="two")
    assert folder.finished_record("fetch", record.digest) == record
    assert folder.finished_record("fetch", "e" * 64) is None
    inside = folder.folder("fetch", record.digest)
    (inside / "b" / "c.txt").write_text("t")
    assert folder.finished_record("fetch", record.digest) is None
    assert not list(folder.work.glob("*.partial"))
    assert not list(folder.work.glob("*.state"))


def test_an_interrupted_step_begins_empty_but_keeps_its_state(folder):
    partial, state = folder.begin("train", "d" * 64)
    (partial / "half").write_text("")
    assert not folder.saved_state("train", "d" * 64)
    (state / "state").write_text("saved")
    assert folder.saved_state("train", "d" * 64)
    partial, state = folder.begin("train", "d" * 64)
    assert not list(partial.iterdir())
    assert (state / "state").read_text() == "saved"


@pytest.mark.parametrize("text", ["", "{", '{"step": "fetch"}', "[]"])
def test_a_torn_record_is_none(text):
    assert parse_record(text.encode()) is None


def test_publishing_replaces_and_removes(folder):
    first = record_of(folder, "filter", "1" * 64, train__01_jpg="a", train__02_jpg="b", ledger_jsonl="{}")
    folder.publish(first)
    assert sorted(path.name for path in (folder.root / "data" / "train").iterdir()) == ["01.jpg", "02.jpg"]
    second = record_of(folder, "filter", "2" * 64, train__01_jpg="c", ledger_jsonl="{}")
    folder.publish(second)
    assert [path.read_text() for path in (folder.root / "data" / "train").iterdir()] == ["c"]
    folder.publish(record_of(folder, "render-07", image_png="p"))
    folder.publish(record_of(folder, "baseline-07", image_png="q"))
    assert (folder.root / "images" / "07.png").read_text() == "p"
    assert (folder.root / "images" / "baseline" / "07.png").read_text() == "q"
    assert folder.last_record("filter") == second


def test_samples_of_an_earlier_training_do_not_outlive_it(folder):
    folder.publish(record_of(folder, "train", "1" * 64, samples__0050_png="s", history_json="[]"))
    assert (folder.root / "lora" / "samples" / "0050.png").read_text() == "s"
    folder.publish(record_of(folder, "train", "2" * 64, history_json="[1]"))
    assert [path.name for path in (folder.root / "lora").iterdir()] == ["history.json"]


def test_what_a_failed_filter_found_is_shown(folder):
    folder.publish(record_of(folder, "filter", "1" * 64, dropped__0001_jpg="old", ledger_jsonl="old"))
    partial, _ = folder.begin("filter", "2" * 64)
    (partial / "dropped").mkdir()
    (partial / "dropped" / "0002.jpg").write_text("new")
    (partial / "ledger.jsonl").write_text("new")
    folder.publish_partial("filter", "filter", "2" * 64)
    assert [path.name for path in (folder.root / "data" / "dropped").iterdir()] == ["0002.jpg"]
    assert (folder.root / "data" / "ledger.jsonl").read_text() == "new"


def test_tidying_removes_what_belongs_to_no_step(folder):
    old = record_of(folder, "render-01", "1" * 64, image_png="old")
    new = record_of(folder, "render-01", "2" * 64, image_png="new")
    gone = record_of(folder, "render-02", "3" * 64, image_png="gone")
    for record in (old, new, gone):
        folder.publish(record)
    folder.remove_leftovers([Step("render", Frozen(), scene=1, digest=new.digest)])
    assert [path.name for path in folder.work.iterdir()] == [folder.folder("render-01", new.digest).name]
    assert [path.name for path in folder.root.glob("images/*")] == ["01.png"]
    assert [path.name for path in folder.records.iterdir()] == ["render-01.json"]


def test_the_seal_lists_what_is_published_and_sha256sum_agrees(folder):
    folder.publish(record_of(folder, "render-01", image_png="p"))
    folder.seal()
    assert folder.is_sealed()
    listed = (folder.root / "manifest.sha256").read_text()
    assert "images/01.png" in listed
    assert "work/" not in listed
    subprocess.run(["sha256sum", "-c", "--quiet", "manifest.sha256"], cwd=folder.root, check=True)
    folder.unseal()
    assert not folder.is_sealed()


def test_a_full_disk_and_a_read_only_one_are_told_apart_from_other_errors(tmp_path):
    full = as_unwritable(OSError(errno.ENOSPC, "No space left on device"), tmp_path)
    assert isinstance(full, OutputUnwritable)
    assert "is full" in full.error
    assert "cannot be written" in as_unwritable(OSError(errno.EROFS, "Read-only file system"), tmp_path).error
    assert as_unwritable(OSError(errno.ENOENT, "No such file"), tmp_path) is None


@pytest.mark.parametrize("name", ["new-0123456789abcdef", ".lock", "report.html", "export"])
def test_what_cannot_be_written_is_named_with_its_folder(tmp_path, name):
    relative_to_a_handle = OSError(errno.EROFS, "Read-only file system", name)
    assert as_unwritable(relative_to_a_handle, tmp_path).error == f"{tmp_path} cannot be written: Read-only file system"
    whole = OSError(errno.EROFS, "Read-only file system", str(tmp_path / name))
    assert as_unwritable(whole, tmp_path).error == f"{tmp_path / name} cannot be written: Read-only file system"


@pytest.mark.parametrize("kind", ["pipe", "folder", "socket"])
def test_a_text_takes_the_place_of_no_pipe_folder_or_socket(tmp_path, kind):
    """As root, a device's name would be gone for the whole machine: `/dev/null` among them."""
    with socket.socket(socket.AF_UNIX) as listening:
        make = {"pipe": os.mkfifo, "folder": os.mkdir, "socket": lambda path: listening.bind(str(path))}
        make[kind](tmp_path / "b")
        before = (tmp_path / "b").lstat()
        with pytest.raises(OSError, match="no plain file"):
            write_text(tmp_path / "b", "中文")
    assert [path.name for path in tmp_path.iterdir()] == ["b"]
    assert (tmp_path / "b").lstat().st_ino == before.st_ino


def test_writing_a_text_leaves_no_temporary_file(tmp_path):
    write_text(tmp_path / "a" / "b.txt", "中文")
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b.txt"]
    assert (tmp_path / "a" / "b.txt").read_bytes() == "中文".encode()
