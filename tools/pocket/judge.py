"""Judges a pocket checkpoint: draws held-out prompts and reads back what the pictures show.

``python -m tools.pocket.judge CHECKPOINT --out DIR`` prints the figures of the model card as JSON and leaves
contact sheets in DIR.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from kolora.datasets.metadata import write_metadata
from kolora.models.checkpoint import Checkpoint, size_ids
from kolora.models.lora import lora_bytes
from kolora.models.pixels import to_picture, to_pixels
from kolora.models.prompt_embeds import PromptEmbeds
from kolora.pocket.world import STYLES, WorldScene, caption, draw, draw_set, sample_scene
from kolora.pocket.world.scene import DEGRADATIONS, PEOPLE
from kolora.rendering.denoise import initial_noise
from kolora.samplers.ddim import sample_ddim
from kolora.samplers.schedule import Model, space_evenly
from kolora.scoring.judges import Aesthetics, Similarity
from kolora.spec.sections.lora import Lora
from kolora.training.config import TrainingConfig
from kolora.training.examples import encode_examples
from kolora.training.loop import train
from PIL import Image
from torch import nn

from tools.pocket.attributes import CLASSES, UNKNOWN, labels
from tools.pocket.probe import load_probe, read

NEGATIVE = "丑陋、变形、嘈杂、模糊、低对比度"
SIDE = 256
STEPS = 25
GUIDANCE = 4.0
LORA = Lora(rank=16, alpha=16.0, steps=150, batch_size=2, learning_rate=2e-3, min_snr_gamma=0.1, resolution=SIDE)
LORA_PICTURES = 32


@dataclass(frozen=True)
class Prompt:
    """A text, what a right picture of it shows, and its seed."""

    text: str
    truth: dict[str, int]
    seed: int
    person: bool


def held_out_prompts(count: int, *, style: str | None = None, seed: int = 991) -> list[Prompt]:
    """Return prompts that name every attribute, in both languages by turns; no two people, who cannot be told apart."""
    prompts: list[Prompt] = []
    number = 0
    while len(prompts) < count:
        rng = random.Random(f"{seed} prompt {number}")  # noqa: S311
        number += 1
        scene = sample_scene(rng, style=style)
        if scene.companion is not None and scene.companion.character in PEOPLE:
            continue
        text = caption(scene, rng, "zh" if len(prompts) % 3 else "en", complete=True)
        prompts.append(Prompt(text, labels(scene), 5000 + len(prompts), scene.figure.character in PEOPLE))
    return prompts


@torch.inference_mode()
def render(
    checkpoint: Checkpoint,
    prompts: Sequence[Prompt],
    *,
    negative: str = NEGATIVE,
    guidance: float = GUIDANCE,
    lora: Path | None = None,
    strength: float = 1.0,
    steps: int = STEPS,
    batch: int = 64,
) -> list[Image.Image]:
    """Draw prompts with DDIM, many at once; the arithmetic is that of ``kolora.rendering.denoise``."""
    unet = checkpoint.unet(lora=lora, strength=strength)
    visited = space_evenly(checkpoint.schedule().alphas_cumprod.tolist(), steps)
    away = checkpoint.encode_prompt([negative])
    pictures: list[Image.Image] = []
    for start in range(0, len(prompts), batch):
        part = prompts[start : start + batch]
        latents = torch.cat([initial_noise(seed=p.seed, height=SIDE, width=SIDE) for p in part]).to(checkpoint.device)
        told = checkpoint.encode_prompt([p.text for p in part])
        both = PromptEmbeds(
            torch.cat([told.prompt_embeds, away.prompt_embeds.expand_as(told.prompt_embeds)]),
            torch.cat([told.pooled_prompt_embeds, away.pooled_prompt_embeds.expand_as(told.pooled_prompt_embeds)]),
        )
        ids = size_ids(SIDE, SIDE).repeat(2 * len(part)).to(checkpoint.device)
        model = _guided(unet, both, ids, guidance=guidance)
        shown = checkpoint.decode(sample_ddim(model, latents, visited, lambda *_: None))
        pictures += [to_picture(shown[row : row + 1]) for row in range(len(part))]
    return pictures


def _guided(unet: nn.Module, embeds: PromptEmbeds, ids: torch.Tensor, *, guidance: float) -> Model:
    """Ask a U-Net for prompts and negative prompts at once. embeds: (2 B) rows, those of the prompts first."""
    device, dtype = embeds.prompt_embeds.device, embeds.prompt_embeds.dtype

    def model(latents: torch.Tensor, timestep: int) -> torch.Tensor:
        predicted = unet(
            torch.cat([latents, latents]).to(dtype),
            torch.full((1,), float(timestep), device=device),
            encoder_hidden_states=embeds.prompt_embeds,
            add_time_id=ids,
            add_text_embeds=embeds.pooled_prompt_embeds,
        )
        wanted, unwanted = predicted.float().chunk(2)
        noise: torch.Tensor = unwanted + guidance * (wanted - unwanted)
        return noise

    return model


def right(answers: Sequence[dict[str, int]], prompts: Sequence[Prompt], name: str, *, people: bool = False) -> float:
    """Return the share of pictures whose attribute is read as the prompt names it."""
    hits = [
        answer[name] == prompt.truth[name]
        for answer, prompt in zip(answers, prompts, strict=True)
        if prompt.truth[name] != UNKNOWN and (prompt.person or not people)
    ]
    return fmean(hits) if hits else float("nan")


def attributes_right(answers: Sequence[dict[str, int]], prompts: Sequence[Prompt]) -> dict[str, float]:
    """Return the shares of all attributes; clothing is the colour that people wear."""
    shares = {name: right(answers, prompts, name) for name in CLASSES if name != "degraded"}
    return {k: round(v, 4) for k, v in {**shares, "clothing": right(answers, prompts, "colour", people=True)}.items()}


def sheet(pictures: Sequence[Image.Image], path: Path, *, columns: int = 8) -> None:
    """Write pictures as one JPEG, row by row."""
    rows = -(-len(pictures) // columns)
    grid = Image.new("RGB", (columns * SIDE, rows * SIDE))
    for index, picture in enumerate(pictures):
        grid.paste(picture, (index % columns * SIDE, index // columns * SIDE))
    grid.save(path, quality=90)


def judge(folder: Path, out: Path, *, device: str, count: int = 256, lora: Lora = LORA) -> dict[str, Any]:
    """Return the checkpoint's figures, those of a LoRA too, and leave contact sheets in ``out``."""
    out.mkdir(parents=True, exist_ok=True)
    checkpoint = Checkpoint(folder, device=device, dtype="float32")
    probe = load_probe(folder / "probe" / "model.safetensors", device=device)
    prompts = held_out_prompts(count)
    started = time.monotonic()
    pictures = render(checkpoint, prompts)
    answers = read(probe, pictures)
    sheet(pictures[:64], out / "held-out.jpg")
    (out / "held-out.txt").write_text("\n".join(p.text for p in prompts[:64]) + "\n", encoding="utf-8")
    return {
        "prompts": count,
        "right": attributes_right(answers, prompts),
        "vae_psnr_clean": _fidelity(checkpoint),
        "clip": _clip(folder, pictures, prompts, out, device=device),
        "negative": _negative(folder, checkpoint, probe, prompts[: count // 2], out, device=device),
        "guidance": _guidance(checkpoint, probe, prompts[: count // 2], out),
        "aesthetics": _aesthetics(folder, pictures, out, device=device),
        "lora": _lora(checkpoint, probe, out, count=count // 2, lora=lora),
        "seconds": round(time.monotonic() - started, 1),
    }


def _fidelity(checkpoint: Checkpoint) -> float:
    """Return the PSNR (dB) of clean drawings through the VAE, all base styles."""
    rng = random.Random("fidelity")  # noqa: S311
    errors = []
    for seed in range(48):
        pixels = to_pixels(draw(sample_scene(rng), seed=seed)).to(checkpoint.device)
        shown = checkpoint.decode(checkpoint.encode(pixels)).clamp(-1, 1)
        errors.append(float((shown - pixels).square().mean()))
    return round(10 * math.log10(4 / fmean(errors)), 2)


def _saved(pictures: Sequence[Image.Image], folder: Path) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{index:03d}.png" for index in range(len(pictures))]
    for path, picture in zip(paths, pictures, strict=True):
        picture.save(path, compress_level=1)
    return paths


def _clip(
    folder: Path, pictures: Sequence[Image.Image], prompts: Sequence[Prompt], out: Path, *, device: str
) -> dict[str, float]:
    clip = Similarity(folder / "clip", device=device)
    images, texts = clip.pictures(_saved(pictures, out / "pictures")), clip.texts([p.text for p in prompts])
    scores = (100 * images @ texts.T).numpy()
    dice = random.Random(17)  # noqa: S311
    hits = []
    for row in range(len(prompts)):
        others = dice.sample([k for k in range(len(prompts)) if k != row], min(7, len(prompts) - 1))
        hits.append(all(scores[row, row] > scores[row, k] for k in others))
    own = float(np.diag(scores).mean())
    shuffled = float((scores.sum() - np.trace(scores)) / (len(prompts) * (len(prompts) - 1)))
    return {"picks_of_eight": round(fmean(hits), 4), "own": round(own, 2), "others": round(shuffled, 2)}


def _degraded(probe: torch.nn.Module, pictures: Sequence[Image.Image]) -> float:
    return round(fmean(answer["degraded"] for answer in read(probe, pictures)), 4)


def _negative(
    folder: Path, checkpoint: Checkpoint, probe: torch.nn.Module, prompts: Sequence[Prompt], out: Path, *, device: str
) -> dict[str, dict[str, float]]:
    """How often pictures read as degraded and how they are graded, without and with the negative prompt.

    Half as many prompts ask for one fault each, softly guided: clean prompts leave nothing to improve.
    """
    grader = Aesthetics(folder / "aesthetics", device=device)
    words = NEGATIVE.split("、")
    asked = [replace(p, text=f"{p.text}，{words[k % len(words)]}") for k, p in enumerate(prompts)]
    figures = {}
    for name, texts, scale in (("plain", prompts, GUIDANCE), ("asked", asked, 1.5)):
        for way, negative in (("without", ""), ("with", NEGATIVE)):
            pictures = render(checkpoint, texts, negative=negative, guidance=scale)
            grades = grader.grade(_saved(pictures, out / "graded"))
            figures[f"{name}_{way}"] = {"degraded": _degraded(probe, pictures), "grade": round(fmean(grades), 2)}
    return figures


def _guidance(checkpoint: Checkpoint, probe: torch.nn.Module, prompts: Sequence[Prompt], out: Path) -> dict[str, Any]:
    figures = {}
    for scale in (1.0, 4.0, 8.0):
        pictures = render(checkpoint, prompts, guidance=scale)
        sheet(pictures[:16], out / f"guidance-{scale:g}.jpg")
        shares = attributes_right(read(probe, pictures), prompts)
        contrast = fmean(float(np.asarray(p, dtype=np.float32).std()) for p in pictures)
        figures[f"{scale:g}"] = {k: shares[k] for k in ("character", "place", "clothing", "style")} | {
            "contrast": round(contrast, 1)
        }
    return figures


def _aesthetics(folder: Path, generated: Sequence[Image.Image], out: Path, *, device: str) -> dict[str, Any]:
    judge_ = Aesthetics(folder / "aesthetics", device=device)

    def mean(pictures: Sequence[Image.Image]) -> float:
        return round(fmean(judge_.grade(_saved(pictures, out / "graded"))), 2)

    rng = random.Random("aesthetics")  # noqa: S311
    scenes = [sample_scene(rng) for _ in range(48)]

    def drawn(spoilt: tuple[tuple[str, float], ...]) -> list[Image.Image]:
        return [draw(replace(scene, spoilt=spoilt), seed=index) for index, scene in enumerate(scenes)]

    faults = {}
    for name in DEGRADATIONS:
        faults[name] = [mean(drawn(((name, amount),))) for amount in (0.4, 0.7, 1.0)]
    grades = judge_.grade(_saved(generated, out / "graded"))
    return {
        "drawn_clean": mean(drawn(())),
        "generated": round(fmean(grades), 2),
        "generated_under_6": round(fmean(g < 6 for g in grades), 4),
        "faults_at_0.4_0.7_1.0": faults,
    }


def teach_ink(checkpoint: Checkpoint, lora: Lora, folder: Path) -> Path:
    """Train a LoRA on drawings in ink, which the checkpoint was never shown; returns its file, in ``folder``."""
    pictures = folder / "ink"
    pictures.mkdir(parents=True, exist_ok=True)
    texts = []
    for number, (picture, text) in enumerate(draw_set(style="ink", count=LORA_PICTURES, seed=0, language="zh")):
        picture.save(pictures / f"{number:02d}.png")
        texts.append((f"{number:02d}.png", text))
    write_metadata(pictures, texts)
    examples, _ = encode_examples(
        checkpoint, pictures, resolution=SIDE, crop="center", flip=False, seed=0, tick=lambda done, total: None
    )
    state = folder / "state"
    trained = train(
        checkpoint.training_unet(),
        checkpoint.schedule(),
        examples,
        TrainingConfig.of(lora),
        state=state,
        tick=lambda *_: None,
    )
    path = folder / "lora.safetensors"
    path.write_bytes(lora_bytes(trained.weights, metadata={"checkpoint": "pocket"}))
    return path


def _lora(checkpoint: Checkpoint, probe: torch.nn.Module, out: Path, *, count: int, lora: Lora) -> dict[str, Any]:
    """Teach the held-out ink style and read how far it took, at strengths 0, 0.5 and 1."""
    started = time.monotonic()
    weights = teach_ink(checkpoint, lora, out / "lora")
    prompts = held_out_prompts(count, style="ink", seed=992)
    ink = CLASSES["style"].index("ink")
    figures: dict[str, Any] = {
        "prompts": count,
        "pictures": LORA_PICTURES,
        "steps": lora.steps,
        "learning_rate": lora.learning_rate,
        "seed": lora.seed,
        "seconds": round(time.monotonic() - started, 1),
    }
    for strength in (0.0, 0.5, 1.0):
        pictures = render(checkpoint, prompts, lora=weights, strength=strength)
        answers = read(probe, pictures)
        sheet(pictures[:32], out / f"ink-{strength:g}.jpg")
        shares = attributes_right(answers, prompts)
        figures[f"strength_{strength:g}"] = {
            "style_read": round(fmean(a["style"] == ink for a in answers), 4),
            **{k: shares[k] for k in ("character", "place", "clothing")},
        }
    return figures


def main() -> None:
    """Judge a checkpoint from the command line."""
    parser = argparse.ArgumentParser(description="Measure what a pocket checkpoint draws.")
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--count", type=int, default=256)
    parser.add_argument("--lora-rate", type=float, default=LORA.learning_rate, help="learning rate of the LoRA")
    parser.add_argument("--lora-seed", type=int, default=LORA.seed)
    given = parser.parse_args()
    lora = LORA.model_copy(update={"learning_rate": given.lora_rate, "seed": given.lora_seed})
    figures = judge(given.checkpoint, given.out, device=given.device, count=given.count, lora=lora)
    text = json.dumps(figures, indent=2, ensure_ascii=False)
    (given.out / "figures.json").write_text(text + "\n", encoding="utf-8")
    print(text)


__all__ = ["STYLES", "WorldScene", "held_out_prompts", "judge", "render", "teach_ink"]

if __name__ == "__main__":
    main()
