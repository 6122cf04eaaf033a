"""Kolors at full size with random weights, as published, through the whole command: ``python -m benchmarks.full_size``.

No weights are needed: speed, memory and loading are those of the real checkpoint, the pictures are noise. Needs a GPU,
40 GB of disk, and a few minutes. The text encoder is written as the published seven pickles, U-Net and VAE as fp16
safetensors.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
import yaml
from kolora.configs import KOLORS
from kolora.models.architecture import build_text_encoder, build_unet, build_vae_decoder, build_vae_encoder
from kolora.models.names import unet_name, vae_decoder_name, vae_encoder_name
from PIL import Image
from safetensors.torch import save_file
from torch import nn

SHARDS = 7
"""Pickles that the published text encoder comes in."""
SCENES = ("一个撑船的少女在薄雾的河面上点亮灯笼", "一只白猫坐在船头看星星")
"""Prompts, taken in turn."""


def write_kolors(folder: Path) -> None:
    """Write the checkpoint: 12.5 GB of pickles, 5.2 GB and 0.2 GB of safetensors."""
    torch.manual_seed(0)
    for part in KOLORS:
        (folder / part).mkdir(parents=True)
        name = "scheduler_config.json" if part == "scheduler" else "config.json"
        (folder / part / name).write_text(json.dumps(KOLORS[part]))
    unet = _random(build_unet, KOLORS["unet"], torch.float16)
    _save(folder / "unet", {unet_name(name): tensor for name, tensor in unet.items()})
    encoder = _random(build_vae_encoder, KOLORS["vae"], torch.float16)
    decoder = _random(build_vae_decoder, KOLORS["vae"], torch.float16)
    halves = {vae_encoder_name(name): tensor for name, tensor in encoder.items()}
    _save(folder / "vae", halves | {vae_decoder_name(name): tensor for name, tensor in decoder.items()})
    _save_pickles(folder / "text_encoder", _random(build_text_encoder, KOLORS["text_encoder"], torch.float16))


def _random(build: Any, config: dict[str, Any], dtype: torch.dtype) -> dict[str, torch.Tensor]:
    with torch.device("meta"):
        module: nn.Module = build(config)
    tensors = {}
    for name, like in module.state_dict().items():
        if like.dim() > 1:
            scale = like[0].numel() ** -0.5
            tensor = torch.randn(like.shape, device="cuda", dtype=dtype) * scale
        else:
            tensor = torch.full(
                like.shape, float("norm" in name and name.endswith("weight")), device="cuda", dtype=dtype
            )
        tensors[name] = tensor.cpu()
    return tensors


def _save(folder: Path, tensors: dict[str, torch.Tensor]) -> None:
    save_file(tensors, folder / "diffusion_pytorch_model.fp16.safetensors", metadata={"format": "pt"})


def _save_pickles(folder: Path, tensors: dict[str, torch.Tensor]) -> None:
    names = sorted(tensors)
    weight_map: dict[str, str] = {}
    for number in range(SHARDS):
        file = f"pytorch_model-{number + 1:05d}-of-{SHARDS:05d}.bin"
        shard = {name: tensors[name] for name in names[number::SHARDS]}
        torch.save(shard, folder / file)
        weight_map |= dict.fromkeys(shard, file)
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


def write_full_story(folder: Path, *, steps: int, render_steps: int, scenes: int) -> Path:
    """Write a story on six drawn pictures of 1024 x 1024."""
    pictures = folder / "pictures"
    pictures.mkdir()
    for number in range(6):
        tones = Image.linear_gradient("L").rotate(60 * number).resize((1024, 1024))
        Image.merge("RGB", (tones, tones.transpose(Image.Transpose.ROTATE_90), tones)).save(pictures / f"{number}.png")
    story = {
        "kolora": 1,
        "name": "full-size",
        "model": {"checkpoint": "Kolors"},
        "dataset": {"source": "folder", "path": "pictures", "caption": "二次元"},
        "lora": {"steps": steps, "rank": 16, "alpha": 4},
        "render": {"steps": render_steps},
        "scores": {"aesthetics": "off", "clip": "off"},
        "scenes": [{"prompt": SCENES[number % len(SCENES)], "seed": number} for number in range(scenes)],
    }
    path = folder / "story.yaml"
    path.write_text(yaml.safe_dump(story, allow_unicode=True))
    return path


def run_into_folders(story: Path, *, times: int) -> list[dict[str, Any]]:
    """Run a story into several folders; returns each run's steps with seconds, memory and facts."""
    runs = []
    for number in range(times):
        out = story.parent / f"run-{number + 1}"
        started = time.monotonic()
        subprocess.run([sys.executable, "-m", "kolora", "--debug", "run", str(story), "-o", str(out)], check=True)
        print(f"run in {time.monotonic() - started:.1f} s", flush=True)
        records = [json.loads(path.read_text()) for path in sorted((out / "records").glob("*.json"))]
        runs.append({record["step"]: record for record in records if "step" in record})
    return runs


def main() -> None:
    """Write the checkpoint unless it is there, run the story, and print what it took and whether the bytes agree."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--render-steps", type=int, default=50)
    parser.add_argument("--scenes", type=int, default=2)
    parser.add_argument("--runs", type=int, default=2)
    options = parser.parse_args()
    started = time.monotonic()
    if not (options.folder / "Kolors").is_dir():
        write_kolors(options.folder / "Kolors")
        print(f"written in {time.monotonic() - started:.0f} s", flush=True)
    story = write_full_story(
        options.folder, steps=options.steps, render_steps=options.render_steps, scenes=options.scenes
    )
    first, *others = run_into_folders(story, times=options.runs)
    for step, record in first.items():
        peaks = {kind: peak and round(peak / 2**30, 1) for kind, peak in record["peak_memory_bytes"].items()}
        seconds = ", again ".join(f"{each[step]['seconds']:.1f} s" for each in (first, *others))
        print(f"{step:<14} {seconds}, peak GiB {peaks}")
    print("train:", json.dumps(first["train"]["facts"]))
    print("numerics:", json.dumps(first["train"]["numerics"]))
    for step in first:
        if any(first[step]["files"] != each[step]["files"] for each in others):
            print(f"{step}: the runs differ")


if __name__ == "__main__":
    main()
