"""Fetch: the data set's files become plain pictures with captions, each file accounted for."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import Field

from kolora.characters import show
from kolora.hubs.hub import HubName
from kolora.inputs import Inputs
from kolora.spec import Story
from kolora.spec.sections.dataset import Dataset, PocketDataset
from kolora.spec.types import FileName, Frozen, Part
from kolora.stages.contract import Job, StageFacts, Step, read_json_lines

VERSION = 2
"""2: each line says of what kind the fault of a file is."""


class Config(Frozen):
    """All that decides the pictures and their captions.

    identity: what the pictures are known by, a folder's content digest or the version of the little world. dataset,
    folder: where they lie, which changes nothing; folder is that of a hub's data set in the cache.
    """

    source: Literal["pocket", "folder"] | HubName
    identity: str
    max_pixels: int
    caption: str = ""
    style: str | None = None
    count: int | None = None
    seed: int | None = None
    language: Literal["zh", "en"] | None = None
    image_column: str = "image"
    text_column: str | None = None
    dataset: Dataset = Field(exclude=True)
    folder: Path | None = Field(default=None, exclude=True)


class Facts(StageFacts):
    """How many pictures came, and how many files were dropped and for which kinds of reason."""

    source: str | None = None
    images: int
    dropped: int = 0
    reasons: dict[str, int] = Field(default_factory=dict)


class ImageLine(StageFacts):
    """One line of ``images.jsonl``: a file of the data set, the picture in it, or why it was dropped."""

    id: Part
    source: str
    image: FileName | None = None
    text: str
    width: int | None = None
    height: int | None = None
    bytes: int
    sha256: str
    verdict: Literal["kept", "dropped"]
    kind: str | None = None
    reason: str | None = None
    notes: tuple[str, ...] = ()


def steps(story: Story, inputs: Inputs) -> Iterator[Step]:
    """One step where a LoRA is trained."""
    dataset = story.training_set
    if dataset is not None:
        yield Step("fetch", config_of(dataset, inputs.dataset, language=story.language, folder=inputs.dataset_folder))


def config_of(
    dataset: Dataset, identity: str, *, language: Literal["zh", "en"] = "zh", folder: Path | None = None
) -> Config:
    """Return the config of a data set with this identity; language: of the story, which pocket's captions are in."""
    # Not min_images, which filter asks for: no picture changes with it.
    keys = ("caption", "style", "count", "seed", "image_column", "text_column")
    return Config(
        source=dataset.source,
        identity=identity,
        max_pixels=dataset.max_pixels,
        # Left out elsewhere: a story in another language has the same pictures.
        language=language if isinstance(dataset, PocketDataset) else None,
        dataset=dataset,
        folder=folder,
        **{key: getattr(dataset, key) for key in keys if hasattr(dataset, key)},
    )


def run(config: Config, job: Job) -> Facts:
    """Write `images/NNNN.png` for every sound picture and one line of `images.jsonl` for every file."""
    from kolora.datasets.pictures import Rejection
    from kolora.datasets.source import RawPicture, open_dataset

    def line_of(name: str, raw: RawPicture) -> ImageLine:
        """Account for a file; a sound picture is written down as PNG."""
        line = ImageLine(id=name, source=raw.source, text=raw.text, bytes=raw.bytes, sha256=raw.sha256, verdict="kept")
        if isinstance(raw.picture, Rejection):
            return line.model_copy(
                update={"verdict": "dropped", "kind": raw.picture.kind, "reason": raw.picture.reason}
            )
        image, path = raw.picture.image, f"images/{name}.png"
        # Read a few times and never shown: level 1 takes 0.25 s for two megapixels, the default 0.6 to 0.8.
        image.save(job.folder / path, compress_level=1)
        size = {"width": image.width, "height": image.height}
        return line.model_copy(update={"image": path, "notes": tuple(raw.picture.notes), **size})

    (job.folder / "images").mkdir()
    reasons: Counter[str] = Counter()
    total, raws = open_dataset(
        config.dataset,
        language=config.language or "zh",
        identity=config.identity,
        folder=config.folder,
        scratch=job.state,
    )
    digits = max(4, len(str(total)))
    with (job.folder / "images.jsonl").open("w", encoding="utf-8", newline="\n") as file:
        for number, raw in enumerate(raws, start=1):
            job.tick(number - 1, total)
            line = line_of(f"{number:0{digits}}", raw)
            if line.kind is not None:
                reasons[line.kind] += 1
            file.write(show(json.dumps(line.model_dump(), ensure_ascii=False)) + "\n")
    job.tick(total, total)
    dropped = reasons.total()
    return Facts(source=config.source, images=total - dropped, dropped=dropped, reasons=dict(reasons))


def read_lines(folder: Path) -> list[ImageLine]:
    """Read what this stage wrote into its folder of every file."""
    return read_json_lines(folder / "images.jsonl", ImageLine)
