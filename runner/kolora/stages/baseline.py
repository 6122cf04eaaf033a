"""Baseline: the scenes from the same seeds without the LoRA, to compare with what it does.

A stage of its own, not a flag of render: its steps need no training, so they are kept when the LoRA or its strength
changes, and ``--force render`` leaves them alone. Render's code draws them, so render's VERSION is theirs too: what
changes one side of the comparison changes the other.
"""

from __future__ import annotations

from collections.abc import Iterator

from kolora.inputs import Inputs
from kolora.spec import Story
from kolora.stages.contract import Step
from kolora.stages.render import MEMORY_KEYS, SECTION, VERSION, Config, Facts, config_of, run

__all__ = ["MEMORY_KEYS", "SECTION", "VERSION", "Config", "Facts", "run", "steps"]


def steps(story: Story, inputs: Inputs) -> Iterator[Step]:
    """One step for each scene that is drawn with a LoRA; they need no training, so they outlive every change of it."""
    if not story.report.compare:
        return
    for scene in story.resolved_scenes():
        if scene.lora_scale:
            # Strength 0 and no LoRA in the config: the digest is then the same before and after any training.
            without_lora = scene.model_copy(update={"lora_scale": 0.0})
            config = config_of(without_lora, checkpoint=inputs.checkpoint, dtype=story.model.dtype, lora=None)
            yield Step("baseline", config, scene=scene.number, needs=(("encode_prompt", scene.number),))
