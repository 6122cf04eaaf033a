"""Encode prompt: prompt and negative prompt of one scene become the embeddings that the U-Net attends to."""

from __future__ import annotations

from collections.abc import Iterator

from kolora.inputs import Inputs
from kolora.spec import Story
from kolora.spec.types import Frozen
from kolora.stages.contract import Job, StageFacts, Step

VERSION = 1
FILE = "prompt_embeds.safetensors"


class Config(Frozen):
    """All that decides the embeddings of a pair of texts."""

    checkpoint: str
    dtype: str
    prompt: str
    negative_prompt: str


class Facts(StageFacts):
    """How many of the tokens that the checkpoint reads each text takes."""

    tokens: int
    negative_tokens: int
    token_limit: int


def steps(story: Story, inputs: Inputs) -> Iterator[Step]:
    """One step a scene."""
    for scene in story.resolved_scenes():
        config = Config(
            checkpoint=inputs.checkpoint,
            dtype=story.model.dtype,
            # Neither seed nor size: a scene that changes those keeps its embeddings.
            prompt=scene.prompt,
            negative_prompt=scene.negative_prompt,
        )
        yield Step("encode_prompt", config, scene=scene.number)


def run(config: Config, job: Job) -> Facts:
    """Encode both texts; row 0 is the prompt's, row 1 the negative prompt's."""
    from kolora.models.prompt_embeds import write_prompt_embeds

    checkpoint = job.checkpoint()
    texts = (config.prompt, config.negative_prompt)
    write_prompt_embeds(job.folder / FILE, checkpoint.encode_prompt(texts))
    tokenizer = checkpoint.tokenizer()
    tokens, negative_tokens = (tokenizer.count(text) for text in texts)
    job.tick(1, 1)
    return Facts(tokens=tokens, negative_tokens=negative_tokens, token_limit=tokenizer.limit)
