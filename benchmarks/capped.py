"""The default story's work under a cap of GPU memory, and what came of it under several, side by side."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from kolora.device import find_device, gpu_memory
from kolora.memory.plan import GIB
from kolora.memory.story import plan_story
from kolora.models.checkpoint import Checkpoint
from kolora.models.lora import lora_bytes
from kolora.models.pixels import to_picture, to_pixels
from kolora.rendering.denoise import denoise
from kolora.spec.story import Story
from kolora.training.config import TrainingConfig
from kolora.training.examples import Bucket, Examples
from kolora.training.loop import train
from PIL import Image

from benchmarks.meter import Meter, psnr
from benchmarks.story import Size, photo, quiet

PICTURES, SCENES = 2, 2


def open_story(size: Size, story: Story, cap: float | None) -> Checkpoint:
    """Open the checkpoint as a run of the story would under a cap."""
    gpu_bytes = gpu_memory() if cap is None else int(cap * GIB)
    plan = plan_story(story, size.checkpoint, gpu_bytes=gpu_bytes)
    return Checkpoint(size.checkpoint, device=find_device(), memory=plan)


def run_story(size: Size, cap: float | None) -> dict[str, Any]:
    """Do a story's work under a cap of GiB; leaves its pictures and tensors in FOLDER."""
    story, meter = size.story(), Meter()
    checkpoint = open_story(size, story, cap)
    scenes = story.resolved_scenes()[:SCENES]
    texts: list[str] = []
    for scene in scenes:
        texts += [scene.prompt, scene.negative_prompt]
    with meter("condition, first text, loading"):
        first = checkpoint.encode_prompt(texts[:1])
    with meter(f"condition, {len(texts)} texts"):
        embeds = checkpoint.encode_prompt(texts)
    assert torch.equal(embeds.prompt_embeds[:1], first.prompt_embeds)
    checkpoint.release("text_encoder")
    with meter(f"encode, {PICTURES} pictures"):
        latents = torch.stack([checkpoint.encode(to_pixels(photo(n, size.pixels))).cpu() for n in range(PICTURES)])
    checkpoint.release()
    first_embeds = embeds.rows(slice(1)).to("cpu")
    known = Examples(first_embeds, (Bucket(latents, torch.zeros(PICTURES, dtype=torch.long)),))
    with tempfile.TemporaryDirectory() as state, meter(f"train, {story.lora.steps} steps"):
        trained = train(
            checkpoint.training_unet(),
            checkpoint.schedule(),
            known,
            TrainingConfig.of(story.lora),
            state=Path(state),
            tick=quiet,
            option=checkpoint.memory.option("train"),
            device=checkpoint.device,
        )
    folder = size.folder / named(cap)
    folder.mkdir(exist_ok=True)
    lora = folder / "lora.safetensors"
    lora.write_bytes(lora_bytes(trained.weights, metadata={}))
    losses, seconds = trained.losses, trained.seconds
    del trained
    checkpoint.release()
    for number, scene in enumerate(scenes):
        rows = slice(2 * number, 2 * number + 2)
        with meter(f"render, picture {number + 1}" + (", loading" if not number else "")):
            drawn = denoise(
                checkpoint.predictor(lora=lora, strength=scene.lora_scale),
                checkpoint.schedule(),
                embeds.rows(rows),
                seed=scene.seed,
                height=scene.height,
                width=scene.width,
                steps=scene.steps,
                guidance_scale=scene.guidance_scale,
                tick=quiet,
            )
            picture = to_picture(checkpoint.decode(drawn))
        picture.save(folder / f"{number + 1}.png")
    free, total = torch.cuda.mem_get_info() if checkpoint.device == "cuda" else (0, 0)
    return {
        "options": {name: str(checkpoint.memory.option(name)) for name in checkpoint.memory.options},
        "expected": {name: checkpoint.memory.option(name).required_bytes for name in checkpoint.memory.options},
        "rows": meter.rows,
        "beside torch": total - free - torch.cuda.memory_reserved() if total else None,
        "losses": losses,
        "train seconds": round(seconds, 1),
        "digests": {
            "prompt_embeds": digest(embeds.prompt_embeds.cpu().numpy().tobytes()),
            "latents": digest(latents.numpy().tobytes()),
            "lora": digest(lora.read_bytes()),
        },
    }


def named(cap: float | None) -> str:
    """Name a run's folder."""
    return "uncapped" if cap is None else f"cap-{cap:g}"


def digest(content: bytes) -> str:
    """Hash some bytes."""
    return hashlib.sha256(content).hexdigest()[:12]


def _apart(losses: list[float], others: list[float]) -> float:
    """Give how far losses are apart, at most, as a share."""
    return max(abs(one - other) / other for one, other in zip(losses, others, strict=True))


def print_runs(folder: Path, caps: list[float | None], runs: dict[str, dict[str, Any]]) -> None:
    """Print the caps side by side, as Markdown."""
    whole = runs[named(None)]
    print("\n| | " + " | ".join(named(cap) for cap in caps) + " |\n|---|" + "---|" * len(caps))
    for name in whole["rows"]:
        cells = [runs[named(cap)]["rows"][name] for cap in caps]
        shown = (f"{cell['seconds']:.1f} s, {cell.get('reserved', 0) / GIB:.1f} GiB" for cell in cells)
        print(f"| {name} | " + " | ".join(shown) + " |")
    for name in whole["options"]:
        shown = (
            f"{runs[named(cap)]['options'][name]} ({runs[named(cap)]['expected'][name] / GIB:.1f} GiB)" for cap in caps
        )
        print(f"| plan: {name} | " + " | ".join(shown) + " |")
    for name, value in whole["digests"].items():
        shown = ("the same" if runs[named(cap)]["digests"][name] == value else "differs" for cap in caps)
        print(f"| {name} | " + " | ".join(shown) + " |")
    worst = [_apart(runs[named(cap)]["losses"], whole["losses"]) for cap in caps]
    print("| losses differ by | " + " | ".join(f"{each:.1e}" for each in worst) + " |")
    for number in range(1, SCENES + 1):
        cells = []
        for cap in caps:
            ours, theirs = (np.asarray(Image.open(folder / named(each) / f"{number}.png")) for each in (cap, None))
            ratio, most = psnr(ours, theirs, 255)
            cells.append(f"{ratio:.1f} dB, at most {most:.0f} levels")
        print(f"| picture {number} | " + " | ".join(cells) + " |")
    beside = (runs[named(cap)]["beside torch"] for cap in caps)
    print("| beside torch | " + " | ".join(f"{(each or 0) / GIB:.2f} GiB" for each in beside) + " |", flush=True)
