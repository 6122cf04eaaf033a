"""Train: the LoRA, from the encoded training set."""

from __future__ import annotations

import json

from runner.spec.story import Frozen, Lora
from runner.stages import Facts, Job

VERSION = 2


class Part(Frozen):
    """What training may see."""

    checkpoint: str
    dtype: str
    lora: Lora


def run(part: Part, job: Job) -> Facts:
    """Train from the last saved state, or from nothing; write the LoRA and the loss of every step."""
    from runner.models.lora import lora_bytes
    from runner.training.examples import read_examples
    from runner.training.loop import train

    parts = job.parts()
    parts.release()
    trained = train(
        parts.training_unet(),
        parts.schedule(),
        read_examples(job.inputs["encode"] / "examples.safetensors"),
        part.lora,
        state=job.state,
        tick=job.tick,
        way=parts.memory.way("train"),
        device=parts.device,
    )
    parts.release()
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
        "loss": list(trained.losses),
        "learning_rate": [lora.learning_rate] * lora.steps,
    }
    (job.folder / "history.json").write_text(json.dumps(history), encoding="utf-8")
    tenth = max(1, lora.steps // 10)
    samples = (lora.steps - trained.resumed_at) * lora.batch_size
    return {
        "steps": lora.steps,
        "rank": lora.rank,
        "alpha": lora.alpha,
        "parameters": trained.parameters,
        "loss_first": sum(trained.losses[:tenth]) / tenth,
        "loss_last": sum(trained.losses[-tenth:]) / tenth,
        "samples_per_second": samples / trained.seconds if samples else None,
        "resumed_at": trained.resumed_at,
    }
