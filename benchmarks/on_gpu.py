"""What only a GPU can show: ``python -m benchmarks.on_gpu FOLDER``, by hand; needs a GPU of 40 GiB and a few minutes.

Recorded steps learn what called ones do, also with dropout and with activations computed twice; a resumed run ends in
the same bytes; two processes at Kolors' full size, with made-up weights, end in the same bytes; and a profile of one
training step and of one noise prediction says where the time goes. With ``--two``: two GPUs train as one does with
twice the batch, to the same bytes every time, and faster.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from kolora.benchmark.networks import random_network
from kolora.configs import KOLORS
from kolora.errors import Stopped
from kolora.memory.plan import OffloadOption
from kolora.models import graphs
from kolora.models.checkpoint import make_deterministic, size_ids
from kolora.models.lora import lora_bytes
from kolora.models.predictor import Predictor
from kolora.models.prompt_embeds import PromptEmbeds
from kolora.models.schedule import NoiseSchedule
from kolora.rendering.denoise import denoise
from kolora.spec.sections.lora import Lora
from kolora.training import loop, step
from kolora.training.adapters import FlatParameters, add_adapters
from kolora.training.config import TrainingConfig
from kolora.training.draws import draw
from kolora.training.examples import Bucket, Examples
from kolora.training.loop import TrainingResult, train
from kolora.training.optimiser import EXTRAS
from kolora.training.process_group import ProcessGroup, launch
from torch.profiler import ProfilerActivity, profile

from tests.tiny import configs

SCHEDULE = NoiseSchedule.from_config(KOLORS["scheduler"])
SMALL_SETTINGS: tuple[dict[str, Any], ...] = (
    {},
    {"dropout": 0.3},
    {"gradient_checkpointing": True},
    {"dtype": torch.float32},
    {"min_snr_gamma": 5.0, "noise_offset": 0.05, "caption_dropout": 0.2},
    {"lr_scheduler": "cosine", "warmup_steps": 3, "max_grad_norm": 0.1, "ema_decay": 0.9},
    {"optimizer": "prodigy"},
    {"optimizer": "adamw8bit"},
    {"shapes": 2},
    {"spoilt": True, "batch_size": 1, "ema_decay": 0.9},
)
"""What the captured step is tried with."""
TWO_SETTINGS: tuple[dict[str, Any], ...] = (
    {},
    {"dtype": torch.float32, "ema_decay": 0.9},
    {"shapes": 2},
    {"dropout": 0.3},
)
"""What two GPUs are tried with; with dropout each drops what it likes."""


def examples(known: dict[str, dict[str, Any]], *, size: int, shapes: int = 1, spoilt: bool = False) -> Examples:
    """Make up a training set of four pictures and two captions, in one shape or two, perhaps one of no numbers."""
    rng = torch.Generator().manual_seed(0)
    width = known["unet"]["encoder_hid_dim"]
    embeds = PromptEmbeds(torch.randn(2, 256, width, generator=rng), torch.randn(2, width, generator=rng))
    sides = [(size // 8, size // 8), (size // 4, size // 16)][:shapes]
    latents = [torch.randn(4 // shapes, 1, 4, *side, generator=rng) for side in sides]
    if spoilt:
        latents[0][0] = float("nan")
    return Examples(embeds, tuple(Bucket(each, torch.arange(len(each)) % 2) for each in latents))


def called(work: Callable[..., torch.Tensor], inputs: Any, **_: Any) -> Callable[..., torch.Tensor]:
    """Stand for ``capture`` where every step is to be called."""
    return graphs.on_device(work, inputs[0].device)


def learned(
    *,
    use_graph: bool,
    stop_at: int | None = None,
    dtype: torch.dtype = torch.bfloat16,
    shapes: int = 1,
    spoilt: bool = False,
    **settings: Any,
) -> TrainingResult:
    """Train the tiny U-Net on the GPU, or on ``devices`` of them; with ``stop_at``, in two runs."""
    setattr(step, "capture", graphs.capture if use_graph else called)  # noqa: B010 - no name that it exports
    small = {"rank": 2, "alpha": 4.0, "steps": 12, "batch_size": 2, "learning_rate": 0.01}
    config = TrainingConfig.of(Lora(**small | settings))

    def tick(done: int, _total: int) -> None:
        if done == stop_at:
            raise Stopped("stop")

    with tempfile.TemporaryDirectory() as folder:
        for _ in range(2 if stop_at else 1):
            part = partial(small_part, config, dtype, shapes, spoilt, Path(folder))
            try:
                with launch(config.devices, part, device="cuda") as group:
                    return part(group, tick=tick)
            except Stopped:
                stop_at = None
    raise AssertionError


def small_part(
    config: TrainingConfig,
    dtype: torch.dtype,
    shapes: int,
    spoilt: bool,
    folder: Path,
    group: ProcessGroup | None,
    *,
    tick: Callable[[int, int], None] = lambda *_: None,
) -> TrainingResult:
    """Be one of the processes that train the tiny U-Net, or the only one."""
    make_deterministic()
    known = configs()
    unet = random_network("unet", known, device="cuda", dtype=dtype)
    given = examples(known, size=64, shapes=shapes, spoilt=spoilt)
    return train(unet, SCHEDULE, given, config, state=folder, tick=tick, group=group)


def check_two(steps: int) -> None:
    """Time two GPUs and one at full size, and compare two with one that has twice the batch."""
    rates = {devices: full_rate(devices, steps) for devices in (1, 2)}
    print(f"samples a second at full size, 4 a step and GPU: {rates}, {rates[2] / rates[1]:.2f} x", flush=True)
    for settings in TWO_SETTINGS:
        alone = learned(use_graph=True, **settings, batch_size=4)
        both = learned(use_graph=True, **settings, devices=2)
        worst = max(abs(a - b) / b for a, b in zip(both.losses, alone.losses, strict=True))
        resumed = learned(use_graph=True, stop_at=5, **settings, devices=2)
        same = digest(resumed) == digest(both) == digest(learned(use_graph=True, **settings, devices=2))
        print(f"two GPUs {settings}: losses differ from one's with twice the batch by {worst:.1e}, ", end="")
        print(f"resumed {resumed.resumed_at} and repeated runs {'the same' if same else 'DIFFERENT'} bytes", flush=True)


def full_rate(devices: int, steps: int) -> float:
    """Measure the samples a second of a training at full size."""
    moments: dict[int, float] = {}
    config = TrainingConfig.of(Lora(rank=16, alpha=4.0, steps=2 * steps, batch_size=4, devices=devices))

    def tick(done: int, _total: int) -> None:
        if done in (steps, 2 * steps):
            torch.cuda.synchronize()
            moments[done] = time.monotonic()

    with tempfile.TemporaryDirectory() as folder:
        part = partial(full_part, config, Path(folder))
        with launch(devices, part, device="cuda") as group:
            part(group, tick=tick)
    torch.cuda.empty_cache()
    return steps * 4 * devices / (moments[2 * steps] - moments[steps])


def full_part(
    config: TrainingConfig,
    folder: Path,
    group: ProcessGroup | None,
    *,
    tick: Callable[[int, int], None] = lambda *_: None,
) -> None:
    """Be one of the processes that train the full-size U-Net, or the only one."""
    make_deterministic()
    unet = random_network("unet", KOLORS, device="cuda", dtype=torch.bfloat16)
    train(unet, SCHEDULE, examples(KOLORS, size=1024), config, state=folder, tick=tick, group=group)


def skipped(trained: TrainingResult) -> int:
    """Count the steps that changed nothing."""
    return sum(not math.isfinite(loss) for loss in trained.losses)


def check_small() -> None:
    """Compare captured with called steps, and resumed with whole runs."""
    for settings in SMALL_SETTINGS:
        module, _ = EXTRAS.get(settings.get("optimizer", ""), ("torch", ""))
        if find_spec(module.partition(".")[0]) is None:
            print(f"small {settings}: {module} is not installed")
            continue
        captured, eager = learned(use_graph=True, **settings), learned(use_graph=False, **settings)
        losses = list(zip(captured.losses, eager.losses, strict=True))
        worst = max(abs(a - b) / b for a, b in losses if math.isfinite(b))
        assert skipped(captured) == skipped(eager) == (3 if settings.get("spoilt") else 0)
        assert all(down.isfinite().all() and up.isfinite().all() for down, up in captured.weights.pairs.values())
        resumed = learned(use_graph=True, stop_at=5, **settings)
        same = digest(resumed) == digest(captured) == digest(learned(use_graph=True, **settings))
        print(f"small {settings}: losses of captured and called steps differ by {worst:.1e}, ", end="")
        print(f"resumed {resumed.resumed_at} and repeated runs {'the same' if same else 'DIFFERENT'} bytes", flush=True)


def digest(trained: TrainingResult) -> str:
    """Hash a LoRA."""
    return hashlib.sha256(lora_bytes(trained.weights, metadata={})).hexdigest()[:16]


def full_size(steps: int) -> dict[str, Any]:
    """Train and render once at full size; returns digests and times."""
    began = time.monotonic()
    found: dict[str, Any] = {}
    for batch_size in (1, 4):
        unet = random_network("unet", KOLORS, device="cuda", dtype=torch.bfloat16)
        config = TrainingConfig.of(Lora(rank=16, alpha=4.0, steps=steps, batch_size=batch_size))
        with tempfile.TemporaryDirectory() as folder:
            trained = train(
                unet, SCHEDULE, examples(KOLORS, size=1024), config, state=Path(folder), tick=lambda *_: None
            )
        found[f"lora of {batch_size} a step"] = digest(trained)
        found[f"losses of {batch_size} a step"] = trained.losses[-1]
        del unet, trained
        torch.cuda.empty_cache()
    predictor = Predictor(random_network("unet", KOLORS, device="cuda", dtype=torch.float16))
    texts = examples(KOLORS, size=1024).embeds
    embeds = texts.to("cuda", torch.float16)
    for seed in (0, 1, 0):
        latents = denoise(
            predictor,
            SCHEDULE,
            embeds,
            seed=seed,
            height=1024,
            width=1024,
            steps=8,
            guidance_scale=4.0,
            tick=lambda *_: None,
        )
        name = f"latents of seed {seed}"
        shown = hashlib.sha256(latents.cpu().numpy().tobytes()).hexdigest()[:16]
        assert found.setdefault(name, shown) == shown, "one process drew one seed twice, and differently"
    return found | {"seconds": round(time.monotonic() - began, 1)}


def check_full(steps: int) -> None:
    """Run ``full_size`` in two processes and compare."""
    command = [sys.executable, "-m", "benchmarks.on_gpu", "-", "--once", "--steps", str(steps)]
    one, other = (
        json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
        for _ in range(2)
    )
    for name, value in one.items():
        print(f"full size, {name}: {value}, again {other[name]}", flush=True)


def profiles(folder: Path) -> None:
    """Write where the time of a training step and of a noise prediction goes, kernel by kernel."""
    for batch_size in (1, 4):
        unet = random_network("unet", KOLORS, device="cuda", dtype=torch.bfloat16)
        add_adapters(unet, TrainingConfig.of(Lora(rank=16, alpha=4.0)))
        flat = FlatParameters(unet, dtype=torch.bfloat16)
        known = examples(KOLORS, size=1024)
        drawn = draw(
            seed=0, step=0, batch_size=batch_size, examples=4, variants=1, num_train_timesteps=1100, shape=(4, 128, 128)
        )
        batch = step.mix(drawn, known, SCHEDULE, dtype=torch.bfloat16)
        unet.train()
        work = step.build_step(unet, flat, batch, option=OffloadOption())
        given = [tensor.cuda() for tensor in batch.tensors()]
        write_profile(folder / f"step-{batch_size}.txt", partial(work, *given))
        del unet, flat, work, given
        torch.cuda.empty_cache()
    texts = known.embeds
    embeds = texts.to("cuda", torch.float16)
    with torch.inference_mode():
        predictor = Predictor(random_network("unet", KOLORS, device="cuda", dtype=torch.float16))
        latents = torch.randn(1, 4, 128, 128, device="cuda")
        predict = predictor.prepare(embeds, latents, size_ids(1024, 1024).repeat(2))
        write_profile(folder / "prediction.txt", lambda: predict(latents, 500))


def write_profile(path: Path, work: Callable[[], object]) -> None:
    """Time a call, and write its kernels by the time they take."""
    for _ in range(3):
        work()
    torch.cuda.synchronize()
    began = time.perf_counter()
    for _ in range(10):
        work()
    torch.cuda.synchronize()
    taken = (time.perf_counter() - began) / 10
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiled:
        work()
        torch.cuda.synchronize()
    table = profiled.key_averages().table(sort_by="self_cuda_time_total", row_limit=45, max_name_column_width=110)
    path.write_text(f"{1e3 * taken:.1f} ms a call\n{table}\n")
    print(f"{path.stem}: {1e3 * taken:.1f} ms a call", flush=True)


def main() -> None:
    """Run all of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--two", action="store_true", help="only what two GPUs can show")
    parser.add_argument("--once", action="store_true", help="only run at full size, and print what came of it")
    options = parser.parse_args()
    make_deterministic()
    if options.once:
        print(json.dumps(full_size(options.steps)))
        return
    if options.two:
        check_two(options.steps)
        return
    assert loop.LOSSES_AT_ONCE < 12, "the small runs must read losses at least twice"
    print("small checks", flush=True)
    check_small()
    check_full(options.steps)
    options.folder.mkdir(parents=True, exist_ok=True)
    profiles(options.folder)


if __name__ == "__main__":
    main()
