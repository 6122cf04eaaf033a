"""The encoded training set: made from pictures and captions, written and read as safetensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from PIL import Image
from safetensors.torch import load_file, save

from kolora.configs import VAE_FACTOR
from kolora.datasets.metadata import read_metadata
from kolora.models.checkpoint import Checkpoint
from kolora.models.pixels import to_pixels
from kolora.models.prompt_embeds import PromptEmbeds
from kolora.training.captions import compose
from kolora.training.crops import cut
from kolora.training.draws import generator


@dataclass(frozen=True)
class Bucket:
    """Pictures of one size: latents (N, V, 4, h, w) float32 in V variants (crops, mirrored) of each, and captions (N,),
    the row of embeds that belongs to each.

    weight: how much they count. share: steps of an epoch that show them; as many as there are pictures unless given.
    """

    latents: torch.Tensor
    captions: torch.Tensor
    weight: float = 1.0
    share: int | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the pictures, in pixels."""
        height, width = self.latents.shape[-2:]
        return VAE_FACTOR * width, VAE_FACTOR * height


@dataclass(frozen=True)
class Examples:
    """The training set: embeds of the distinct texts, and the pictures by size.

    The last row of embeds is the empty text's where pictures may be shown without theirs.
    """

    embeds: PromptEmbeds
    buckets: tuple[Bucket, ...]

    @property
    def shares(self) -> tuple[int, ...]:
        """Steps of an epoch that show each bucket."""
        return tuple(len(each.latents) if each.share is None else each.share for each in self.buckets)

    @property
    def weighted(self) -> bool:
        """Whether some pictures count otherwise than others."""
        return len({bucket.weight for bucket in self.buckets} | {1.0}) > 1


@dataclass(frozen=True)
class TrainingPicture:
    """A training picture, by its file's name, and the text it is shown with."""

    picture: str
    text: str


def encode_examples(
    checkpoint: Checkpoint,
    folder: Path,
    *,
    resolution: int,
    crop: str,
    flip: bool,
    seed: int,
    trigger: str = "",
    template: str | None = None,
    with_empty_caption: bool = False,
    tick: Callable[[int, int], None],
) -> tuple[Examples, tuple[TrainingPicture, ...]]:
    """Encode ``folder`` (pictures and ``metadata.csv``); returns examples on the CPU, and what each is shown with.

    with_empty_caption: whether the empty text is encoded too, for pictures that are shown without theirs.
    """
    rows = read_metadata(folder)
    pictures = tuple(
        TrainingPicture(row.file_name, compose(row.text, trigger=trigger, template=template)) for row in rows
    )
    captions = list(dict.fromkeys(each.text for each in pictures))
    texts = [*captions, ""] if with_empty_caption else captions
    total = len(texts) + len(pictures)
    embeds = _encode_texts(checkpoint, texts, tick=lambda done: tick(done, total))
    # Before a picture is encoded: text encoder and VAE never need the GPU together.
    checkpoint.release("text_encoder")
    buckets: dict[torch.Size, list[tuple[torch.Tensor, int]]] = {}
    for done, each in enumerate(pictures, len(texts) + 1):
        with Image.open(folder / each.picture) as opened:
            picture = opened.convert("RGB")
        # By the name, so that a picture more or less in the folder cuts no other one elsewhere.
        rng = generator(seed, "crop", each.picture)
        pieces = cut(picture, resolution=resolution, crop=crop, flip=flip, rng=rng)
        latents = torch.cat([checkpoint.encode(to_pixels(piece)).cpu() for piece in pieces])
        buckets.setdefault(latents.shape, []).append((latents, captions.index(each.text)))
        tick(done, total)
    return Examples(embeds, tuple(_bucket(buckets[size]) for size in sorted(buckets))), pictures


def _encode_texts(checkpoint: Checkpoint, texts: Sequence[str], *, tick: Callable[[int], None]) -> PromptEmbeds:
    """Encode texts, on the CPU; ``tick`` is called with the number of those done."""
    encoded = []
    for done, text in enumerate(texts, 1):
        encoded.append(checkpoint.encode_prompt([text]).to("cpu"))
        tick(done)
    return PromptEmbeds(
        torch.cat([each.prompt_embeds for each in encoded]), torch.cat([each.pooled_prompt_embeds for each in encoded])
    )


def _bucket(pictures: Sequence[tuple[torch.Tensor, int]]) -> Bucket:
    """Put pictures of one size, each its latents (V, 4, h, w) and its caption's row, in a bucket."""
    latents, captions = zip(*pictures, strict=True)
    return Bucket(torch.stack(latents), torch.tensor(captions))


def with_prior(examples: Examples, prior: Examples, *, weight: float) -> Examples:
    """Give a training set whose every other step shows pictures of ``prior``, which count ``weight``."""
    prompt_embeds = torch.cat([prior.embeds.prompt_embeds, examples.embeds.prompt_embeds])
    pooled_prompt_embeds = torch.cat([prior.embeds.pooled_prompt_embeds, examples.embeds.pooled_prompt_embeds])
    (others,) = prior.buckets
    # The class's texts come first, so that the last row stays the empty text's; the own captions move along.
    own = (replace(each, captions=each.captions + len(prior.embeds.prompt_embeds)) for each in examples.buckets)
    # As many steps as all own pictures have: every other one.
    others = replace(others, weight=weight, share=sum(examples.shares))
    return Examples(PromptEmbeds(prompt_embeds, pooled_prompt_embeds), (*own, others))


def write_examples(path: Path, examples: Examples) -> None:
    """Write the training set."""
    tensors = dict(examples.embeds.tensors())
    for number, bucket in enumerate(examples.buckets):
        tensors |= {f"{number}.latents": bucket.latents.contiguous(), f"{number}.captions": bucket.captions}
    path.write_bytes(save(tensors))


def read_examples(path: Path) -> Examples:
    """Read what ``write_examples`` wrote."""
    tensors = load_file(path)
    count = sum(name.endswith(".latents") for name in tensors)
    return Examples(
        PromptEmbeds(tensors["prompt_embeds"], tensors["pooled_prompt_embeds"]),
        tuple(Bucket(tensors[f"{number}.latents"], tensors[f"{number}.captions"]) for number in range(count)),
    )
