"""The lock: what it holds, what a run refuses because of it, and how a stranger's is read."""

from __future__ import annotations

import copy
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from kolora.errors import InputAbsent, SchemaTooNew
from kolora.execution.locks import ActiveLock
from kolora.hubs.store import RepoRequest
from kolora.runfolder.lock import DEEPEST, read_lock

from tests.commands import left
from tests.hubs.loopback import LoopbackHub
from tests.pictures import make_pictures
from tests.stories import copy_tree, results, write_story


@pytest.fixture(scope="module")
def done(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of a story with pictures of its own, and the lock it left laid beside the story."""
    folder = tmp_path_factory.mktemp("locked")
    make_pictures(folder / "pictures", count=4)
    dataset = {"source": "folder", "path": "pictures", "caption": "一张画"}
    story = write_story(folder, tiny_checkpoint, dataset=dataset, filters=[], scenes=[{"prompt": "一只小猫"}])
    assert left("run", story, "-o", folder / "out", "--set", "lora.steps=2") == 0
    shutil.copyfile(folder / "out" / "story.lock.yaml", folder / "story.lock.yaml")
    return folder


@pytest.fixture
def locked(done: Path, tmp_path: Path) -> Path:
    copy_tree(done, tmp_path)
    story = tmp_path / "story.yaml"
    text = story.read_text(encoding="utf-8")
    story.unlink()
    story.write_text(text, encoding="utf-8")
    return tmp_path


def lock_in(folder: Path) -> dict[str, Any]:
    lock: dict[str, Any] = yaml.safe_load((folder / "story.lock.yaml").read_text(encoding="utf-8"))
    return lock


def change(folder: Path, **values: Any) -> None:
    """Write a lock with other values at the top."""
    text = yaml.safe_dump(lock_in(folder) | values, allow_unicode=True)
    (folder / "story.lock.yaml").unlink()
    (folder / "story.lock.yaml").write_text(text, encoding="utf-8")


def test_a_lock_resolves_everything_that_could_change_a_result(done: Path) -> None:
    lock = lock_in(done / "out")
    assert lock["lock"] == 2
    assert lock["overrides"] == ["lora.steps=2"]
    assert lock["story"]["lora"]["steps"] == 2
    assert "negative_prompt" not in lock["story"]["render"], "defaults are not written: what they are may change"
    assert {"unet/config.json", "vae/config.json"} <= set(lock["checkpoint"]["files"])
    assert "clip/model.safetensors" not in lock["checkpoint"]["files"], "a scorer of its own"
    assert all(len(each) == 64 for each in lock["checkpoint"]["files"].values())
    assert len(lock["dataset"]["files"]) >= 4
    (first, *_) = sorted(lock["dataset"]["kept"])
    assert lock["dataset"]["kept"][first]["text"] == "一张画"
    assert lock["dataset"]["kept"][first]["source"] in lock["dataset"]["files"]
    assert {"config.json", "model.safetensors"} <= set(lock["scorers"]["clip"]["files"])
    assert lock["packages"]["torch"]
    steps = [step for numerics in lock["numerics"] for step in numerics["steps"]]
    assert {"encode_prompt-01", "cache_latents", "train", "render-01", "score"} <= set(steps)
    assert not {"fetch", "filter", "export_lora", "grid"} & set(steps), "they compute nothing on the checkpoint"
    assert {each["dtype"] for each in lock["numerics"]} == {"float32"}
    assert all(each["device_class"] for each in lock["numerics"])
    assert set(lock["results"]) >= {"lora/pytorch_lora_weights.safetensors", "images/01.png", "grid.png"}


def test_a_run_with_its_lock_makes_the_same_bytes_and_the_same_lock(locked: Path) -> None:
    assert left("run", locked / "story.yaml", "-o", locked / "two", "--set", "lora.steps=2") == 0
    assert results(locked / "two") == results(locked / "out")
    assert (locked / "two" / "story.lock.yaml").read_bytes() == (locked / "out" / "story.lock.yaml").read_bytes()


def test_what_drifted_is_named_before_anything_runs(locked: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = next(each for each in sorted((locked / "pictures").iterdir()) if each.suffix != ".txt")
    picture.unlink()
    config = locked / "checkpoint" / "scheduler" / "scheduler_config.json"
    text = config.read_text(encoding="utf-8")
    config.unlink()
    config.write_text(text.replace("1100", "1000"), encoding="utf-8")
    assert left("run", locked / "story.yaml", "-o", locked / "two") == 66
    told = capsys.readouterr().err
    assert "what the story uses differs from" in told
    assert "story.lock.yaml:" in told
    assert "checkpoint is not what the lock pins: scheduler/scheduler_config.json has other bytes" in told
    assert f"dataset is not what the lock pins: {picture.name} is gone" in told
    assert not (locked / "two").exists()
    assert left("run", locked / "story.yaml", "-o", locked / "two", "--accept-environment") == 66
    assert left("run", locked / "story.yaml", "-o", locked / "two", "--until", "fetch", "--no-lock") == 0


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"packages": {"torch": "1.0"}}, "the lock has 1.0"),
        ({"kolora": "0.0.1"}, "kolora is "),
        ({"image": "sha256:abc"}, "the image is none, the lock has sha256:abc"),
        ({"numerics": [{"steps": ["train"], "device": "cuda", "device_class": "A card"}]}, "the lock has A card"),
    ],
)
def test_another_environment_is_refused_unless_it_is_accepted(
    locked: Path, capsys: pytest.CaptureFixture[str], changed: dict[str, Any], told: str
) -> None:
    change(locked, **changed)
    assert left("run", locked / "story.yaml", "-o", locked / "two", "--until", "fetch") == 66
    said = capsys.readouterr().err
    assert told in said
    assert "--accept-environment" in said
    assert left("run", locked / "story.yaml", "-o", locked / "two", "--until", "fetch", "--accept-environment") == 0


def test_a_run_folder_goes_on_whatever_its_own_lock_says(locked: Path) -> None:
    change(locked / "out", packages={"torch": "1.0"})
    (locked / "out" / "checkpoint").symlink_to(locked / "checkpoint")
    (locked / "out" / "pictures").symlink_to(locked / "pictures")
    again = ("run", locked / "out" / "story.yaml", "-o", locked / "out", "--set", "lora.steps=2")
    roots = os.environ | {"KOLORA_ROOTS": str(locked)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KOLORA_ROOTS", roots["KOLORA_ROOTS"])
        assert left(*again, "--lock", locked / "out" / "story.lock.yaml") == 66
        assert left("run", locked / "out" / "story.yaml", "-o", locked / "two", "--until", "fetch") == 66
        assert left(*again) == 0
    assert lock_in(locked / "out")["packages"]["torch"] != "1.0", "what was changed in a complete folder is put right"


def test_plan_names_the_drift(locked: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(locked, packages={"torch": "1.0"})
    assert left("plan", locked / "story.yaml", "-o", locked / "two") == 0
    assert "drifted from story.lock.yaml: torch is" in capsys.readouterr().out


def test_lock_and_no_lock_exclude_each_other(locked: Path) -> None:
    lock = locked / "story.lock.yaml"
    assert left("run", locked / "story.yaml", "--lock", lock, "--no-lock") == 2
    assert left("run", locked / "story.yaml", "--lock", locked / "none.yaml") == 66


@pytest.mark.parametrize(
    ("source", "told"),
    [
        (b"", "is no lock"),
        (b"- 1\n", "is no lock"),
        (b"lock: 1\n", "kolora: Field required"),
        (b"a: &a [1]\nb: *a\n", "an alias"),
        (b"[" * (DEEPEST + 1) + b"]" * (DEEPEST + 1), "nested deeper"),
        (b"!!python/object/apply:os.system [echo]\n", "is no lock"),
        (b"\xff\xfe\x00", "is no lock"),
        (b"lock: {", "is no lock"),
    ],
)
def test_a_strangers_lock_is_plain_values_or_refused(source: bytes, told: str) -> None:
    with pytest.raises(InputAbsent, match=told):
        read_lock(source, name="story.lock.yaml")


def test_a_lock_of_a_later_kolora_is_said_to_be_one() -> None:
    with pytest.raises(SchemaTooNew, match="lock: 3"):
        read_lock(b"lock: 3\n", name="story.lock.yaml")


def test_a_lock_pins_the_revision_and_the_pictures_of_a_hub(
    loopback: LoopbackHub,
    tiny_checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    done: Path,
) -> None:
    """A lock says v1; the hub has moved on to other pictures meanwhile."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KOLORA_CACHE", str(tmp_path / "cache"))
    files = {path.name: path.read_bytes() for path in sorted((done / "pictures").iterdir())}
    loopback.publish("dataset", "some/set", files, branch="v1")
    loopback.publish("dataset", "some/set", dict(list(files.items())[:2]))
    dataset = {"source": "modelscope", "id": "some/set", "caption": "一张画"}
    story = write_story(
        tmp_path / "story", tiny_checkpoint, dataset=dataset, filters=[], scenes=[{"prompt": "一只小猫"}]
    )
    lock = copy.deepcopy(lock_in(done))
    lock["dataset"] |= {"origin": {"hub": "modelscope", "id": "some/set", "revision": "v1"}}
    story.with_suffix(".lock.yaml").write_text(yaml.safe_dump(lock), encoding="utf-8")
    assert left("run", story, "--until", "fetch", "-o", "one") == 0
    assert json.loads(Path("one/records/fetch.json").read_text(encoding="utf-8"))["facts"]["images"] >= 3
    assert left("run", story, "--until", "fetch", "-o", "two", "--no-lock") == 0
    assert left("run", story, "--until", "fetch", "-o", "two", "--offline") == 0
    capsys.readouterr()


def test_pins_fill_in_a_revision_and_replace_none() -> None:
    pins = {("huggingface", "model", "a/b"): "r1"}
    assert RepoRequest("huggingface", "model", "a/b").pinned(pins).revision == "r1"
    assert RepoRequest("huggingface", "model", "a/b", revision="r2").pinned(pins).revision == "r2"
    assert RepoRequest("modelscope", "model", "a/b").pinned(pins).revision is None


def test_a_run_computes_with_the_locks_threads(done: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    active_lock = ActiveLock(read_lock((done / "story.lock.yaml").read_bytes(), name="story.lock.yaml"))
    monkeypatch.delenv("OMP_NUM_THREADS")
    active_lock.limit_threads(device="cuda")
    assert "OMP_NUM_THREADS" not in os.environ
    active_lock.limit_threads(device="cpu")
    code = "import torch; print(torch.get_num_threads())"
    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert told.stdout.strip() == "1"
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    active_lock.limit_threads(device="cpu")
    assert os.environ["OMP_NUM_THREADS"] == "2"
