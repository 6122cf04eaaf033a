"""The encoded training set: made from pictures and captions, written and read as safetensors."""

from __future__ import annotations

from collections.abc import Callable
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
    encoded = []
    for done, text in enumerate(texts, 1):
        encoded.append(checkpoint.encode_prompt([text]))
        tick(done, total)
    checkpoint.release("text_encoder")
    sizes: dict[torch.Size, list[tuple[torch.Tensor, int]]] = {}
    for done, each in enumerate(pictures, len(texts) + 1):
        with Image.open(folder / each.picture) as opened:
            picture = opened.convert("RGB")
        chance = generator(seed, "crop", each.picture)
        pieces = cut(picture, resolution=resolution, crop=crop, flip=flip, chance=chance)
        latents = torch.cat([checkpoint.encode(to_pixels(piece)).cpu() for piece in pieces])
        sizes.setdefault(latents.shape, []).append((latents, captions.index(each.text)))
        tick(done, total)
    embeds = PromptEmbeds(
        torch.cat([each.prompt_embeds.cpu() for each in encoded]),
        torch.cat([each.pooled_prompt_embeds.cpu() for each in encoded]),
    )
    buckets = (zip(*sizes[size], strict=True) for size in sorted(sizes))
    return Examples(
        embeds, tuple(Bucket(torch.stack(latents), torch.tensor(indexes)) for latents, indexes in buckets)
    ), pictures


def with_prior(examples: Examples, prior: Examples, *, weight: float) -> Examples:
    """Give a training set whose every other step shows pictures of ``prior``, which count ``weight``."""
    prompt_embeds = torch.cat([prior.embeds.prompt_embeds, examples.embeds.prompt_embeds])
    pooled_prompt_embeds = torch.cat([prior.embeds.pooled_prompt_embeds, examples.embeds.pooled_prompt_embeds])
    (others,) = prior.buckets
    own = (replace(each, captions=each.captions + len(prior.embeds.prompt_embeds)) for each in examples.buckets)
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
