"""The raw pictures of a data set, one at a time, wherever they come from."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from kolora.datasets.archives import unpack
from kolora.datasets.folder import CaptionedFile, printable_path, read_folder
from kolora.datasets.parquet import count_rows, read_rows
from kolora.datasets.pictures import Picture, Rejection, ending_of, read_picture
from kolora.datasets.tables import read_table
from kolora.errors import InputAbsent, StoryInvalid
from kolora.files import sha256_of
from kolora.hubs.identity import files_in, identify_folder, refusal
from kolora.hubs.selection import ARCHIVES, PICTURES
from kolora.pocket import world
from kolora.spec.sections.dataset import Dataset, FolderDataset, HubDataset, PocketDataset

_NO_CAPTION = Rejection("no caption", "neither metadata nor a .txt file beside it nor dataset.caption has one")


@dataclass(frozen=True)
class RawPicture:
    """One file of a data set as found: name, caption, size, sha256, and the picture in it or why there is none."""

    source: str
    text: str
    bytes: int
    sha256: str
    picture: Picture | Rejection


def open_dataset(
    dataset: Dataset, *, language: str, identity: str, folder: Path | None = None, scratch: Path | None = None
) -> tuple[int, Iterator[RawPicture]]:
    """Count a data set's files and open them one after the other.

    ``identity`` is what the plan knows the pictures by: of a folder its digest, which must still be true. Of a hub's
    data set ``folder`` is where it lies in the cache, and ``scratch`` a folder to unpack it into. Raises InputAbsent
    where the pictures are not there or are others by now, StoryInvalid where they do not fit the story.
    """
    if isinstance(dataset, PocketDataset):
        styles = world.STYLES + world.HELD_OUT
        if dataset.style not in styles:
            raise StoryInvalid(
                f"dataset.style is '{dataset.style}'; pocket's world is drawn in {', '.join(styles)}",
                hint="set dataset.style to one of them",
            )
        return dataset.count, _draw(dataset, language)
    if isinstance(dataset, FolderDataset):
        place = Path(dataset.path)
        sha256 = _check_identity(place, identity)
        files = read_folder(place, tuple(sha256), caption=dataset.caption)
        return len(files), _read_files(place, files, sha256, dataset.max_pixels)
    if folder is None or scratch is None:
        raise InputAbsent(f"the data set {dataset.id} is not in the cache", hint="kolora fetch STORY downloads it")
    return _open_hub_dataset(dataset, folder, _check_identity(folder, identity), scratch)


def _draw(dataset: PocketDataset, language: str) -> Iterator[RawPicture]:
    drawings = world.draw_set(style=dataset.style, count=dataset.count, seed=dataset.seed, language=language)
    for number, (image, text) in enumerate(drawings, start=1):
        pixels = image.convert("RGB")
        content = pixels.tobytes()
        sha256 = hashlib.sha256(content).hexdigest()
        yield RawPicture(f"{dataset.style}/{number:04}", text, len(content), sha256, Picture(pixels))


def _check_identity(folder: Path, identity: str) -> Mapping[str, str]:
    # Hashed again: the user may have worked in the folder since the plan, whose digest names these very files.
    digest, sha256 = identify_folder(folder)
    if digest != identity:
        raise InputAbsent(
            f"the files in '{folder}' are not those that the run was planned with", hint="run the same command again"
        )
    return sha256


def _read_files(
    folder: Path, files: tuple[CaptionedFile, ...], sha256: Mapping[str, str], max_pixels: int, prefix: str = ""
) -> Iterator[RawPicture]:
    for each in files:
        name = prefix + printable_path(each.path)
        if each.refusal_reason:
            yield RawPicture(name, each.text, 0, "", Rejection(each.refusal_reason))
            continue
        file = folder / each.path
        picture = read_picture(file, max_pixels=max_pixels)
        if isinstance(picture, Picture) and not each.text:
            picture = _NO_CAPTION
        yield RawPicture(name, each.text, file.stat().st_size, sha256.get(each.path) or sha256_of(file), picture)


def _open_hub_dataset(
    dataset: HubDataset, folder: Path, sha256: Mapping[str, str], scratch: Path
) -> tuple[int, Iterator[RawPicture]]:
    """Open a hub's data set: parquet rows, what tables name, or pictures in folders and archives."""
    tables = [path for path in sha256 if path.lower().endswith(".parquet")]
    if tables:
        return sum(count_rows(folder / path) for path in tables), _read_rows(dataset, folder, tables, scratch)
    parts = [(folder, "", _list_pictures(dataset, folder, tuple(sha256)))]
    for number, path in enumerate(path for path in sha256 if path.lower().endswith(ARCHIVES)):
        into = scratch / f"unpacked-{number}"
        shutil.rmtree(into, ignore_errors=True)
        into.mkdir(parents=True)
        unpack(folder / path, into)
        parts.append((into, f"{path}/", _list_pictures(dataset, into, files_in(into))))
    count = sum(len(files) for _, _, files in parts)
    if count == 0:
        raise StoryInvalid(
            f"the data set {dataset.id} has no pictures that can be found", hint="see what it consists of on its page"
        )

    def read() -> Iterator[RawPicture]:
        for place, prefix, files in parts:
            yield from _read_files(place, files, sha256 if place == folder else {}, dataset.max_pixels, prefix)

    return count, read()


def _list_pictures(dataset: HubDataset, folder: Path, files: tuple[str, ...]) -> tuple[CaptionedFile, ...]:
    """List the pictures that tables name, in their order; without such tables all pictures, as in any folder."""
    known = frozenset(files)
    tables = [path for path in files if path.lower().endswith((".csv", ".jsonl"))]
    rows = []
    for table in tables:
        rows += read_table(folder, table, known, dataset)
    if rows:
        return tuple(CaptionedFile(path, text or dataset.caption.strip(), refusal(folder, path)) for path, text in rows)
    pictures = tuple(path for path in files if path.lower().endswith((*PICTURES, ".txt")))
    return read_folder(folder, pictures, caption=dataset.caption)


def _read_rows(dataset: HubDataset, folder: Path, tables: list[str], scratch: Path) -> Iterator[RawPicture]:
    for table in tables:
        for number, row in enumerate(read_rows(folder / table, dataset), start=1):
            text = row.text or dataset.caption.strip()
            name = f"{table}/{number}" + (f"/{row.name}" if row.name else "")
            if not row.content:
                yield RawPicture(name, text, 0, "", Rejection("empty row"))
                continue
            # Its own ending, so that a picture named otherwise than its bytes is noted as in a folder.
            suffix = PurePosixPath(row.name).suffix
            file = scratch / f"row{suffix if suffix.lower() in PICTURES else ending_of(row.content)}"
            file.write_bytes(row.content)
            picture = read_picture(file, max_pixels=dataset.max_pixels) if text else _NO_CAPTION
            file.unlink()
            yield RawPicture(name, text, len(row.content), hashlib.sha256(row.content).hexdigest(), picture)
