"""Train: the LoRA, from the cached latents of the training set."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from pydantic import model_validator

from kolora.inputs import Inputs
from kolora.saved import SAVED, StateDamaged, clear_saved, read_saved
from kolora.spec import Story
from kolora.spec.sections.scene import SampleScene
from kolora.stages.contract import Job, Key, StageFacts, Step
from kolora.stages.encode_prompt import FILE
from kolora.training.config import TrainingConfig

VERSION = 4
"""2: steps captured as CUDA graphs, with adapters in one buffer.
3: the same LoRA, and steps that changed nothing have no loss in the history.
4: kernels that add in another order, so other last bits on a GPU."""
SECTION = "lora"
MEMORY_KEYS = "lora.resolution or lora.rank"
SAMPLES = "samples"
"""The folder of pictures drawn while training, in the saved state and in the step's own folder."""


class Config(TrainingConfig):
    """All that decides the LoRA besides the training set.

    samples: scenes that are drawn now and then, each with its prompt embeddings as an input.
    """

    checkpoint: str
    dtype: str
    samples: tuple[SampleScene, ...] = ()


class SampleFacts(StageFacts):
    """A picture drawn while training; file: inside this stage's folder."""

    step: int
    scene: int | None = None
    file: str


class Facts(StageFacts):
    """How the LoRA was trained; losses are means of the first and the last tenth of the steps.

    skipped: steps with a NaN or infinite loss, which changed nothing. resumed_at: the step it went on from, 0 where it
    was not interrupted.
    """

    steps: int
    rank: int | None = None
    alpha: float | None = None
    parameters: int | None = None
    loss_first: float | None = None
    loss_last: float | None = None
    skipped: int = 0
    samples_per_second: float | None = None
    resumed_at: int | None = None
    samples: tuple[SampleFacts, ...] = ()


class History(StageFacts):
    """``history.json``: one value a step; a loss that was NaN or infinite is null."""

    step: tuple[int, ...]
    loss: tuple[float | None, ...]
    learning_rate: tuple[float | None, ...] = ()

    @model_validator(mode="after")
    def _one_loss_a_step(self) -> History:
        if len(self.step) != len(self.loss):
            raise ValueError(f"{len(self.step)} steps have {len(self.loss)} losses")
        return self


def steps(story: Story, inputs: Inputs) -> Iterator[Step]:
    """One step where a LoRA is trained; it reads the prompt embeddings of the scenes that it draws now and then."""
    if story.training_set is None:
        return
    lora = story.lora
    # None where none are drawn: else every edited prompt would train again.
    sample_scenes = story.resolved_scenes()[: lora.sample_scenes] if lora.sample_every else ()
    config = Config(
        **TrainingConfig.of(lora).model_dump(),
        checkpoint=inputs.checkpoint,
        dtype=story.model.dtype,
        samples=tuple(SampleScene.of(scene) for scene in sample_scenes),
    )
    prior_keys: tuple[Key, ...] = (("prior", None),) if lora.prior else ()
    embeds_keys: list[Key] = [("encode_prompt", scene.number) for scene in sample_scenes]
    yield Step("train", config, needs=(("cache_latents", None), *prior_keys, *embeds_keys))


def run(config: Config, job: Job) -> Facts:
    """Train from the last saved state, or from nothing; write the LoRA, the loss of every step, and samples."""
    from kolora.models.lora import lora_bytes
    from kolora.models.prompt_embeds import read_prompt_embeds
    from kolora.rendering.samples import SampleRenderer
    from kolora.training.curves import Curves
    from kolora.training.loop import train
    from kolora.training.process_group import launch
    from kolora.training.task import TrainingTask

    _check_saved(config, job)
    checkpoint = job.checkpoint()
    # The text encoder (12 GB of Kolors) and the VAE are not asked for while training; samples load the VAE again.
    checkpoint.release()
    option = checkpoint.memory.option("train")
    priors = job.inputs_of("prior")
    task = TrainingTask(
        checkpoint=checkpoint.folder,
        device=checkpoint.device,
        dtype=config.dtype,
        config=config,
        examples=job.input("cache_latents") / "examples.safetensors",
        prior=priors[0] / "examples.safetensors" if priors else None,
        state=job.state,
        state_of=job.digest,
        memory=checkpoint.memory,
    )
    embeds = [read_prompt_embeds(folder / FILE, device=checkpoint.device) for folder in job.inputs_of("encode_prompt")]
    scenes = list(zip(config.samples, embeds, strict=True))
    # With the state, which outlives a kill: the step's own folder begins empty again.
    sample_folder = job.state / SAMPLES
    with launch(config.devices, task.run_worker, device=checkpoint.device) as group:
        result = train(
            checkpoint.training_unet(),
            checkpoint.schedule(),
            task.training_set(),
            config,
            state=job.state,
            tick=job.tick,
            state_of=job.digest,
            sample=SampleRenderer(
                checkpoint.schedule(),
                checkpoint.decode,
                scenes,
                sample_folder,
                use_graph=not option.offload,
                of=job.digest,
            ),
            # Outside the step's folder: TensorBoard's files bear times and host names, so no two runs' are equal.
            curves=Curves(config, job.folder, events=job.log.parent / "tensorboard"),
            group=group,
            option=option,
            device=checkpoint.device,
        )
    checkpoint.release()
    (job.folder / "lora.safetensors").write_bytes(lora_bytes(result.weights, metadata=metadata_of(config)))
    _write_history(config, result.losses, job.folder)
    # Of the first and last tenth, as the loss of single steps jumps with their timesteps.
    tenth = max(1, config.steps // 10)
    # Of this process alone: the steps before an interruption took time that nobody measured here.
    pictures = (config.steps - result.resumed_at) * config.batch_size * config.devices
    return Facts(
        steps=config.steps,
        rank=config.rank,
        alpha=config.alpha,
        parameters=result.parameters,
        loss_first=_mean(result.losses[:tenth]),
        loss_last=_mean(result.losses[-tenth:]),
        skipped=sum(not math.isfinite(loss) for loss in result.losses),
        samples_per_second=pictures / result.seconds if pictures else None,
        resumed_at=result.resumed_at,
        samples=_copy_samples(sample_folder, job.folder / SAMPLES, of=job.digest),
    )


def metadata_of(config: Config) -> dict[str, str]:
    """Say in the LoRA's header what it was trained on and how."""
    return {
        "kolora.checkpoint": config.checkpoint,
        "kolora.rank": str(config.rank),
        "kolora.alpha": f"{config.alpha:g}",
        # alpha / rank is in the weights: a reader that scales once more would draw another strength.
        "kolora.alpha_folded": "true",
        "kolora.steps": str(config.steps),
        "kolora.seed": str(config.seed),
    }


def _write_history(config: Config, losses: Sequence[float], folder: Path) -> None:
    from kolora.training.optimiser import learning_rate

    history = History(
        step=tuple(range(1, config.steps + 1)),
        loss=tuple(loss if math.isfinite(loss) else None for loss in losses),
        learning_rate=tuple(learning_rate(config, step) for step in range(config.steps)),
    )
    (folder / "history.json").write_text(json.dumps(history.model_dump()), encoding="utf-8")


def _check_saved(config: Config, job: Job) -> None:
    """Forget what an interrupted training saved where it is not all there, as it was saved, and say so."""
    from kolora.rendering.samples import sample_name
    from kolora.training.state import read_state

    samples = job.state / SAMPLES
    try:
        if os.path.lexists(samples) and (samples.is_symlink() or not samples.is_dir()):
            raise StateDamaged(samples, "is no folder")
        saved = {path.name for path in samples.glob(f"*{SAVED}") if read_saved(path, of=job.digest) is not None}
        state = read_state(job.state, of=job.digest)
        # Pictures of steps long past cannot be drawn any more, but by training anew.
        for step in range(config.sample_every or 0, state.step if state else 0, config.sample_every or 1):
            for scene in config.samples:
                if sample_name(step, scene.number) not in saved:
                    raise StateDamaged(samples, f"lacks the picture of step {step}")
    except StateDamaged as problem:
        job.notice(f"train begins anew: {problem.error}")
        clear_saved(job.state)


def _copy_samples(sample_folder: Path, folder: Path, *, of: str) -> tuple[SampleFacts, ...]:
    """Copy the sample pictures, ``0050-01`` of step 50 and scene 1, to where they stay; returns a fact on each."""
    if not sample_folder.is_dir():
        return ()
    facts = []
    folder.mkdir()
    for path in sorted(sample_folder.glob(f"*{SAVED}")):
        step, scene = map(int, path.stem.split("-"))
        picture = read_saved(path, of=of)
        assert picture is not None
        (folder / f"{path.stem}.png").write_bytes(picture)
        facts.append(SampleFacts(step=step, scene=scene, file=f"{SAMPLES}/{path.stem}.png"))
    return tuple(facts)


def _mean(losses: Sequence[float]) -> float | None:
    """Average the losses that are numbers; a stretch without any has none."""
    counted = [loss for loss in losses if math.isfinite(loss)]
    return sum(counted) / len(counted) if counted else None
