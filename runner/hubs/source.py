"""The raw pictures of a data set, one at a time, wherever they come from."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from runner.errors import InputAbsent, StoryInvalid
from runner.hubs.folder import legible, read_folder
from runner.hubs.identity import identify_folder
from runner.hubs.pictures import Picture, Unfit, read_picture
from runner.pocket import world
from runner.spec.story import Dataset, FolderDataset, PocketDataset


@dataclass(frozen=True)
class Raw:
    """One file of a data set as found: name, caption, size, sha256, and the picture in it or why there is none."""

    source: str
    text: str
    bytes: int
    sha256: str
    found: Picture | Unfit


def gather(dataset: Dataset, *, language: str, pictures: str) -> tuple[int, Iterator[Raw]]:
    """Count a data set's files and open them one after the other.

    ``pictures`` is what the plan knows the pictures by: of a folder its digest, which must still be true. Raises
    InputAbsent where the pictures are not there or are others by now.
    """
    if isinstance(dataset, PocketDataset):
        styles = world.STYLES + world.HELD_OUT
        if dataset.style not in styles:
            raise StoryInvalid(
                f"dataset.style is '{dataset.style}'; pocket's world is drawn in {', '.join(styles)}",
                hint="set dataset.style to one of them",
            )
        return dataset.count, _drawn(dataset, language)
    if isinstance(dataset, FolderDataset):
        return _found(dataset, pictures)
    raise InputAbsent(
        f"dataset '{dataset.id}' is on {dataset.source}; this version cannot download data sets yet",
        hint="download it, then set dataset.source to folder and dataset.path to where it is",
    )


def _drawn(dataset: PocketDataset, language: str) -> Iterator[Raw]:
    drawings = world.draw_set(style=dataset.style, count=dataset.count, seed=dataset.seed, language=language)
    for number, (image, text) in enumerate(drawings, start=1):
        pixels = image.convert("RGB")
        content = pixels.tobytes()
        sha256 = hashlib.sha256(content).hexdigest()
        yield Raw(f"{dataset.style}/{number:04}", text, len(content), sha256, Picture(pixels))


def _found(dataset: FolderDataset, pictures: str) -> tuple[int, Iterator[Raw]]:
    folder = Path(dataset.path)
    digest, sha256 = identify_folder(folder)
    if digest != pictures:
        raise InputAbsent(
            f"the files in '{folder}' are not those that the run was planned with", hint="run the same command again"
        )
    sources = read_folder(folder, tuple(sha256), caption=dataset.caption)

    def opened() -> Iterator[Raw]:
        for source in sources:
            file = folder / source.path
            found: Picture | Unfit
            if source.refused:
                found = Unfit(source.refused)
            else:
                found = read_picture(file, max_pixels=dataset.max_pixels)
                if isinstance(found, Picture) and not source.text:
                    found = Unfit(
                        "no caption", "neither metadata nor a .txt file beside it nor dataset.caption has one"
                    )
            size = 0 if source.refused else file.stat().st_size
            yield Raw(legible(source.path), source.text, size, sha256[source.path], found)

    return len(sources), opened()
