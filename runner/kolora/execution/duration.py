"""How long a run may take, estimated before anything is computed; who asks for days has to mean it.

Operations are counted; how many a second a machine does is what others like it were measured to do, so that the figure
may be wrong by a few times: it tells minutes from days.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kolora.configs import KOLORS, read_config
from kolora.device import gpu_architecture
from kolora.errors import InputAbsent, UsageError
from kolora.limits import MAX_HOURS, YES_LARGE, says_yes_large
from kolora.memory.operations import decoder_operations, unet_operations
from kolora.planning import Decision
from kolora.stages.contract import Step

_PER_CORE = 3e10
"""Operations a second of one core: quickstart's training and rendering on two cores of a Xeon, 2026-11."""
_PER_MULTIPROCESSOR = {7: 0.35e12, 8: 0.9e12, 9: 2.2e12, 10: 2.6e12}
"""The same of a card's multiprocessor, by its architecture; 9: training and rendering on an H200, 2026-11
(``docs/performance.md``), the others by the vendor's ratios."""
_UNKNOWN_CARD = 5e13
_ENCODER = 0.5
"""Operations of the VAE's encoder, in its decoder's: two residual blocks a level for three."""
_STEP_SECONDS = 0.01
"""What a step takes besides: launching, saving, telling."""
_FRUGAL = 3
"""Forward, backward, and activations computed twice, of which most cards need one less."""

Configs = Mapping[str, Mapping[str, Any]]


def estimate_seconds(
    decisions: Sequence[Decision], checkpoint: Path | None, *, device: str, fresh: bool = False
) -> float:
    """Estimate how long the steps take that run, or with ``fresh`` all; 0 where the checkpoint cannot tell.

    checkpoint: its folder, None for Kolors that is not here.
    """
    steps = [decision.step for decision in decisions if decision.runs or fresh]
    try:
        configs = KOLORS if checkpoint is None else {part: read_config(checkpoint / part) for part in ("unet", "vae")}
        return _estimate(decisions, steps, configs, device=device)
    # The run says of itself what is wrong with a config, with its record.
    except (InputAbsent, LookupError, TypeError, ValueError, ArithmeticError):
        return 0.0


def _estimate(decisions: Sequence[Decision], steps: Sequence[Step], configs: Configs, *, device: str) -> float:
    configs_by_stage: dict[str, Any] = {each.step.stage: each.step.config for each in decisions}
    latents = configs_by_stage.get("cache_latents")
    resolution = latents.resolution if latents else 1024
    operations, predictions = 0.0, 0.0
    if any(step.stage == "cache_latents" for step in steps):
        pictures = _count_pictures(configs_by_stage["fetch"])
        operations += pictures * _ENCODER * decoder_operations(configs["vae"], pixels=resolution**2)
    for step in steps:
        if step.stage in _WORK:
            done, count = _WORK[step.stage](step, configs, resolution)
            operations, predictions = operations + done, predictions + count
    return operations / _rate(device) + predictions * _STEP_SECONDS


def refuse_large(decisions: Sequence[Decision], checkpoint: Path, *, device: str, fresh: bool) -> None:
    """Raise UsageError for a run that is expected to take longer than the owner allows."""
    seconds = estimate_seconds(decisions, checkpoint, device=device, fresh=fresh)
    if seconds > MAX_HOURS.value * 3600 and not says_yes_large():
        raise UsageError(
            f"this run is estimated to take {duration_text(seconds)}; more than {MAX_HOURS} was not asked for",
            hint=f"--yes-large or {YES_LARGE}=1 if it is meant; else fewer scenes, smaller pictures, or fewer steps",
        )


def duration_text(seconds: float) -> str:
    """Put an estimate in words, as roughly as it is."""
    for size, word in ((86400 * 365, "years"), (86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"about {seconds / size:,.0f} {word}"
    return "about a minute" if seconds > 30 else "less than a minute"


def _count_pictures(fetched: Any) -> int:
    """Count a data set's pictures, or at least its files; fetched: the config of the stage that opens it."""
    if fetched.count is not None:
        return int(fetched.count)
    folder = fetched.folder or getattr(fetched.dataset, "path", None)
    return sum(len(names) for _, _, names in os.walk(folder)) if folder else 0


def _pictures(step: Step, configs: Configs, _resolution: int) -> tuple[float, float]:
    config: Any = step.config
    return _drawn(configs, pixels=config.width * config.height, steps=config.steps, guidance=config.guidance_scale)


def _prior(step: Step, configs: Configs, _resolution: int) -> tuple[float, float]:
    config: Any = step.config
    done, count = _drawn(configs, pixels=config.resolution**2, steps=config.steps, guidance=config.guidance_scale)
    return config.count * done, config.count * count


def _training(step: Step, configs: Configs, resolution: int) -> tuple[float, float]:
    config: Any = step.config
    rows = config.batch_size * (1 if config.prior_weight is None else 2)
    operations = config.steps * rows * _FRUGAL * unet_operations(configs["unet"], pixels=resolution**2)
    predictions = float(config.steps)
    rounds = config.steps // config.sample_every if config.sample_every else 0
    for sample in config.samples:
        done, count = _drawn(
            configs, pixels=sample.width * sample.height, steps=sample.steps, guidance=sample.guidance_scale
        )
        operations, predictions = operations + rounds * done, predictions + rounds * count
    return operations, predictions


_WORK = {"render": _pictures, "baseline": _pictures, "prior": _prior, "train": _training}
"""What the stages that take long compute: operations, and noise predictions."""


def _drawn(configs: Configs, *, pixels: int, steps: int, guidance: float) -> tuple[float, float]:
    rows = 2 if guidance > 1 else 1
    operations = rows * steps * unet_operations(configs["unet"], pixels=pixels)
    return operations + decoder_operations(configs["vae"], pixels=pixels), float(steps)


def _rate(device: str) -> float:
    if device != "cuda":
        return _PER_CORE * len(os.sched_getaffinity(0))
    architecture, multiprocessors = gpu_architecture()
    return _PER_MULTIPROCESSOR.get(architecture, 0) * multiprocessors or _UNKNOWN_CARD
