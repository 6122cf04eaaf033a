"""The store of a run folder: steps finished atomically under their digests, and what is published of them."""

from __future__ import annotations

import contextlib
import fcntl
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from kolora.errors import OutputUnwritable
from kolora.files import replacing, sync, write_text, writing
from kolora.runfolder import layout
from kolora.runfolder.manifest import write_manifest
from kolora.runfolder.migrate import PICTURES_OF_0_1, former_step_name
from kolora.runfolder.records import RECORD_FORMAT, StepRecord, read_any_record, read_record

DIGEST_SHOWN = 12
"""Hex digits of a digest in a folder's name."""


class PlannedStep(Protocol):
    """What the store asks of a planned step."""

    @property
    def name(self) -> str: ...
    @property
    def stage(self) -> str: ...
    @property
    def scene(self) -> int | None: ...
    @property
    def digest(self) -> str: ...


class RunFolder:
    """One OUT folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.work = root / layout.WORK
        self.records = root / layout.RECORDS
        self.logs = root / layout.LOGS

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        """Hold the folder for one run; raises OutputUnwritable when another one holds it or it cannot be written."""
        with writing(self.root):
            for folder in (self.work, self.records, self.logs):
                folder.mkdir(parents=True, exist_ok=True)
            lock = (self.root / layout.RUN_LOCK).open("w")
        with lock:
            # The kernel drops it when the process dies, however it dies: no stale lock is ever left to be cleaned up.
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

    def finished_record(self, step: str, digest: str) -> StepRecord | None:
        """Read the record of a step if it is finished under this digest and its files are all there."""
        folder = self.folder(step, digest)
        record = read_record(folder / layout.STEP_RECORD)
        # The folder's name has only the digest's first digits; two digests may share them.
        if record is None or record.digest != digest:
            return None
        for name, file in record.files.items():
            path = folder / name
            # By size, as hashing gigabytes of weights at every start would take longer than many a run.
            if not path.is_file() or path.stat().st_size != file.bytes:
                return None
        return record

    def last_record(self, step: str) -> StepRecord | None:
        """Read the newest record of a step of this name, whatever its digest."""
        return read_record(self.root / layout.record_path(step))

    def outdated_version(self, step: str) -> str | None:
        """Return which kolora made the last result of a step, if it was one whose results this one does not keep."""
        for name in (step, former_step_name(step)):
            record = read_any_record(self.root / layout.record_path(name))
            if record is not None and record.format < RECORD_FORMAT:
                return record.kolora
        return None

    def begin(self, step: str, digest: str) -> tuple[Path, Path]:
        """Make the empty folder a step works in, and find the one it saves its state in."""
        name = self.folder(step, digest).name
        partial, state = self.work / f"{name}.partial", self.work / f"{name}.state"
        # What a kill left there may be half written; only the state is meant to be gone on from.
        if partial.exists():
            shutil.rmtree(partial)
        partial.mkdir()
        state.mkdir(exist_ok=True)
        return partial, state

    def saved_state(self, step: str, digest: str) -> bool:
        """Tell whether an interrupted step left something to go on from."""
        state = self.work / f"{self.folder(step, digest).name}.state"
        return state.is_dir() and any(state.iterdir())

    def finish(self, record: StepRecord) -> None:
        """Turn a step's partial folder into the finished one: files to disk, record last, then one rename."""
        folder = self.folder(record.step, record.digest)
        partial = folder.with_name(f"{folder.name}.partial")
        # The order is the promise: files, then the record that lists them, then the rename that makes them count. A
        # crash of the machine in between leaves a partial folder, and the step runs again.
        for name in record.files:
            sync(partial / name)
        write_text(partial / layout.STEP_RECORD, record.model_dump_json(indent=1) + "\n")
        # There already where the step was forced, or where files of its old result were gone.
        if folder.exists():
            shutil.rmtree(folder)
        partial.rename(folder)
        # The folder above holds the new name; without this a power cut may take the rename back.
        sync(self.work)
        # Not before the rename: a kill until then must find what there is to go on from.
        shutil.rmtree(folder.with_name(f"{folder.name}.state"), ignore_errors=True)

    def publish(self, record: StepRecord) -> None:
        """Show a finished step's files and record at the top of the run folder."""
        folder = self.folder(record.step, record.digest)
        write_text(self.root / layout.record_path(record.step), record.model_dump_json(indent=1) + "\n")
        for inside, outside in layout.published_paths(record.stage, record.scene).items():
            if (folder / inside).is_dir():
                _publish_folder(folder / inside, self.root / outside)
            elif (folder / inside).exists():
                _publish_file(folder / inside, self.root / outside)
            else:
                # What an earlier run of this stage had and this one has not: pictures drawn while training.
                shutil.rmtree(self.root / outside, ignore_errors=True)

    def publish_partial(self, step: str, stage: str, digest: str) -> None:
        """Show what a failed step found: a filter's ledger says why too few pictures are left, so it outlives that."""
        partial = self.work / f"{self.folder(step, digest).name}.partial"
        for inside, outside in layout.PUBLISHED.get(stage, {}).items():
            if (partial / inside).is_dir():
                shutil.rmtree(self.root / outside, ignore_errors=True)
                shutil.copytree(partial / inside, self.root / outside)
            elif (partial / inside).is_file():
                (self.root / outside).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(partial / inside, self.root / outside)

    def remove_leftovers(self, steps: Sequence[PlannedStep]) -> None:
        """Remove what belongs to no step of this story: older results, and scenes that are gone."""
        names = {step.name for step in steps}
        wanted = {self.folder(step.name, step.digest).name for step in steps}
        for folder in self.work.iterdir():
            if folder.name not in wanted:
                shutil.rmtree(folder)
        # Records at the top are what reports are made from: one of a scene that is gone would still be told.
        for path in self.records.glob("*.json"):
            if path.stem not in names and path != self.root / layout.RUN_RECORD:
                path.unlink()
        for stage in layout.PUBLISHED.keys() - {step.stage for step in steps}:
            for name in layout.PUBLISHED[stage].values():
                _unpublish(self.root / name)
        shown: set[str] = set()
        for step in steps:
            if step.stage in layout.PICTURES:
                shown.update(layout.published_paths(step.stage, step.scene).values())
        for place in (*layout.PICTURES.values(), *PICTURES_OF_0_1.values()):
            for path in self.root.glob(f"{place}/*.png"):
                if path.relative_to(self.root).as_posix() not in shown:
                    path.unlink()
        for place in PICTURES_OF_0_1.values():
            # Only where nothing else is in it: the folder was kolora's, what a user put there is not.
            if (self.root / place).is_dir() and not any((self.root / place).iterdir()):
                (self.root / place).rmdir()

    def unseal(self) -> None:
        """Take back the promise that the folder is complete."""
        (self.root / layout.MANIFEST).unlink(missing_ok=True)

    def is_sealed(self) -> bool:
        """Tell whether the last run completed the folder."""
        return (self.root / layout.MANIFEST).is_file()

    def seal(self) -> None:
        """Write ``manifest.sha256``, the promise that the folder is complete; ``sha256sum -c`` checks it."""
        write_manifest(self.root)


def _publish_file(source: Path, target: Path) -> None:
    """Link (or copy, across file systems) a file to its public name, replacing what was there in one move."""
    if target.exists() and target.samefile(source):
        return
    with replacing(target) as temporary:
        # A link takes no second gigabyte for a LoRA; `work/` stays what is trusted, so neither name is written into.
        try:
            temporary.hardlink_to(source)
        except OSError:
            shutil.copyfile(source, temporary)


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
