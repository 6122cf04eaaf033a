"""A finished run of eight scenes that score well: what exports start from."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from tests.commands import left
from tests.stories import STORY, write_story


@pytest.fixture(scope="session")
def finished(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the run's folder; nobody may change it."""
    folder = tmp_path_factory.mktemp("finished")
    checkpoint = folder / "generous"
    shutil.copytree(tiny_checkpoint, checkpoint)
    weights = checkpoint / "aesthetics" / "model.safetensors"
    tensors = load_file(weights)
    (bias,) = (name for name in tensors if name.endswith("bias") and tensors[name].shape == (1,))
    tensors[bias] += 7
    save_file(tensors, weights, metadata={"format": "pt"})
    scenes = [{"prompt": f"一只小猫，{{第{number}幕|?}}", "seed": number} for number in range(1, 9)]
    story = write_story(
        folder,
        checkpoint,
        scenes=scenes,
        team="墨韵",
        title="小猫的一天",
        render=STORY["render"] | {"steps": 1},
        lora=STORY["lora"] | {"steps": 1},
        grid={"columns": 4, "width": 256, "height": 128},
    )
    assert left("run", story, "-o", folder / "out") == 0
    return folder / "out"


@pytest.fixture
def out(finished: Path, tmp_path: Path) -> Path:
    """A copy of the run, to change."""
    subprocess.run(["cp", "-r", finished, tmp_path / "out"], check=True)
    return tmp_path / "out"
