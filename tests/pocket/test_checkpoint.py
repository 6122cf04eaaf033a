"""The shipped checkpoint: complete, small, consistent, and what it draws is what it was told."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from kolora.configs import KOLORS
from kolora.hubs.catalogue import POCKET
from kolora.models.checkpoint import Checkpoint
from kolora.models.pixels import to_pixels
from kolora.pocket.world import draw, sample_scene
from kolora.pocket.world.scene import DEGRADATIONS
from kolora.scoring.judges import Aesthetics, Similarity, similarities
from safetensors import safe_open

from tests.pocket.test_world import dice
from tests.tensors import lora_for, write_lora
from tools.pocket.attributes import CLASSES
from tools.pocket.judge import LORA, Prompt, attributes_right, held_out_prompts, render, teach_ink
from tools.pocket.probe import chances, load_probe, read
from tools.pocket.recipe import Recipe

MIB = 2**20


@pytest.fixture(scope="module")
def checkpoint():
    return Checkpoint(POCKET, device="cpu")


@pytest.fixture(scope="module")
def drawn(checkpoint):
    """Eight held-out prompts and the pictures pocket makes of them, with fewer steps than a story takes."""
    prompts = held_out_prompts(8)
    return prompts, render(checkpoint, prompts, batch=8, steps=12)


def weights():
    return sorted(POCKET.rglob("*.safetensors"))


def test_it_is_complete_and_within_its_budget():
    for folder in ("text_encoder", "unet", "vae", "clip", "aesthetics"):
        assert (POCKET / folder / "config.json").is_file(), folder
    assert (POCKET / "scheduler" / "scheduler_config.json").is_file()
    assert (POCKET / "README.md").is_file()
    sizes = {path: path.stat().st_size for path in POCKET.rglob("*") if path.is_file()}
    assert sum(sizes.values()) < 48 * MIB
    assert max(sizes.values()) < 16 * MIB
    assert not [path for path in sizes if path.suffix in (".bin", ".pt", ".pth", ".ckpt", ".pkl")]


def test_its_weights_are_half_precision_and_finite():
    assert len(weights()) >= 7
    for path in weights():
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 - the file object is no dict
                tensor = file.get_tensor(name)
                assert tensor.dtype in (torch.float16, torch.int64), name
                assert torch.isfinite(tensor.float()).all(), name


def test_its_configs_are_the_recipes_and_its_schedule_is_kolors():
    recipe = Recipe()
    for name, config in (("unet", recipe.unet), ("vae", recipe.vae), ("text_encoder", recipe.text_encoder)):
        assert json.loads((POCKET / name / "config.json").read_text()) == config
    assert json.loads((POCKET / "scheduler" / "scheduler_config.json").read_text()) == KOLORS["scheduler"]


def test_it_says_how_it_was_trained():
    record = json.loads((POCKET / "training.json").read_text())
    assert record["recipe"]["seed"] == Recipe().seed
    assert record["recipe"]["unet_steps"] > 5000
    assert len(record["data_sha256"]) == 64


def test_latents_have_unit_spread_and_pictures_survive_the_vae(checkpoint):
    pictures = [draw(sample_scene(dice(k)), seed=k) for k in range(6)]
    from_picture = torch.cat([to_pixels(picture) for picture in pictures])
    latents = checkpoint.encode(from_picture)
    assert latents.std() == pytest.approx(1.0, abs=0.2)
    error = (checkpoint.decode(latents).clamp(-1, 1) - from_picture).square().mean()
    assert 10 * torch.log10(4 / error) > 25


def test_it_draws_what_it_is_told(drawn):
    prompts, pictures = drawn
    answers = read(load_probe(POCKET / "probe" / "model.safetensors"), pictures)
    right = attributes_right(answers, prompts)
    assert right["place"] >= 0.85
    assert right["character"] >= 0.85
    assert not any(answer["degraded"] for answer in answers)


def test_its_clip_prefers_the_own_prompt_to_another(drawn, tmp_path):
    prompts, pictures = drawn
    clip = Similarity(POCKET / "clip", device="cpu")
    images = clip.pictures(_saved(pictures, tmp_path))
    texts = clip.texts([p.text for p in prompts])
    own, shuffled = similarities(images, texts), similarities(images, texts.roll(1, dims=0))
    assert sum(a > b for a, b in zip(own, shuffled, strict=True)) >= 7


def _saved(pictures, folder: Path):
    paths = [folder / f"{k}.png" for k in range(len(pictures))]
    for path, picture in zip(paths, pictures, strict=True):
        picture.save(path)
    return paths


def test_its_grades_pass_clean_drawings_and_fail_spoilt_ones(drawn, tmp_path):
    grader = Aesthetics(POCKET / "aesthetics", device="cpu")
    clean = [draw(sample_scene(dice(k)), seed=k) for k in range(8)]
    assert sum(grader.grade(_saved(clean, tmp_path))) / 8 > 6
    assert sum(grader.grade(_saved(drawn[1], tmp_path))) / 8 > 6
    for fault in DEGRADATIONS:
        means = []
        for amount in (0.4, 0.7, 1.0):
            spoilt = [draw(replace(sample_scene(dice(k)), spoilt=((fault, amount),)), seed=k) for k in range(12)]
            means.append(sum(grader.grade(_saved(spoilt, tmp_path))) / 12)
        assert means == sorted(means, reverse=True), fault
        assert means[0] < 6, fault


def test_guidance_pulls_towards_the_prompt(checkpoint):
    prompt = Prompt(held_out_prompts(1)[0].text, {}, 3, person=True)
    free, pulled = (render(checkpoint, [prompt], guidance=g, steps=6)[0] for g in (1.0, 8.0))
    assert free.tobytes() != pulled.tobytes()


def test_a_lora_moves_the_style_and_leaves_what_is_shown(checkpoint, tmp_path):
    """Judged on ink, which the checkpoint was never shown, after a third of the steps that a story takes."""
    lora = teach_ink(checkpoint, LORA.model_copy(update={"steps": 40}), tmp_path)
    prompts = held_out_prompts(4, style="ink", seed=992)
    probe = load_probe(POCKET / "probe" / "model.safetensors")
    ink = CLASSES["style"].index("ink")
    likely, right = [], []
    for strength in (0.0, 1.0):
        pictures = render(checkpoint, prompts, lora=lora, strength=strength, batch=4, steps=10)
        likely.append(chances(probe, pictures)["style"][:, ink].mean())
        right.append(attributes_right(read(probe, pictures), prompts)["place"])
    assert likely[1] > likely[0] + 0.2
    assert right == [1.0, 1.0]


def test_a_lora_at_strength_0_draws_what_none_does(checkpoint, tmp_path):
    lora = write_lora(tmp_path / "lora.safetensors", lora_for(checkpoint.unet()))
    prompts = held_out_prompts(1)
    without = render(checkpoint, prompts, steps=2)[0].tobytes()
    drawn = [render(checkpoint, prompts, lora=lora, strength=strength, steps=2)[0].tobytes() for strength in (0.0, 1.0)]
    assert drawn[0] == without != drawn[1]
