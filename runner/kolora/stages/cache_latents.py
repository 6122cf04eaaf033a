"""Cache latents: the training set as latents and prompt embeddings, computed once and kept as safetensors."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING

from kolora.inputs import Inputs
from kolora.spec import Story
from kolora.spec.types import Frozen
from kolora.stages.contract import Job, StageFacts, Step

if TYPE_CHECKING:
    from kolora.training.examples import Bucket

VERSION = 3
"""2: the same numbers, written by size of picture; and what each picture is shown with.
3: kernels that add in another order, so other last bits on a GPU."""
SECTION = "lora"
MEMORY_KEYS = "lora.resolution"

log = logging.getLogger(__name__)


class Config(Frozen):
    """All that shapes the training set.

    seed: of random crops, None where none are cut. caption_dropout: whether there is any: the empty text
    is encoded then.
    """

    checkpoint: str
    dtype: str
    resolution: int
    crop: str
    flip: bool
    seed: int | None
    trigger: str
    template: str | None
    caption_dropout: bool


class PictureSize(StageFacts):
    """How many pictures have a size, in pixels."""

    width: int
    height: int
    images: int


class Facts(StageFacts):
    """What is trained on: distinct texts, pictures, variants of each, and how many texts the checkpoint reads cut."""

    texts: int
    images: int
    variants: int
    sizes: tuple[PictureSize, ...]
    longest_tokens: int
    token_limit: int
    truncated: int


def steps(story: Story, inputs: Inputs) -> Iterator[Step]:
    """One step where a LoRA is trained."""
    if story.training_set is None:
        return
    lora = story.lora
    config = Config(
        checkpoint=inputs.checkpoint,
        dtype=story.model.dtype,
        resolution=lora.resolution,
        crop=lora.crop,
        flip=lora.flip,
        # A seed that decides nothing stays out of the digest: changing it encodes nothing anew.
        seed=lora.seed if lora.crop == "random" else None,
        trigger=lora.trigger,
        template=lora.template,
        # Only whether, not how often: that is drawn while training, from the same cache.
        caption_dropout=lora.caption_dropout > 0,
    )
    yield Step("cache_latents", config, needs=(("filter", None),))


def run(config: Config, job: Job) -> Facts:
    """Encode every picture that the filters kept, in all its variants, and every distinct text."""
    from kolora.training.examples import encode_examples, write_examples

    checkpoint = job.checkpoint()
    examples, pictures = encode_examples(
        checkpoint,
        job.input("filter") / "train",
        resolution=config.resolution,
        crop=config.crop,
        flip=config.flip,
        seed=config.seed or 0,
        trigger=config.trigger,
        template=config.template,
        with_empty_caption=config.caption_dropout,
        tick=job.tick,
    )
    checkpoint.release("vae_encoder")
    write_examples(job.folder / "examples.safetensors", examples)
    tokenizer = checkpoint.tokenizer()
    counts = {each.text: tokenizer.count(each.text) for each in pictures}
    lines = [{"picture": each.picture, "text": each.text, "tokens": counts[each.text]} for each in pictures]
    text_lines = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    (job.folder / "texts.jsonl").write_text(text_lines, encoding="utf-8")
    truncated = {text: count for text, count in counts.items() if count > tokenizer.limit}
    for text, count in truncated.items():
        log.warning("a caption has %d tokens, only the first %d are read: %s", count, tokenizer.limit, text)
    return Facts(
        texts=len(counts),
        images=len(pictures),
        variants=examples.buckets[0].latents.shape[1],
        sizes=tuple(_size_of(bucket) for bucket in examples.buckets),
        longest_tokens=max(counts.values()),
        token_limit=tokenizer.limit,
        truncated=len(truncated),
    )


def _size_of(bucket: Bucket) -> PictureSize:
    width, height = bucket.size
    return PictureSize(width=width, height=height, images=len(bucket.latents))
