"""Encode prior: the prompt of the class whose pictures are drawn before training, encoded as a scene's is.

It is encoded by encode_prompt's code, whose VERSION is therefore this stage's too.
"""

from __future__ import annotations

from collections.abc import Iterator

from kolora.inputs import Inputs
from kolora.spec import Story
from kolora.stages.contract import Step
from kolora.stages.encode_prompt import VERSION, Config, Facts, run

__all__ = ["VERSION", "Config", "Facts", "run", "steps"]


def steps(story: Story, inputs: Inputs) -> Iterator[Step]:
    """One step where the story trains with a prior."""
    prior = story.lora.prior
    if story.training_set is None or prior is None:
        return
    config = Config(
        checkpoint=inputs.checkpoint,
        dtype=story.model.dtype,
        prompt=prior.prompt,
        # Not trained on, but guidance draws the class pictures away from it, as it does the scenes.
        negative_prompt=story.render.negative_prompt,
    )
    yield Step("encode_prior", config)
