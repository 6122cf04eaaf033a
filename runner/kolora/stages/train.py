"""Train: the LoRA, from the encoded training set."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Sequence
from pathlib import Path

from kolora.spec.story import Frozen, Lora, SampleScene
from kolora.stages import Facts, Job

VERSION = 4
"""3: the same LoRA, and steps that changed nothing have no loss in the history."""


class Part(Frozen):
    """What training may see."""

    checkpoint: str
    dtype: str
    lora: Lora
    samples: tuple[SampleScene, ...] = ()
    """Scenes that are drawn now and then, each with its embeds as an input."""


def run(part: Part, job: Job) -> Facts:
    """Train from the last saved state, or from nothing; write the LoRA, the loss of every step, and samples."""
    from kolora.models.lora import lora_bytes
    from kolora.models.prompt_embeds import read_prompt_embeds
    from kolora.rendering.samples import Sampler
    from kolora.training.config import TrainingConfig
    from kolora.training.curves import Curves
    from kolora.training.loop import train
    from kolora.training.optimiser import learning_rate
    from kolora.training.process_group import launch
    from kolora.training.task import TrainingTask

    checkpoint = job.checkpoint()
    checkpoint.release()
    config = TrainingConfig.of(part.lora)
    option = checkpoint.memory.option("train")
    task = TrainingTask(
        checkpoint=checkpoint.folder,
        device=checkpoint.device,
        dtype=part.dtype,
        config=config,
        examples=job.inputs["encode"] / "examples.safetensors",
        prior=job.inputs["prior"] / "examples.safetensors" if part.lora.prior else None,
        state=job.state,
        memory=checkpoint.memory,
    )
    conditions = [job.inputs[f"condition-{scene.number:02d}"] / "prompt_embeds.safetensors" for scene in part.samples]
    embeds = [read_prompt_embeds(path, device=checkpoint.device) for path in conditions]
    scenes = list(zip(part.samples, embeds, strict=True))
    with launch(part.lora.devices, task.run_worker, device=checkpoint.device) as group:
        trained = train(
            checkpoint.training_unet(),
            checkpoint.schedule(),
            task.training_set(),
            config,
            state=job.state,
            tick=job.tick,
            sample=Sampler(
                checkpoint.schedule(), checkpoint.decode, scenes, job.state / "samples", recorded=not option.offload
            ),
            curves=Curves(config, job.folder, events=job.log.parent / "tensorboard"),
            group=group,
            option=option,
            device=checkpoint.device,
        )
    checkpoint.release()
    lora = part.lora
    metadata = {
        "kolora.checkpoint": part.checkpoint,
        "kolora.rank": str(lora.rank),
        "kolora.alpha": f"{lora.alpha:g}",
        "kolora.alpha_folded": "true",
        "kolora.steps": str(lora.steps),
        "kolora.seed": str(lora.seed),
    }
    (job.folder / "lora.safetensors").write_bytes(lora_bytes(trained.weights, metadata=metadata))
    history = {
        "step": list(range(1, lora.steps + 1)),
        "loss": [loss if math.isfinite(loss) else None for loss in trained.losses],
        "learning_rate": [learning_rate(config, step) for step in range(lora.steps)],
    }
    (job.folder / "history.json").write_text(json.dumps(history), encoding="utf-8")
    samples = _kept(job.state / "samples", job.folder / "samples")
    tenth = max(1, lora.steps // 10)
    shown = (lora.steps - trained.resumed_at) * lora.batch_size * lora.devices
    return {
        "steps": lora.steps,
        "rank": lora.rank,
        "alpha": lora.alpha,
        "parameters": trained.parameters,
        "loss_first": _mean(trained.losses[:tenth]),
        "loss_last": _mean(trained.losses[-tenth:]),
        "skipped": sum(not math.isfinite(loss) for loss in trained.losses),
        "samples_per_second": shown / trained.seconds if shown else None,
        "resumed_at": trained.resumed_at,
        "samples": samples,
    }


def _kept(drawn: Path, folder: Path) -> list[Facts]:
    """Copy the sample pictures, ``0050-01.png`` of step 50 and scene 1, to where they stay; returns a fact on each."""
    if not drawn.is_dir():
        return []
    facts = []
    folder.mkdir()
    for path in sorted(drawn.glob("*.png")):
        step, scene = map(int, path.stem.split("-"))
        shutil.copyfile(path, folder / path.name)
        facts.append({"step": step, "scene": scene, "file": f"samples/{path.name}"})
    return facts


def _mean(losses: Sequence[float]) -> float | None:
    """Average the losses that are numbers; a stretch without any has none."""
    counted = [loss for loss in losses if math.isfinite(loss)]
    return sum(counted) / len(counted) if counted else None
