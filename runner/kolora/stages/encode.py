"""Encode: the training set as latents and prompt embeddings, computed once and kept as safetensors."""

from __future__ import annotations

import json
import logging

from kolora.spec.story import Frozen
from kolora.stages import Facts, Job

VERSION = 3
"""2: the same numbers, written by size of picture; and what each picture is shown with."""

log = logging.getLogger(__name__)


class Preparation(Frozen):
    """The part of ``lora`` that shapes the training set."""

    resolution: int
    crop: str
    flip: bool
    seed: int | None
    """Only random crops depend on it."""
    trigger: str
    template: str | None
    caption_dropout: bool
    """Whether there is any: the empty text is encoded then."""


class Part(Frozen):
    """What encoding may see."""

    checkpoint: str
    dtype: str
    lora: Preparation


def run(part: Part, job: Job) -> Facts:
    """Encode every picture that the filters kept, in all its variants, and every distinct text."""
    from kolora.training.examples import encode_examples, write_examples

    checkpoint = job.checkpoint()
    examples, pictures = encode_examples(
        checkpoint,
        job.inputs["filter"] / "train",
        resolution=part.lora.resolution,
        crop=part.lora.crop,
        flip=part.lora.flip,
        seed=part.lora.seed or 0,
        trigger=part.lora.trigger,
        template=part.lora.template,
        with_empty_caption=part.lora.caption_dropout,
        tick=job.tick,
    )
    checkpoint.release("vae_encoder")
    write_examples(job.folder / "examples.safetensors", examples)
    tokenizer = checkpoint.tokenizer()
    counts = {text: tokenizer.count(text) for text in dict.fromkeys(each.text for each in pictures)}
    lines = [{"picture": each.picture, "text": each.text, "tokens": counts[each.text]} for each in pictures]
    written = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    (job.folder / "texts.jsonl").write_text(written, encoding="utf-8")
    cut = {text: count for text, count in counts.items() if count > tokenizer.limit}
    for text, count in cut.items():
        log.warning("a caption has %d tokens of %d: its end is not read: %s", count, tokenizer.limit, text)
    return {
        "texts": len(counts),
        "images": len(pictures),
        "variants": examples.buckets[0].latents.shape[1],
        "sizes": [_size(*bucket.latents.shape) for bucket in examples.buckets],
        "longest_tokens": max(counts.values()),
        "token_limit": tokenizer.limit,
        "truncated": len(cut),
    }


def _size(images: int, _variants: int, _channels: int, height: int, width: int) -> dict[str, int]:
    """Say how many pictures have a size, in pixels."""
    return {"width": 8 * width, "height": 8 * height, "images": images}
