"""Small stories on the tiny checkpoint, and what a run of one leaves."""

from __future__ import annotations

import copy
import hashlib
from pathlib import Path
from typing import Any

import yaml

STORY: dict[str, Any] = {
    "kolora": 1,
    "name": "tiny",
    "title": "一只小猫",
    "dataset": {"source": "pocket", "style": "ink", "count": 5, "min_images": 3},
    "filters": [{"image_shape_filter": {"min_width": 64}}],
    "lora": {"rank": 2, "alpha": 2, "steps": 6, "batch_size": 2, "learning_rate": 1e-3, "resolution": 64},
    "render": {"width": 64, "height": 64, "steps": 3, "guidance_scale": 3},
    "scenes": [
        {"title": "早晨", "prompt": "一只白色小猫坐在窗前", "seed": 1},
        {"title": "夜晚", "prompt": "一只白色小猫在星空下睡着了", "seed": 2},
    ],
    "grid": {"columns": 2, "width": 128, "height": 64},
}


def write_story(folder: Path, checkpoint: Path, **changes: Any) -> Path:
    """Write ``story.yaml`` into ``folder``; a change names a key with __ for the dot: ``lora__rank=4``.

    The checkpoint is reached by a link in the folder, as a story may only use its own.
    """
    story = copy.deepcopy(STORY) | {"model": {"checkpoint": "checkpoint"}}
    for key, value in changes.items():
        *path, last = key.split("__")
        place: Any = story
        for name in path:
            place = place[int(name)] if isinstance(place, list) else place[name]
        place[int(last) if isinstance(place, list) else last] = value
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "story.yaml"
    path.write_text(yaml.safe_dump(story, allow_unicode=True), encoding="utf-8")
    if not (folder / "checkpoint").exists():
        copy_tree(checkpoint, folder / "checkpoint")
    return path


def copy_tree(source: Path, target: Path) -> None:
    """Copy a folder by hard links, which cost nothing."""
    for path in source.rglob("*"):
        if path.is_file():
            (target / path.relative_to(source)).parent.mkdir(parents=True, exist_ok=True)
            (target / path.relative_to(source)).hardlink_to(path)


REPEATS = ("data/**/*", "images/**/*.png", "lora/**/*", "grid.png", "story.lock.yaml")
"""Files that must come out the same, however often a run is killed; reports and records tell times, and so do not."""


def results(out: Path) -> dict[str, str]:
    """Digest every published file that must repeat: pictures with and without the LoRA, LoRA, curves, data, lock."""
    paths = sorted({path for pattern in REPEATS for path in out.glob(pattern) if path.is_file()})
    return {path.relative_to(out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
