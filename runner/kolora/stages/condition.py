"""Condition: what the U-Net hears of one scene's prompt and negative prompt."""

from __future__ import annotations

from kolora.spec.story import Frozen
from kolora.stages import Facts, Job

VERSION = 1


class Part(Frozen):
    """What encoding a prompt may see."""

    checkpoint: str
    dtype: str
    prompt: str
    negative_prompt: str


def run(part: Part, job: Job) -> Facts:
    """Encode both texts; row 0 is the prompt's, row 1 the negative prompt's."""
    from kolora.models.prompt_embeds import write_prompt_embeds

    checkpoint = job.checkpoint()
    texts = (part.prompt, part.negative_prompt)
    write_prompt_embeds(job.folder / "prompt_embeds.safetensors", checkpoint.encode_prompt(texts))
    tokens, negative_tokens = (checkpoint.tokenizer().count(text) for text in texts)
    job.tick(1, 1)
    return {"tokens": tokens, "negative_tokens": negative_tokens, "token_limit": checkpoint.tokenizer().limit}
