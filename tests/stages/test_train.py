"""The stages around training leave what they promise, the same when a run was cut, and facts for the report."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from kolora.errors import Stopped
from kolora.models.checkpoint import Checkpoint
from kolora.runfolder.records import files_in
from kolora.spec.sections.lora import Lora, Prior
from kolora.spec.sections.scene import SampleScene
from kolora.stages import cache_latents, encode_prior, encode_prompt, prior, train
from kolora.stages.contract import Job, Key, Tick, step_name
from kolora.training.config import TrainingConfig
from kolora.training.state import read_state, write_state
from PIL import Image

from tests.faults.damage import DAMAGES, Damage, is_untouched, make_outside

SCENE = SampleScene(number=1, seed=5, width=64, height=64, steps=1, guidance_scale=3.0)
LORA = Lora(rank=2, steps=4, resolution=64, sample_every=2)


def go_on(*_: int) -> None:
    """Let the stage run."""


class Stages:
    """Runs stages one after the other in a folder, on the tiny checkpoint."""

    def __init__(self, root: Path, checkpoint: Checkpoint) -> None:
        self.root, self.checkpoint = root, checkpoint
        self.notices: list[str] = []

    def clear(self, name: str) -> None:
        """Forget a stage and its state."""
        for folder in (self.root / name, self.root / f"{name}.state"):
            shutil.rmtree(folder)

    def run(self, stage: Any, config: Any, name: str, *needs: Key, tick: Tick = go_on) -> dict[str, Any]:
        shutil.rmtree(self.root / name, ignore_errors=True)
        (self.root / name).mkdir()
        (self.root / f"{name}.state").mkdir(exist_ok=True)
        job = Job(
            folder=self.root / name,
            state=self.root / f"{name}.state",
            inputs={key: self.root / step_name(*key) for key in needs},
            log=self.root / "logs" / f"{name}.log",
            checkpoint=lambda: self.checkpoint,
            tick=tick,
            digest="d",
            notice=self.notices.append,
        )
        facts: dict[str, Any] = stage.run(config, job).model_dump(mode="json")
        return facts


@pytest.fixture
def stages(tiny_kolors: Checkpoint, tmp_path: Path) -> Stages:
    """Give stages whose filter left three pictures."""
    pictures = tmp_path / "filter" / "train"
    pictures.mkdir(parents=True)
    for number in range(3):
        Image.linear_gradient("L").rotate(90 * number).resize((64, 64)).convert("RGB").save(pictures / f"{number}.png")
    with (pictures / "metadata.csv").open("w", encoding="utf-8", newline="") as file:
        rows = [("0.png", "一只猫"), ("1.png", "a cat, " * 200), ("2.png", "一只猫")]
        csv.writer(file).writerows([("file_name", "text"), *rows])
    return Stages(tmp_path, tiny_kolors)


def encoded(stages: Stages, **changes: Any) -> dict[str, Any]:
    settings: dict[str, Any] = {"resolution": 64, "crop": "center", "flip": False, "seed": None, "trigger": ""}
    settings |= {"checkpoint": "c", "dtype": "auto", "template": None, "caption_dropout": False}
    config = cache_latents.Config(**{**settings, **changes})
    return stages.run(cache_latents, config, "cache_latents", ("filter", None))


def trained(stages: Stages, *, tick: Tick = go_on) -> dict[str, Any]:
    needs: list[Key] = [("cache_latents", None), ("encode_prompt", 1)]
    return stages.run(train, config_of(LORA, samples=(SCENE,)), "train", *needs, tick=tick)


def config_of(lora: Lora, **changes: Any) -> train.Config:
    return train.Config(**TrainingConfig.of(lora).model_dump(), checkpoint="c", dtype="auto", **changes)


def test_texts_are_told_with_their_tokens_and_none_is_cut_in_silence(
    stages: Stages, caplog: pytest.LogCaptureFixture
) -> None:
    facts = encoded(stages, trigger="水墨")
    lines = [
        json.loads(line) for line in (stages.root / "cache_latents" / "texts.jsonl").read_text("utf-8").splitlines()
    ]
    assert [line["text"][:5] for line in lines] == ["水墨，一只", "水墨, a", "水墨，一只"]
    assert lines[0]["tokens"] < 256 < lines[1]["tokens"] == facts["longest_tokens"]
    assert (facts["texts"], facts["images"], facts["truncated"], facts["token_limit"]) == (2, 3, 1, 256)
    assert facts["sizes"] == [{"width": 64, "height": 64, "images": 3}]
    assert "only the first 256 are read: 水墨, a cat" in caplog.text


def test_training_leaves_the_lora_its_curve_and_samples_the_same_after_a_stop(stages: Stages) -> None:
    encoded(stages)
    scene = encode_prompt.Config(checkpoint="c", dtype="auto", prompt="一只猫", negative_prompt="")
    stages.run(encode_prompt, scene, "encode_prompt-01")
    facts = trained(stages)
    files = files_in(stages.root / "train")
    names = ["history.json", "lora.safetensors", "metrics.csv", "samples/0002-01.png", "samples/0004-01.png"]
    assert list(files) == names
    assert facts["samples"] == [
        {"step": 2, "scene": 1, "file": "samples/0002-01.png"},
        {"step": 4, "scene": 1, "file": "samples/0004-01.png"},
    ]
    assert facts["skipped"] == 0
    assert any((stages.root / "logs" / "tensorboard").iterdir())

    def stop(done: int, _total: int) -> None:
        if done == 3:
            raise Stopped("stop")

    stages.clear("train")
    with pytest.raises(Stopped):
        trained(stages, tick=stop)
    assert trained(stages)["resumed_at"] == 3
    assert files_in(stages.root / "train") == files


def damages_of(saved: str) -> Any:
    """Give every damage to a saved file; all but a few only where very many cases are tried."""
    few = {"flip_middle", "truncate", "folder", "pipe", "link_outside"}
    marks = {name: () if name in few else (pytest.mark.sweep,) for name in DAMAGES}
    return [pytest.param(saved, damage, marks=marks[name], id=f"{saved} {name}") for name, damage in DAMAGES.items()]


@pytest.fixture
def interrupted(stages: Stages) -> tuple[Stages, Any]:
    """Give stages whose training was stopped after its first samples, and the files that it would have come to."""
    encoded(stages)
    stages.run(
        encode_prompt,
        encode_prompt.Config(checkpoint="c", dtype="auto", prompt="一只猫", negative_prompt=""),
        "encode_prompt-01",
    )
    trained(stages)
    files = files_in(stages.root / "train")
    stages.clear("train")
    with pytest.raises(Stopped):
        trained(stages, tick=stop_at_3)
    return stages, files


def stop_at_3(done: int, _total: int) -> None:
    if done == 3:
        raise Stopped("stop")


@pytest.mark.parametrize(("saved", "damage"), [*damages_of("training.saved"), *damages_of("samples/0002-01.saved")])
def test_a_training_with_a_damaged_state_begins_anew_and_says_so(
    interrupted: tuple[Stages, Any], tmp_path: Path, saved: str, damage: Damage
) -> None:
    stages, files = interrupted
    outside = make_outside(tmp_path / "elsewhere")
    damage(stages.root / "train.state" / saved, outside)
    assert trained(stages)["resumed_at"] == 0
    assert files_in(stages.root / "train") == files
    # Of a state that is gone there is nothing to say: what is there is only pictures that would be the same.
    silent = (saved, damage) == ("training.saved", DAMAGES["remove"])
    assert silent or "train begins anew" in stages.notices[0]
    assert is_untouched(outside)


def test_a_state_of_another_training_is_not_gone_on_from(interrupted: tuple[Stages, Any]) -> None:
    stages, files = interrupted
    state = read_state(stages.root / "train.state", of="d")
    assert state is not None
    write_state(stages.root / "train.state", state, of="another")
    assert trained(stages)["resumed_at"] == 0
    assert "of another step" in stages.notices[0]
    assert files_in(stages.root / "train") == files


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_picture_of_the_class_is_drawn_again(stages: Stages, tmp_path: Path, damage: Damage) -> None:
    scene = encode_prompt.Config(checkpoint="c", dtype="auto", prompt="一只猫", negative_prompt="丑")
    stages.run(encode_prior, scene, "encode_prior")
    drawing = prior.Config(checkpoint="c", dtype="auto", count=2, seed=7, resolution=64, steps=1, guidance_scale=1.0)
    needs: Key = ("encode_prior", None)
    stages.run(prior, drawing, "prior", needs)
    files, outside = files_in(stages.root / "prior"), make_outside(tmp_path / "elsewhere")
    damage(stages.root / "prior.state" / "00001.saved", outside)
    stages.run(prior, drawing, "prior", needs)
    assert files_in(stages.root / "prior") == files
    assert damage is DAMAGES["remove"] or "drawn again" in stages.notices[0]
    assert is_untouched(outside)


def test_the_class_is_drawn_once_and_learnt_beside(stages: Stages) -> None:
    encoded(stages)
    scene = encode_prompt.Config(checkpoint="c", dtype="auto", prompt="一只猫", negative_prompt="丑")
    stages.run(encode_prior, scene, "encode_prior")
    drawing = prior.Config(checkpoint="c", dtype="auto", count=3, seed=7, resolution=64, steps=2, guidance_scale=3.0)
    ticks: list[tuple[int, int]] = []
    facts = stages.run(prior, drawing, "prior", ("encode_prior", None), tick=lambda *told: ticks.append(told))
    assert facts == {"pictures": 3, "side": 64}
    assert ticks == [(done, 6) for done in range(1, 7)]
    files = files_in(stages.root / "prior")
    assert list(files) == ["examples.safetensors", *(f"pictures/000{number}.png" for number in (1, 2, 3))]
    assert len({file.sha256 for file in files.values()}) == 4

    def stop(done: int, _total: int) -> None:
        if done == 3:
            raise Stopped("stop")

    stages.clear("prior")
    with pytest.raises(Stopped):
        stages.run(prior, drawing, "prior", ("encode_prior", None), tick=stop)
    ticks.clear()
    stages.run(prior, drawing, "prior", ("encode_prior", None), tick=lambda *told: ticks.append(told))
    assert ticks == [(done, 6) for done in range(3, 7)]
    assert files_in(stages.root / "prior") == files

    loras = []
    for weight in (1.0, 0.25):
        lora = Lora(rank=2, steps=4, resolution=64, prior=Prior(prompt="一只猫", weight=weight))
        stages.run(train, config_of(lora), "train", ("cache_latents", None), ("prior", None))
        loras.append((stages.root / "train" / "lora.safetensors").read_bytes())
        stages.clear("train")
    assert loras[0] != loras[1]
