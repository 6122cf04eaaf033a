"""A checkpoint's small files say anything: the folder is refused (66) or read, and never a bug of ours."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from kolora.errors import InputAbsent
from kolora.hubs.catalogue import POCKET
from kolora.memory.story import plan_story
from kolora.models.checkpoint import Checkpoint
from kolora.scoring.judges import Aesthetics, Similarity
from kolora.spec import Story
from kolora.stories import find_story
from PIL import Image

from tests.limits.attacks import deep

SPARSE = 3 * 2**30
FILES = sorted(path.relative_to(POCKET).as_posix() for path in POCKET.glob("*/*.json"))


def mapped(change: Callable[[Any], Any]) -> Callable[[Path], None]:
    """Change every value of a file."""

    def spoil(path: Path) -> None:
        values = json.loads(path.read_text(encoding="utf-8"))
        path.write_text(json.dumps(changed(values)), encoding="utf-8")

    def changed(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: changed(each) for key, each in value.items()}
        if isinstance(value, list):
            return [changed(each) for each in value]
        return change(value)

    return spoil


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(SPARSE)


SPOILS: dict[str, Callable[[Path], object]] = {
    "deep": lambda path: path.write_bytes(deep()),
    "sparse": sparse,
    "empty": lambda path: path.write_text("{}", encoding="utf-8"),
    "a list": lambda path: path.write_text("[1]", encoding="utf-8"),
    "huge": mapped(lambda value: 10**12 if is_number(value) else value),
    "zero": mapped(lambda value: 0 if is_number(value) else value),
    "one": mapped(lambda value: 1 if is_number(value) else value),
    "negative": mapped(lambda value: -1 if is_number(value) else value),
    "null": mapped(lambda _: None),
    "words": mapped(lambda _: "a"),
}


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("picture") / "a.png"
    Image.new("RGB", (64, 64)).save(path)
    return path


@pytest.fixture(scope="module")
def story() -> Story:
    return find_story("quickstart", ()).story


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("how", SPOILS)
@pytest.mark.parametrize("name", FILES)
def test_a_spoilt_file_is_refused_or_read(tiny_checkpoint, tmp_path, picture, story, name, how):
    if not (tiny_checkpoint / name).is_file():
        pytest.skip("pocket has it in shards, the tiny one in one file")
    folder = tmp_path / "checkpoint"
    shutil.copytree(tiny_checkpoint, folder)
    SPOILS[how](folder / name)
    if how in ("deep", "sparse"):
        with pytest.raises(InputAbsent):
            use(folder, name.split("/")[0], picture, story)
    else:
        # Anything else that it raises is a bug of ours, which the run would call one.
        with contextlib.suppress(InputAbsent):
            use(folder, name.split("/")[0], picture, story)


def use(folder: Path, part: str, picture: Path, story: Story) -> None:
    """Load what a file belongs to, as a run does."""
    if part == "clip":
        judge = Similarity(folder / "clip", device="cpu")
        judge.pictures([picture])
        judge.texts(["a"])
    elif part == "aesthetics":
        Aesthetics(folder / "aesthetics", device="cpu").grade([picture])
    else:
        plan_story(story, folder, gpu_bytes=8 * 2**30)
        checkpoint = Checkpoint(folder, device="cpu")
        checkpoint.encode_prompt(["a"])
        checkpoint.schedule()
        checkpoint.unet()
        checkpoint.decode(checkpoint.encode(torch.zeros(1, 3, 64, 64)))
