"""The raw pictures of a data set, one at a time, wherever they come from."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from kolora.datasets.archives import unpack
from kolora.datasets.folder import CaptionedFile, printable_path, read_folder
from kolora.datasets.parquet import count_rows, read_rows
from kolora.datasets.pictures import Picture, Rejection, ending_of, read_picture
from kolora.datasets.tables import read_table
from kolora.errors import InputAbsent, StoryInvalid
from kolora.hubs.identity import SeenFiles, files_in, identify_folder, refusal, see_files
from kolora.hubs.selection import ARCHIVES, PICTURES
from kolora.limits import MAX_PICTURE
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
        seen = _check_identity(place, identity)
        files = read_folder(place, tuple(seen.sha256), caption=dataset.caption)
        seen.refuse_changed(except_for={each.path for each in files})
        return len(files), _read_files(place, files, seen.sha256, dataset.max_pixels)
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


@dataclass(frozen=True)
class _SeenDataset:
    """A data set's folder whose identity was checked; sha256: of every file by its path."""

    folder: Path
    files: SeenFiles
    sha256: Mapping[str, str]

    def refuse_changed(self, *, except_for: Collection[str] = ()) -> None:
        """Raise InputAbsent where a file may be another than the one that was identified."""
        kept_out = {self.folder / path for path in except_for}
        if any(path not in kept_out for path in self.files.changed()):
            raise _changed(self.folder)


def _check_identity(folder: Path, identity: str) -> _SeenDataset:
    # Hashed again: the user may have worked in the folder since the plan, whose digest names these very files.
    before = see_files(folder / path for path in files_in(folder))
    digest, sha256 = identify_folder(folder)
    if digest != identity:
        raise _changed(folder)
    # What may not be opened has no digest, and is not read either.
    openable = {folder / path: digest for path, digest in sha256.items() if digest}
    return _SeenDataset(folder, SeenFiles({path: before.get(path) for path in openable}, openable), sha256)


def _changed(folder: Path) -> InputAbsent:
    return InputAbsent(
        f"the files in '{folder}' are not those that the run was planned with", hint="run the same command again"
    )


def _read_files(
    folder: Path, files: tuple[CaptionedFile, ...], sha256: Mapping[str, str], max_pixels: int, prefix: str = ""
) -> Iterator[RawPicture]:
    for each in files:
        name = prefix + printable_path(each.path)
        if each.refusal_reason:
            yield RawPicture(name, each.text, 0, "", Rejection(each.refusal_reason))
            continue
        file = folder / each.path
        # Read once: what is decoded is what is digested, whatever becomes of the file meanwhile.
        content = _read_regular(file)
        if content is None:
            yield RawPicture(
                name,
                each.text,
                file.stat().st_size,
                sha256.get(each.path, ""),
                Rejection("file too large", f"more than {MAX_PICTURE}"),
            )
            continue
        digest = hashlib.sha256(content).hexdigest()
        if sha256.get(each.path, digest) != digest:
            raise _changed(folder)
        picture = read_picture(file, max_pixels=max_pixels, content=content)
        if isinstance(picture, Picture) and not each.text:
            picture = _NO_CAPTION
        yield RawPicture(name, each.text, len(content), digest, picture)


def _read_regular(path: Path) -> bytes | None:
    """Read a file into memory, None where it is too large; raises InputAbsent where it is no regular file by now."""
    # Not blocking: to open a pipe would wait for its writer.
    try:
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise _changed(path.parent)
            return None if status.st_size > MAX_PICTURE.value else file.read(MAX_PICTURE.value)
    except OSError as problem:
        if problem.errno in (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENXIO):
            raise _changed(path.parent) from problem
        raise


def _open_hub_dataset(
    dataset: HubDataset, folder: Path, seen: _SeenDataset, scratch: Path
) -> tuple[int, Iterator[RawPicture]]:
    """Open a hub's data set: parquet rows, what tables name, or pictures in folders and archives."""
    sha256 = seen.sha256
    tables = [path for path in sha256 if path.lower().endswith(".parquet")]
    if tables:
        count = sum(count_rows(folder / path) for path in tables)
        return count, _checked_to_the_end(_read_rows(dataset, folder, tables, scratch), seen)
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

    return count, _checked_to_the_end(read(), seen)


def _checked_to_the_end(pictures: Iterator[RawPicture], seen: _SeenDataset) -> Iterator[RawPicture]:
    """Pass on pictures, and refuse them all where what they were read from has changed meanwhile."""
    yield from pictures
    seen.refuse_changed()


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
            if row.content is not None and len(row.content) > MAX_PICTURE.value:
                yield RawPicture(
                    name, text, len(row.content), "", Rejection("file too large", f"more than {MAX_PICTURE}")
                )
                continue
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
