"""Kolors at full size under caps of memory, and against DiffSynth: ``python -m tests.on_gpu_memory FOLDER``, by hand.

Writes Kolors with random weights into FOLDER, unless it is there; needs a GPU of 80 GiB, 40 GB of disk, some minutes.
Measures what each computation takes beside its weights, for ``runner.memory.plan``; then runs the default story's work
once without a cap and once under each, every time in a process of its own; then compares with DiffSynth's pipeline in
one process. What FOLDER already holds the results of is not run again, so a run that was cut short goes on. A dry run:
``python -m tests.on_gpu_memory FOLDER --pocket --caps 0.61``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from runner.benching.networks import configs_of, made_up
from runner.device import find_device, gpu_memory
from runner.hubs.checkpoints import POCKET
from runner.memory.plan import GIB, Way
from runner.memory.story import plan_story
from runner.models.conditioning import Conditioning
from runner.models.layout import KOLORS
from runner.models.lora import lora_bytes
from runner.models.parts import Parts, make_deterministic, size_ids
from runner.models.pixels import to_picture, to_pixels
from runner.models.predictor import Predictor
from runner.models.schedule import NoiseSchedule
from runner.models.strips import decode_in_strips, encode_in_strips
from runner.rendering.denoise import denoise
from runner.spec import load_story
from runner.spec.story import Story
from runner.training.draws import draw
from runner.training.examples import Examples
from runner.training.loop import train

STORY = Path(__file__).parents[1] / "specs" / "story.yaml"
"""The default story, whose data set is of no use here: its settings and prompts count."""
PICTURES, SCENES = 2, 2


class Meter:
    """Seconds and peak GPU memory of what runs inside ``with meter(name)``."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, Any]] = {}

    def __call__(self, name: str) -> AbstractContextManager[None]:
        return _Measured(self, name)


class _Measured(AbstractContextManager[None]):
    def __init__(self, meter: Meter, name: str) -> None:
        self._row = meter.rows.setdefault(name, {"before": 0})

    def __enter__(self) -> None:
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
            self._row["before"] = torch.cuda.memory_allocated()
        self._began = time.monotonic()

    def __exit__(self, *_: object) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
            self._row["allocated"] = torch.cuda.max_memory_allocated()
            self._row["reserved"] = torch.cuda.max_memory_reserved()
        self._row["seconds"] = round(time.monotonic() - self._began, 2)


def told(name: str, row: dict[str, Any]) -> str:
    """Put one measurement in words."""
    seen = {key: f"{row[key] / GIB:.2f}" for key in ("before", "allocated", "reserved") if key in row}
    return f"{name:<44} {row['seconds']:>7.2f} s, GiB {seen}"


def default_story(options: argparse.Namespace) -> Story:
    """Read the default story with the settings of this run."""
    size, steps = options.size, options.render_steps
    settings = [f"lora.resolution={size}", f"render.width={size}", f"render.height={size}", f"render.steps={steps}"]
    return load_story(STORY.read_bytes(), name=STORY.name, overrides=[*settings, f"lora.steps={options.steps}"])


def photo(number: int, size: int) -> Image.Image:
    """Draw a picture with something at every frequency."""
    rough = np.random.default_rng(number).integers(0, 256, (size // 16, size // 16, 3), dtype=np.uint8)
    return Image.fromarray(rough).resize((size, size), Image.Resampling.BICUBIC)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Measure what each computation takes, with weights made up: the table in ``runner.memory.plan``."""
    device = find_device()
    known, meter, size = configs_of(options.checkpoint if options.pocket else None), Meter(), options.size
    half = torch.float16 if device == "cuda" else torch.float32
    schedule = NoiseSchedule.from_config(KOLORS["scheduler"])
    latents = torch.randn(1, 4, size // 8, size // 8, device=device)
    with torch.inference_mode():
        for part, strips in (("vae_decoder", decode_in_strips), ("vae_encoder", encode_in_strips)):
            network = made_up(part, known, device=device, dtype=torch.float32)
            given = latents if part == "vae_decoder" else to_pixels(photo(0, size)).to(device)
            for name, work in (("whole", network), ("in strips", lambda x, n=network, s=strips: s(n, x))):
                with meter(f"{part} {name}, first"):
                    first = work(given)
                del first
                with meter(f"{part} {name}, again"):
                    work(given)
            del network
        unet = made_up("unet", known, device=device, dtype=half)
        texts = examples(known, size=size).conditioning
        heard = Conditioning(texts.hidden.to(device, half), texts.pooled.to(device, half))
        for recorded in (False, True):
            predictor = Predictor(unet, recorded=recorded)
            with meter(f"prediction of 2 rows, {'recorded' if recorded else 'called'}"):
                predict = predictor.listen(heard, latents, size_ids(size, size).repeat(2))
                predict(latents, 500)
            del predictor, predict
        del unet
    for rows, checkpointing in ((1, False), (4, False), (1, True), (4, True), (8, True)):
        lora = default_story(options).lora.model_copy(update={"steps": 3, "batch_size": rows})
        unet = made_up("unet", known, device=device, dtype=torch.bfloat16 if device == "cuda" else torch.float32)
        name = f"training, {rows} a step, computed {'twice' if checkpointing else 'once'}"
        with tempfile.TemporaryDirectory() as state, meter(name):
            train(
                unet,
                schedule,
                examples(known, size=size),
                lora,
                state=Path(state),
                tick=quiet,
                way=Way(checkpointing=checkpointing),
            )
        del unet
    for name, row in meter.rows.items():
        print(told(name, row), flush=True)
    return meter.rows


def examples(known: Any, *, size: int) -> Examples:
    """Make up a training set of four pictures and two captions."""
    chance = torch.Generator().manual_seed(0)
    width = known["unet"]["encoder_hid_dim"]
    conditioning = Conditioning(torch.randn(2, 256, width, generator=chance), torch.randn(2, width, generator=chance))
    return Examples(torch.randn(4, 1, 4, size // 8, size // 8, generator=chance), conditioning, torch.arange(4) % 2)


def quiet(_done: int, _total: int) -> None:
    """Hear how far it is, and say nothing."""


def story_parts(options: argparse.Namespace, story: Story, cap: float | None) -> Parts:
    """Open the checkpoint as a run of the story would under a cap."""
    there = gpu_memory() if cap is None else int(cap * GIB)
    plan = plan_story(story, options.checkpoint, there=there)
    return Parts(options.checkpoint, device=find_device(), memory=plan)


def run_story(options: argparse.Namespace, cap: float | None) -> dict[str, Any]:
    """Do a story's work under a cap of GiB; leaves its pictures and tensors in FOLDER."""
    story, meter = default_story(options), Meter()
    parts = story_parts(options, story, cap)
    scenes = story.resolved_scenes()[:SCENES]
    texts = [text for scene in scenes for text in (scene.prompt, scene.negative_prompt)]
    with meter("condition, first text, loading"):
        first = parts.condition(texts[:1])
    with meter(f"condition, {len(texts)} texts"):
        conditioning = parts.condition(texts)
    assert torch.equal(conditioning.hidden[:1], first.hidden)
    parts.release("text_encoder")
    with meter(f"encode, {PICTURES} pictures"):
        latents = torch.stack([parts.encode(to_pixels(photo(n, options.size))).cpu() for n in range(PICTURES)])
    parts.release()
    heard = Conditioning(conditioning.hidden[:1].cpu(), conditioning.pooled[:1].cpu())
    known = Examples(latents, heard, torch.zeros(PICTURES, dtype=torch.long))
    with tempfile.TemporaryDirectory() as state, meter(f"train, {story.lora.steps} steps"):
        trained = train(
            parts.training_unet(),
            parts.schedule(),
            known,
            story.lora,
            state=Path(state),
            tick=quiet,
            way=parts.memory.way("train"),
            device=parts.device,
        )
    folder = options.folder / named(cap)
    folder.mkdir(exist_ok=True)
    lora = folder / "lora.safetensors"
    lora.write_bytes(lora_bytes(trained.weights, metadata={}))
    losses, seconds = trained.losses, trained.seconds
    del trained
    parts.release()
    for number, scene in enumerate(scenes):
        rows = slice(2 * number, 2 * number + 2)
        with meter(f"render, picture {number + 1}" + (", loading" if not number else "")):
            drawn = denoise(
                parts.predictor(lora=lora, strength=scene.lora_scale),
                parts.schedule(),
                Conditioning(conditioning.hidden[rows], conditioning.pooled[rows]),
                seed=scene.seed,
                height=scene.height,
                width=scene.width,
                steps=scene.steps,
                guidance_scale=scene.guidance_scale,
                tick=quiet,
            )
            picture = to_picture(parts.decode(drawn))
        picture.save(folder / f"{number + 1}.png")
    free, total = torch.cuda.mem_get_info() if parts.device == "cuda" else (0, 0)
    return {
        "ways": {name: str(parts.memory.way(name)) for name in parts.memory.ladders},
        "expected": {name: parts.memory.way(name).bytes for name in parts.memory.ladders},
        "rows": meter.rows,
        "beside torch": total - free - torch.cuda.memory_reserved() if total else None,
        "losses": losses,
        "train seconds": round(seconds, 1),
        "digests": {
            "conditioning": digest(conditioning.hidden.cpu().numpy().tobytes()),
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


def psnr(ours: Any, theirs: Any, peak: float) -> tuple[float, float]:
    """Give the peak signal-to-noise ratio in dB, infinite for equals, and the largest difference."""
    difference = np.abs(np.asarray(ours, np.float64) - np.asarray(theirs, np.float64))
    error = float((difference**2).mean())
    return (float("inf") if not error else 10 * float(np.log10(peak**2 / error))), float(difference.max())


def print_runs(folder: Path, caps: list[float | None], runs: dict[str, dict[str, Any]]) -> None:
    """Print the caps side by side, as Markdown."""
    whole = runs[named(None)]
    print("\n| | " + " | ".join(named(cap) for cap in caps) + " |\n|---|" + "---|" * len(caps))
    for name in whole["rows"]:
        cells = [runs[named(cap)]["rows"][name] for cap in caps]
        shown = (f"{cell['seconds']:.1f} s, {cell.get('reserved', 0) / GIB:.1f} GiB" for cell in cells)
        print(f"| {name} | " + " | ".join(shown) + " |")
    for name in whole["ways"]:
        shown = (
            f"{runs[named(cap)]['ways'][name]} ({runs[named(cap)]['expected'][name] / GIB:.1f} GiB)" for cap in caps
        )
        print(f"| plan: {name} | " + " | ".join(shown) + " |")
    for name, value in whole["digests"].items():
        shown = ("the same" if runs[named(cap)]["digests"][name] == value else "differs" for cap in caps)
        print(f"| {name} | " + " | ".join(shown) + " |")
    worst = (
        max(abs(a - b) / b for a, b in zip(runs[named(cap)]["losses"], whole["losses"], strict=True)) for cap in caps
    )
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


def compare(options: argparse.Namespace) -> dict[str, Any]:
    """Compare with DiffSynth's pipeline in one process: tensors, one training loss, and a picture."""
    from tests.reference import read_pipeline  # all of DiffSynth, which nothing else here needs

    story = default_story(options)
    device, size, scene = find_device(), options.size, story.resolved_scenes()[0]
    dtype = torch.float16 if device == "cuda" else torch.float32
    parts, theirs = (
        Parts(options.checkpoint, device=device),
        read_pipeline(options.checkpoint, device=device, dtype=dtype),
    )
    found: dict[str, Any] = {}

    def note(name: str, ours: torch.Tensor, reference: torch.Tensor) -> None:
        peak = float(reference.double().abs().max())
        ratio, most = psnr(ours.double().cpu(), reference.double().cpu(), peak)
        found[name] = {"psnr": ratio, "largest difference": most / peak}
        print(f"{name:<24} PSNR {ratio:.1f} dB, largest difference {most / peak:.1e} of the largest value", flush=True)

    texts = (scene.prompt, scene.negative_prompt)
    with torch.inference_mode():
        conditioning = parts.condition(texts)
        parts.release("text_encoder")
        spoken = [theirs.encode_prompt(text) for text in texts]
        note("conditioning, hidden", conditioning.hidden, torch.cat([each["encoder_hidden_states"] for each in spoken]))
        note("conditioning, pooled", conditioning.pooled, torch.cat([each["add_text_embeds"] for each in spoken]))
        theirs.text_encoder_kolors = None
        pixels = to_pixels(photo(0, size))
        latents = theirs.vae_encoder(pixels.to(device))
        note("latents", parts.encode(pixels), latents)
        note("pixels", parts.decode(latents), theirs.vae_decoder(latents))
        extra = theirs.prepare_extra_input(latents.to(dtype))
        timestep = torch.tensor([731.0], device=device)
        predict = parts.predictor().listen(conditioning, latents, size_ids(size, size).repeat(2))
        noise = torch.cat([theirs.unet(latents.to(dtype), timestep, **extra, **each) for each in spoken])
        note("noise prediction", predict(latents, 731), noise)
        drawn = denoise(
            parts.predictor(),
            parts.schedule(),
            conditioning,
            seed=scene.seed,
            height=size,
            width=size,
            steps=scene.steps,
            guidance_scale=scene.guidance_scale,
            tick=quiet,
        )
        picture = to_picture(parts.decode(drawn))
        reference = reference_latents(theirs, spoken, scene, size).float()
        note("latents of the picture", drawn, reference)
        expected = to_picture(theirs.vae_decoder(reference))
    ratio, most = psnr(picture, expected, 255)
    found["picture"] = {"psnr": ratio, "largest difference": most}
    print(f"{'picture':<24} PSNR {ratio:.1f} dB, largest difference {most:.0f} of 255 levels", flush=True)
    parts.release()
    lora = story.lora.model_copy(update={"steps": 1, "batch_size": 1})
    known = Conditioning(conditioning.hidden[:1].cpu().clone(), conditioning.pooled[:1].cpu().clone())
    given = Examples(latents.cpu().clone()[None], known, torch.tensor([0]))
    with tempfile.TemporaryDirectory() as state:
        ours = train(parts.training_unet(), parts.schedule(), given, lora, state=Path(state), tick=quiet).losses[0]
    chance = draw(
        seed=lora.seed, step=0, batch_size=1, examples=1, variants=1, timesteps=1100, shape=tuple(latents.shape[1:])
    )
    with torch.inference_mode():
        noisy = theirs.scheduler.add_noise(latents.cpu(), chance.noise, chance.timesteps).to(device, dtype)
        predicted = theirs.unet(noisy, chance.timesteps.float().to(device), **extra, **spoken[0])
        loss = float(torch.nn.functional.mse_loss(predicted.float().cpu(), chance.noise))
    found["training loss"] = {"ours": ours, "theirs": loss, "difference": abs(ours - loss) / loss}
    print(f"{'training loss':<24} ours {ours:.6f}, theirs {loss:.6f}: {abs(ours - loss) / loss:.1e} apart", flush=True)
    return found


def reference_latents(theirs: Any, spoken: list[Any], scene: Any, size: int) -> torch.Tensor:
    """Denoise as DiffSynth's pipeline does, from our noise: it would draw its own in half precision."""
    latents = torch.randn((1, 4, size // 8, size // 8), generator=torch.Generator().manual_seed(scene.seed))
    latents = latents.to(theirs.device, theirs.torch_dtype)
    extra = theirs.prepare_extra_input(latents)
    theirs.scheduler.set_timesteps(scene.steps, 1.0)
    for timestep in theirs.scheduler.timesteps:
        at = timestep.unsqueeze(0).to(theirs.device)
        wanted, unwanted = (theirs.unet(latents, at, **extra, **each) for each in spoken)
        noise = unwanted + scene.guidance_scale * (wanted - unwanted)
        latents = theirs.scheduler.step(noise, timestep, latents)
    return latents


WORKS = {"measure": measure, "parity": compare}


def main() -> None:
    """Do all that was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--caps", default="24,16,12,8", help="GiB, by commas")
    parser.add_argument("--only", default="measure,caps,parity", help="what to do, by commas")
    parser.add_argument("--steps", type=int, default=12, help="training steps")
    parser.add_argument("--render-steps", type=int)
    parser.add_argument("--size", type=int)
    parser.add_argument("--pocket", action="store_true", help="the small checkpoint, for a dry run")
    parser.add_argument("--child", help="one piece of work in this process")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    options.size = options.size or (128 if options.pocket else 1024)
    options.render_steps = options.render_steps or (3 if options.pocket else 50)
    options.checkpoint = POCKET if options.pocket else options.folder / "Kolors"
    make_deterministic()
    if options.child:
        work, _, cap = options.child.partition(":")
        found = run_story(options, float(cap) if cap else None) if work == "cap" else WORKS[work](options)
        (options.folder / f"{options.child.replace(':', '-')}.json").write_text(json.dumps(found, indent=1))
        return
    if not options.checkpoint.is_dir():
        from tests.full_size import write_kolors

        began = time.monotonic()
        write_kolors(options.checkpoint)
        print(f"Kolors is written in {time.monotonic() - began:.0f} s", flush=True)
        torch.cuda.empty_cache()
    if torch.cuda.is_available():
        print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}")
    asked = options.only.split(",")
    caps: list[float | None] = [None, *(float(cap) for cap in options.caps.split(","))]
    if "measure" in asked:
        child(options, "measure")
    if "caps" in asked:
        runs = {named(cap): child(options, f"cap:{'' if cap is None else cap}") for cap in caps}
        print_runs(options.folder, caps, runs)
    if "parity" in asked:
        child(options, "parity")


def child(options: argparse.Namespace, work: str) -> dict[str, Any]:
    """Do one piece of work in a process of its own, unless its result is there."""
    path = options.folder / f"{work.replace(':', '-')}.json"
    if not path.is_file():
        began = time.monotonic()
        subprocess.run([sys.executable, "-m", "tests.on_gpu_memory", *sys.argv[1:], "--child", work], check=True)
        print(f"({work}: {time.monotonic() - began:.0f} s)", flush=True)
    found: dict[str, Any] = json.loads(path.read_text())
    return found


if __name__ == "__main__":
    main()
