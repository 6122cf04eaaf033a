"""The section `dataset`: the pictures to learn from, by their source."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from kolora.spec.faults import Fault, validation_error
from kolora.spec.types import HUB_ID, WORD, Frozen, Label, PathOrName, Seed, Text


class _CommonKeys(Frozen):
    """What every data set has in common."""

    min_images: Annotated[int, Field(ge=1, le=100_000)] = 4
    """The fewest pictures that must be left after the filters; fewer end the run with exit code 65."""

    max_pixels: Annotated[int, Field(ge=1, le=2**31 - 1)] = 100_000_000
    """The most pixels one source picture may have; larger ones are dropped as decompression bombs."""


class PocketDataset(_CommonKeys):
    """Pictures drawn by pocket's own little world; nothing is downloaded."""

    source: Literal["pocket"]
    """`pocket`."""

    style: Annotated[str, Field(pattern=WORD, max_length=64)] = "ink"
    """Drawing style of the pictures."""

    count: Annotated[int, Field(ge=1, le=10_000)] = 32
    """How many pictures are drawn."""

    seed: Seed = 0
    """Which pictures are drawn."""

    @model_validator(mode="after")
    def _check_min_images(self) -> Self:
        if self.min_images > self.count:
            fault = Fault(
                path=("min_images",), given=str(self.min_images), expected=f"no more than count, which is {self.count}"
            )
            raise validation_error(fault)
        return self


class FolderDataset(_CommonKeys):
    """Pictures in a folder, with `metadata.csv`, `metadata.jsonl`, `.txt` files beside them, or one caption."""

    source: Literal["folder"]
    """`folder`."""

    path: PathOrName
    """The folder with the pictures, relative to the story file."""

    caption: Text = ""
    """Text for pictures that have none of their own."""


class HubDataset(_CommonKeys):
    """A data set on ModelScope or Hugging Face."""

    source: Literal["modelscope", "huggingface"]
    """The hub: `modelscope` or `huggingface`."""

    id: Annotated[str, Field(pattern=HUB_ID, max_length=200)]
    """The data set's name on the hub, `owner/name`."""

    revision: Label | None = None
    """Branch, tag or commit; none means the newest, which the lock then records."""

    subset: Label | None = None
    """Subset of the data set; none means its default."""

    split: Label = "train"
    """Split of the data set."""

    image_column: Label = "image"
    """Column that holds the pictures, or their paths; the only one that does needs no naming."""

    text_column: Label | None = None
    """Column that holds the texts; none means `caption` for all or, without one, the column whose name says so."""

    caption: Text = ""
    """Text for pictures that have none of their own."""


Dataset = Annotated[PocketDataset | FolderDataset | HubDataset, Field(discriminator="source")]
