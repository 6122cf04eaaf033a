"""Encode: the training set as latents and conditioning, computed once and kept as safetensors."""

from __future__ import annotations

from runner.spec.story import Frozen
from runner.stages import Facts, Job

VERSION = 1


class Crops(Frozen):
    """The part of ``lora`` that shapes the training pictures."""

    resolution: int
    crop: str
    flip: bool
    seed: int | None
    """Only random crops depend on it."""
    caption_dropout: bool
    """Whether there is any: the empty text is encoded then."""


class Part(Frozen):
    """What encoding may see."""

    checkpoint: str
    dtype: str
    lora: Crops


def run(part: Part, job: Job) -> Facts:
    """Encode every picture that the filters kept, in all its variants, and every distinct caption."""
    from runner.training.examples import encode_examples, write_examples

    parts = job.parts()
    examples, captions = encode_examples(
        parts,
        job.inputs["filter"] / "train",
        resolution=part.lora.resolution,
        crop=part.lora.crop,
        flip=part.lora.flip,
        seed=part.lora.seed or 0,
        untold=part.lora.caption_dropout,
        tick=job.tick,
    )
    parts.release("vae_encoder")
    write_examples(job.folder / "examples.safetensors", examples)
    counts = [parts.tokenizer().count(caption) for caption in captions]
    limit = parts.tokenizer().limit
    return {
        "texts": len(captions),
        "images": len(examples.latents),
        "variants": examples.latents.shape[1],
        "longest_tokens": max(counts),
        "token_limit": limit,
        "truncated": sum(count > limit for count in counts),
    }
