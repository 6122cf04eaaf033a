"""The memory plan of a story on a device."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kolora.configs import KOLORS, read_config
from kolora.errors import InputAbsent
from kolora.memory.plan import GIB, MemoryPlan, StorySize, plan_memory
from kolora.spec import Story

_BYTES_PER_WEIGHT = {"float32": 4, "float16": 2, "bfloat16": 2, "auto": 2}
"""Bytes of a weight on a GPU, by ``model.dtype``."""


def plan_story(story: Story, checkpoint: Path | None, *, gpu_bytes: int | None) -> MemoryPlan:
    """Plan how a story fits into a GPU's memory.

    checkpoint: its folder; None for Kolors that is still to be downloaded. gpu_bytes: that the GPU has, None where
    nobody knows; ``model.memory`` may allow less.
    """
    allowed = None if story.model.memory is None else int(story.model.memory * GIB)
    limits = [each for each in (gpu_bytes, allowed) if each is not None]
    try:
        return plan_memory(_configs(checkpoint), story_size(story), available_bytes=min(limits, default=None))
    except (LookupError, TypeError, ValueError, ArithmeticError) as problem:
        raise InputAbsent(
            f"the checkpoint's configs are not those of a Kolors checkpoint: {problem!r}",
            hint="point model.checkpoint at a folder in the layout of Kwai-Kolors/Kolors",
        ) from problem


def story_size(story: Story) -> StorySize:
    """Tell what of a story decides about memory."""
    lora = story.lora
    # One plan serves all scenes, so the largest decides.
    largest = max(story.resolved_scenes(), key=lambda scene: scene.width * scene.height)
    return StorySize(
        bytes_per_weight=_BYTES_PER_WEIGHT[story.model.dtype],
        resolution=lora.resolution,
        batch_size=lora.batch_size,
        rank=lora.rank,
        checkpointing=lora.gradient_checkpointing,
        width=largest.width,
        height=largest.height,
    )


def _configs(checkpoint: Path | None) -> Mapping[str, Mapping[str, Any]]:
    if checkpoint is None:
        return KOLORS
    return {part: read_config(checkpoint / part) for part in ("text_encoder", "unet", "vae")}
