"""What lies in OUT of an earlier verification goes on being used where this machine made it, and nowhere else."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from kolora.events import ignore
from kolora.execution.signals import Halt
from kolora.runfolder.lock import read_lock
from kolora.spec import load_story
from kolora.verification import rebuild
from kolora.verification.resolve import Folders


class Reached(Exception):
    """The work would begin here."""


@pytest.fixture
def is_kept(done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], bool]:
    """Rebuild into a folder as far as its kept work is looked at; returns whether that stays."""
    monkeypatch.setenv("KOLORA_CACHE", str(tmp_path / "cache"))
    source = (done / "pack" / "story.yaml").read_bytes()

    def reach(task: rebuild.Task, _: object, state: dict[str, object], *__: object) -> rebuild.Rebuilt:
        (task.out / rebuild.STATE).write_text(json.dumps(state))
        raise Reached

    monkeypatch.setattr(rebuild, "_draw", reach)

    def kept(out: Path) -> bool:
        (out / rebuild.AGAIN).mkdir(parents=True, exist_ok=True)
        lora = Path(shutil.copy(done / "pack" / "lora" / "diffsynth.safetensors", out / "lora.safetensors"))
        task = rebuild.Task(
            story=load_story(source),
            source=source,
            lock=read_lock((done / "pack" / "story.lock.yaml").read_bytes(), name="story.lock.yaml"),
            lora=lora,
            out=out,
            device="cpu",
            folders=Folders(checkpoint=done / "checkpoint"),
            retrain=False,
            on_event=ignore,
            halt=Halt(),
        )
        with pytest.raises(Reached):
            rebuild.rebuild(task)
        return (out / rebuild.AGAIN).is_dir()

    return kept


def test_kept_work_is_used_again(is_kept: Callable[[Path], bool], tmp_path: Path) -> None:
    assert not is_kept(tmp_path / "out")
    assert is_kept(tmp_path / "out")
    assert (tmp_path / "cache" / rebuild.OWN_KEY).stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("foreign", ["shipped", "moved", "guessed", "none", "torn"])
def test_kept_work_of_others_is_not_used(is_kept: Callable[[Path], bool], tmp_path: Path, foreign: str) -> None:
    """Somebody ships the folder of a verification with their submission, forged pictures in it."""
    out, key = tmp_path / "out", tmp_path / "cache" / rebuild.OWN_KEY
    is_kept(out)
    if foreign == "shipped":
        shutil.rmtree(tmp_path / "cache")
    elif foreign == "moved":
        shutil.copytree(out, tmp_path / "other")
        out = tmp_path / "other"
    elif foreign == "torn":
        key.write_text("")
    else:
        state = json.loads((out / rebuild.STATE).read_text())
        state |= {"here": "0" * 64} if foreign == "guessed" else {"here": None}
        (out / rebuild.STATE).write_text(json.dumps(state))
    assert not is_kept(out)
