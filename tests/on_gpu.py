"""What only a GPU can show: ``python -m tests.on_gpu FOLDER``, by hand; needs a GPU of 40 GiB and a few minutes.

Recorded steps learn what called ones do, also with dropout and with activations computed twice; a resumed run ends in
the same bytes; two processes at Kolors' full size, with made-up weights, end in the same bytes; and a profile of one
training step and of one noise prediction says where the time goes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from runner.benching.networks import made_up
from runner.errors import Stopped
from runner.memory.plan import Way
from runner.models import graphs
from runner.models.conditioning import Conditioning
from runner.models.layout import KOLORS
from runner.models.lora import lora_bytes
from runner.models.parts import make_deterministic, size_ids
from runner.models.predictor import Predictor
from runner.models.schedule import NoiseSchedule
from runner.rendering.denoise import denoise
from runner.spec.story import Lora
from runner.training import loop, step
from runner.training.adapters import Master, add_adapters
from runner.training.draws import draw
from runner.training.examples import Examples
from runner.training.loop import Trained, train
from tests.tiny import configs

SCHEDULE = NoiseSchedule.from_config(KOLORS["scheduler"])


def examples(known: dict[str, dict[str, Any]], *, size: int) -> Examples:
    """Make up a training set of four pictures and two captions."""
    chance = torch.Generator().manual_seed(0)
    width = known["unet"]["encoder_hid_dim"]
    conditioning = Conditioning(torch.randn(2, 256, width, generator=chance), torch.randn(2, width, generator=chance))
    latents = torch.randn(4, 1, 4, size // 8, size // 8, generator=chance)
    return Examples(latents, conditioning, torch.arange(4) % 2)


def called(work: Callable[..., torch.Tensor], inputs: Any) -> Callable[..., torch.Tensor]:
    """Stand for ``captured`` where every step is to be called."""
    return graphs.called(work, inputs[0].device)


def learned(
    *, recorded: bool, stop_at: int | None = None, dtype: torch.dtype = torch.bfloat16, **settings: Any
) -> Trained:
    """Train the tiny U-Net on the GPU; with ``stop_at``, in two runs."""
    known = configs()
    step.captured = graphs.captured if recorded else called  # type: ignore[assignment]
    lora = Lora(**{"rank": 2, "alpha": 4.0, "steps": 12, "batch_size": 2, "learning_rate": 0.01} | settings)

    def tick(done: int, _total: int) -> None:
        if done == stop_at:
            raise Stopped("stop")

    with tempfile.TemporaryDirectory() as folder:
        for _ in range(2 if stop_at else 1):
            unet = made_up("unet", known, device="cuda", dtype=dtype)
            try:
                return train(unet, SCHEDULE, examples(known, size=64), lora, state=Path(folder), tick=tick)
            except Stopped:
                stop_at = None
    raise AssertionError


def check_small() -> None:
    """Compare recorded with called steps, and resumed with whole runs."""
    for settings in ({}, {"dropout": 0.3}, {"gradient_checkpointing": True}, {"dtype": torch.float32}):
        recorded, eager = learned(recorded=True, **settings), learned(recorded=False, **settings)
        worst = max(abs(a - b) / b for a, b in zip(recorded.losses, eager.losses, strict=True))
        resumed = learned(recorded=True, stop_at=5, **settings)
        same = digest(resumed) == digest(recorded) == digest(learned(recorded=True, **settings))
        print(f"small {settings}: losses of recorded and called steps differ by {worst:.1e}, ", end="")
        print(f"resumed {resumed.resumed_at} and repeated runs {'the same' if same else 'DIFFERENT'} bytes", flush=True)


def digest(trained: Trained) -> str:
    """Hash a LoRA."""
    return hashlib.sha256(lora_bytes(trained.weights, metadata={})).hexdigest()[:16]


def full_size(steps: int) -> dict[str, Any]:
    """Train and render once at full size; returns digests and times."""
    began = time.monotonic()
    found: dict[str, Any] = {}
    for batch_size in (1, 4):
        unet = made_up("unet", KOLORS, device="cuda", dtype=torch.bfloat16)
        lora = Lora(rank=16, alpha=4.0, steps=steps, batch_size=batch_size)
        with tempfile.TemporaryDirectory() as folder:
            trained = train(unet, SCHEDULE, examples(KOLORS, size=1024), lora, state=Path(folder), tick=lambda *_: None)
        found[f"lora of {batch_size} a step"] = digest(trained)
        found[f"losses of {batch_size} a step"] = trained.losses[-1]
        del unet, trained
        torch.cuda.empty_cache()
    predictor = Predictor(made_up("unet", KOLORS, device="cuda", dtype=torch.float16))
    texts = examples(KOLORS, size=1024).conditioning
    heard = Conditioning(texts.hidden.to("cuda", torch.float16), texts.pooled.to("cuda", torch.float16))
    for seed in (0, 1, 0):
        latents = denoise(
            predictor,
            SCHEDULE,
            heard,
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
    command = [sys.executable, "-m", "tests.on_gpu", "-", "--once", "--steps", str(steps)]
    one, other = (
        json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
        for _ in range(2)
    )
    for name, value in one.items():
        print(f"full size, {name}: {value}, again {other[name]}", flush=True)


def profiles(folder: Path) -> None:
    """Write where the time of a training step and of a noise prediction goes, kernel by kernel."""
    for batch_size in (1, 4):
        unet = made_up("unet", KOLORS, device="cuda", dtype=torch.bfloat16)
        add_adapters(unet, Lora(rank=16, alpha=4.0))
        master = Master(unet, dtype=torch.bfloat16)
        known = examples(KOLORS, size=1024)
        drawn = draw(seed=0, step=0, batch_size=batch_size, examples=4, variants=1, timesteps=1100, shape=(4, 128, 128))
        batch = step.mix(drawn, known, SCHEDULE, dtype=torch.bfloat16)
        unet.train()
        work = step.ready_step(unet, master, batch, way=Way())
        given = [tensor.cuda() for tensor in batch.tensors()]
        write_profile(folder / f"step-{batch_size}.txt", lambda work=work, given=given: work(*given))
        use_channels_last(unet)
        work = step.ready_step(unet, master, batch, way=Way())
        write_profile(folder / f"step-{batch_size}-channels-last.txt", lambda work=work, given=given: work(*given))
        del unet, master, work, given
        torch.cuda.empty_cache()
    texts = known.conditioning
    heard = Conditioning(texts.hidden.to("cuda", torch.float16), texts.pooled.to("cuda", torch.float16))
    with torch.inference_mode():
        predictor = Predictor(made_up("unet", KOLORS, device="cuda", dtype=torch.float16))
        latents = torch.randn(1, 4, 128, 128, device="cuda")
        predict = predictor.listen(heard, latents, size_ids(1024, 1024).repeat(2))
        write_profile(folder / "prediction.txt", lambda: predict(latents, 500))
        use_channels_last(predictor._unet)
        predict = Predictor(predictor._unet).listen(heard, latents, size_ids(1024, 1024).repeat(2))
        write_profile(folder / "prediction-channels-last.txt", lambda: predict(latents, 500))


def use_channels_last(unet: nn.Module) -> None:
    """Lay the convolutions' weights out as the fastest kernels want them."""
    for module in unet.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.data = module.weight.data.contiguous(memory_format=torch.channels_last)


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
    parser.add_argument("--once", action="store_true", help="only run at full size, and print what came of it")
    options = parser.parse_args()
    make_deterministic()
    if options.once:
        print(json.dumps(full_size(options.steps)))
        return
    assert loop.LOSSES_AT_ONCE < 12, "the small runs must read losses at least twice"
    print("small checks", flush=True)
    check_small()
    check_full(options.steps)
    profiles(options.folder)


if __name__ == "__main__":
    main()
