"""Adds what this version writes to the promises: ``python -m tests.compat.make``, once a release, before its tag.

The run is of the tests' tiny checkpoint, whose weights depend on nothing but their names. Its work, its training
pictures and its pages are not kept: they are large, and nothing promises them.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path

import kolora
from kolora.runfolder import layout
from kolora.spec import read_story

from tests.stories import write_story
from tests.tiny import write_tiny_checkpoint

HERE = Path(__file__).parent
SPECS = HERE.parents[1] / "specs"
LEFT_OUT = (layout.WORK, layout.LOGS, layout.RUN_LOCK, layout.STATUS, "data", "report.html", "report.zh.html")
CHANGES = {
    "name": "kept",
    "team": "渡口",
    "filters": [{"image_shape_filter": {"min_width": 64}}, "image_aspect_ratio_filter"],
    "dataset": {"source": "pocket", "style": "ink", "count": 4, "min_images": 2},
    "lora__rank": 1,
    "lora__steps": 4,
    "lora__lr_scheduler": "cosine",
    "lora__warmup_steps": 1,
    "lora__target_modules": ["to_q"],
    "lora__preset": "entity",
    "lora__trigger": "阿墨",
    "lora__sample_every": 2,
    "lora__sample_scenes": 1,
    "lora__prior": {"prompt": "一只猫", "count": 2},
    "lora__caption_dropout": 0.25,
    "render__steps": 2,
    "scores": {"threshold": 1.5},
    "report": {"language": "en"},
}


def make(release: str) -> None:
    """Write the stories and the run of a release into the folder of its name."""
    target = HERE / release
    target.mkdir()
    former = sorted(path for path in HERE.iterdir() if (path / "stories" / "everything.yaml").is_file())
    shutil.copytree(former[-1] / "stories", target / "stories")
    for path in SPECS.glob("*.yaml"):
        shutil.copy(path, target / "stories")
    with tempfile.TemporaryDirectory() as scratch:
        write_tiny_checkpoint(Path(scratch) / "tiny")
        story = write_story(Path(scratch) / "story", Path(scratch) / "tiny", **CHANGES)
        shutil.copy(story, target / "stories" / "run.yaml")
        run = kolora.run(kolora.load_story(story), out=Path(scratch) / "run", device="cpu", offline=True)
        shutil.copytree(
            run.folder, target / "run", ignore=lambda folder, _: LEFT_OUT if Path(folder) == run.folder else ()
        )
    meaning = {}
    for path in sorted((target / "stories").glob("*.yaml")):
        meaning[path.name] = read_story(path).model_dump(mode="json")
    (target / "meaning.json").write_text(json.dumps(meaning, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    make(kolora.__version__.rpartition(".")[0])
    sys.stdout.write("look at tests/compat, and let everything.yaml say every key that is new\n")
