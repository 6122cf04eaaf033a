"""The run folder: names of its files, records, atomic steps, and what is published at its top.

work/<step>-<digest>/      a finished step: its files, and record.json, written last
work/<step>-<digest>.partial/, .state/   a step at work, and what it has saved to resume from
records/, logs/            one file a step, and records/run.json about the run
images/ images/plain/ grid.png lora/ data/ report.* story.yaml story.lock.yaml status.json manifest.sha256
export/                    what left it for other tools; no part of its promise
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from kolora.errors import KoloraError, OutputUnwritable

DIGEST_SHOWN = 12
"""Hex digits of a digest in a folder's name."""

PUBLISHED = {
    "filter": {"train": "data/train", "dropped": "data/dropped", "ledger.jsonl": "data/ledger.jsonl"},
    "train": {"history.json": "lora/history.json", "metrics.csv": "lora/metrics.csv", "samples": "lora/samples"},
    "convert": {
        name: f"lora/{name}"
        for name in ("diffsynth.safetensors", "pytorch_lora_weights.safetensors", "kohya.safetensors")
    },
    "grid": {"grid.png": "grid.png"},
}
"""Which files of a stage are published under which name; a scene's picture is named by its number."""

PICTURES = {"render": "images", "plain": "images/plain"}
"""Where scenes' pictures are published, by the kind of their steps: with the LoRA, and without it to compare."""

MANIFEST = "manifest.sha256"
_NOT_IN_MANIFEST = ("work", "logs", "export", ".lock", "status.json", MANIFEST)


class File(BaseModel):
    """One file of a finished step."""

    model_config = ConfigDict(frozen=True)

    sha256: str
    bytes: int


class Record(BaseModel):
    """What is known of a finished step; ``part`` and ``inputs`` are what its digest covers."""

    model_config = ConfigDict(frozen=True)

    kolora: str
    step: str
    stage: str
    version: int
    digest: str
    part: dict[str, Any]
    inputs: dict[str, str]
    facts: dict[str, Any]
    files: dict[str, File]
    started: str
    seconds: float
    peak_memory_bytes: dict[str, int | None]
    numerics: dict[str, Any]


class RunFolder:
    """One OUT folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.work = root / "work"
        self.records = root / "records"
        self.logs = root / "logs"

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold the folder for one run; raises OutputUnwritable when another one holds it or it cannot be written."""
        with writing(self.root):
            for folder in (self.work, self.records, self.logs):
                folder.mkdir(parents=True, exist_ok=True)
            lock = (self.root / ".lock").open("w")
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as problem:
                raise OutputUnwritable(
                    f"another kolora is at work in {self.root}", hint="wait for it, or choose another folder with -o"
                ) from problem
            yield

    def folder(self, step: str, digest: str) -> Path:
        """Name the folder of a finished step."""
        return self.work / f"{step}-{digest[:DIGEST_SHOWN]}"

    def finished(self, step: str, digest: str) -> Record | None:
        """Read the record of a step if it is finished under this digest and its files are all there."""
        folder = self.folder(step, digest)
        record = read_record(folder / "record.json")
        if record is None or record.digest != digest:
            return None
        for name, file in record.files.items():
            path = folder / name
            if not path.is_file() or path.stat().st_size != file.bytes:
                return None
        return record

    def last_record(self, step: str) -> Record | None:
        """Read the newest record of a step of this name, whatever its digest."""
        return read_record(self.records / f"{step}.json")

    def begin(self, step: str, digest: str) -> tuple[Path, Path]:
        """Make the empty folder a step works in, and find the one it saves its state in."""
        name = self.folder(step, digest).name
        partial, state = self.work / f"{name}.partial", self.work / f"{name}.state"
        if partial.exists():
            shutil.rmtree(partial)
        partial.mkdir()
        state.mkdir(exist_ok=True)
        return partial, state

    def saved_state(self, step: str, digest: str) -> bool:
        """Say whether an interrupted step left something to go on from."""
        state = self.work / f"{self.folder(step, digest).name}.state"
        return state.is_dir() and any(state.iterdir())

    def finish(self, record: Record) -> None:
        """Turn a step's partial folder into the finished one: files to disk, record last, then one rename."""
        folder = self.folder(record.step, record.digest)
        partial = folder.with_name(f"{folder.name}.partial")
        for name in record.files:
            _sync(partial / name)
        write_text(partial / "record.json", record.model_dump_json(indent=1) + "\n")
        if folder.exists():
            shutil.rmtree(folder)
        partial.rename(folder)
        _sync(self.work)
        shutil.rmtree(folder.with_name(f"{folder.name}.state"), ignore_errors=True)

    def publish(self, record: Record) -> None:
        """Show a finished step's files and record at the top of the run folder."""
        folder = self.folder(record.step, record.digest)
        write_text(self.records / f"{record.step}.json", record.model_dump_json(indent=1) + "\n")
        names = dict(PUBLISHED.get(record.stage, {}))
        if record.stage == "render":
            names = {"image.png": picture_path(record.step)}
        for inside, outside in names.items():
            if (folder / inside).is_dir():
                _publish_folder(folder / inside, self.root / outside)
            elif (folder / inside).exists():
                _publish_file(folder / inside, self.root / outside)
            else:
                # What an earlier run of this stage had and this one has not: pictures drawn while training.
                shutil.rmtree(self.root / outside, ignore_errors=True)

    def salvage(self, step: str, digest: str) -> None:
        """Show what a failed filter found: the ledger says why too few pictures are left, so it outlives that."""
        partial = self.work / f"{self.folder(step, digest).name}.partial"
        for inside, outside in PUBLISHED["filter"].items():
            if (partial / inside).is_dir():
                shutil.rmtree(self.root / outside, ignore_errors=True)
                shutil.copytree(partial / inside, self.root / outside)
            elif (partial / inside).is_file():
                (self.root / outside).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(partial / inside, self.root / outside)

    def tidy(self, steps: Mapping[str, str]) -> None:
        """Remove what belongs to no step of this story (name -> digest): older results, and scenes that are gone."""
        wanted = {self.folder(step, digest).name for step, digest in steps.items()}
        for folder in self.work.iterdir():
            if folder.name not in wanted:
                shutil.rmtree(folder)
        for path in self.records.glob("*.json"):
            if path.stem != "run" and path.stem not in steps:
                path.unlink()
        for stage in PUBLISHED.keys() - steps.keys():
            for name in PUBLISHED[stage].values():
                _unpublish(self.root / name)
        for kind, place in PICTURES.items():
            for path in self.root.glob(f"{place}/*.png"):
                if f"{kind}-{path.stem}" not in steps:
                    path.unlink()

    def open_up(self) -> None:
        """Take back the promise that the folder is complete."""
        (self.root / MANIFEST).unlink(missing_ok=True)

    def is_sealed(self) -> bool:
        """Say whether the last run completed the folder."""
        return (self.root / MANIFEST).is_file()

    def seal(self) -> None:
        """Write ``manifest.sha256``, the promise that the folder is complete; ``sha256sum -c`` checks it."""
        write_manifest(self.root)


def write_manifest(root: Path) -> None:
    """List a folder's files with their sha256, less those that are nobody's result."""
    lines = []
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root)
        if path.is_file() and name.parts[0] not in _NOT_IN_MANIFEST:
            lines.append(f"{sha256_of(path)}  {name.as_posix()}\n")
    write_text(root / MANIFEST, "".join(lines))


def picture_path(step: str) -> str:
    """Name the published picture of a rendering step, relative to the run folder: render-03 is images/03.png."""
    kind, _, number = step.partition("-")
    return f"{PICTURES[kind]}/{number}.png"


def read_record(path: Path) -> Record | None:
    """Read a record; an absent or torn one is None."""
    try:
        return Record.model_validate_json(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValidationError):
        return None


def files_in(folder: Path) -> dict[str, File]:
    """List a folder's files with their sha256."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): File(sha256=sha256_of(path), bytes=path.stat().st_size) for path in paths
    }


def sha256_of(path: Path) -> str:
    """Digest a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_text(path: Path, text: str) -> None:
    """Write a file so that a reader finds the old text or the new one, whole, also after a power cut."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.new")
    with temporary.open("w", encoding="utf-8", newline="\n") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def write_json(path: Path, value: Any) -> None:
    """Write a value as JSON, atomically."""
    write_text(path, json.dumps(value, ensure_ascii=False, indent=1) + "\n")


@contextlib.contextmanager
def writing(root: Path) -> Iterator[None]:
    """Turn a full disk, a read-only mount or missing rights into OutputUnwritable."""
    try:
        yield
    except OSError as problem:
        translated = as_unwritable(problem, root)
        if translated is None:
            raise
        raise translated from problem


def as_unwritable(problem: OSError, root: Path) -> KoloraError | None:
    """Say of an OSError that ``root`` cannot be written, if that is what it means."""
    if problem.errno in (errno.ENOSPC, errno.EDQUOT):
        return OutputUnwritable(
            f"the disk of {root} is full", hint="make room and run the same command again: it goes on where it was"
        )
    if problem.errno in (errno.EACCES, errno.EROFS, errno.EPERM, errno.ENOTDIR, errno.EEXIST):
        return OutputUnwritable(
            f"{problem.filename or root} cannot be written: {problem.strerror}",
            hint="choose a folder that this user may write with -o; for a container, add --user $(id -u):0",
        )
    return None


def _publish_file(source: Path, target: Path) -> None:
    """Link (or copy, across file systems) a file to its public name, replacing what was there in one move."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists() and target.samefile(source):
        return
    temporary = target.with_name(f".{target.name}.new")
    temporary.unlink(missing_ok=True)
    try:
        temporary.hardlink_to(source)
    except OSError:
        shutil.copyfile(source, temporary)
    temporary.replace(target)


def _publish_folder(source: Path, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for path in source.iterdir():
        _publish_file(path, target / path.name)
    names = {path.name for path in source.iterdir()}
    for path in target.iterdir():
        if path.name not in names:
            path.unlink()


def _unpublish(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
