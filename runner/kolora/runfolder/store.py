"""The store of a run folder: steps finished atomically under their digests, and what is published of them."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from kolora.errors import OutputUnwritable, StoryInvalid
from kolora.files import exists, is_folder, writing
from kolora.folders import Folder, NotPlain
from kolora.hubs.identity import identify_open
from kolora.ownership import MARK, Mark, OwnedFolder, mark_of, refuse_others
from kolora.places import cache_folder
from kolora.runfolder import layout
from kolora.runfolder.former import mark_of_former_run
from kolora.runfolder.manifest import manifest_text, parse_manifest
from kolora.runfolder.migrate import former_step_name
from kolora.runfolder.published import published_files
from kolora.runfolder.records import RECORD_FORMAT, StepRecord, parse_any_record, parse_record

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
    """One OUT folder. What is in it is reached from its handle, no link followed; only what its mark lists is replaced.

    Reading needs nothing; writing needs ``hold`` or ``claim``. source: the name of the story's file.
    """

    def __init__(self, root: Path, *, source: str = "") -> None:
        self.root = root
        self.source = source
        self.work = root / layout.WORK
        self.records = root / layout.RECORDS
        self.logs = root / layout.LOGS
        self._opened: Folder | None = None
        self._claimed: OwnedFolder | None = None

    def refuse_others(self, name: str) -> None:
        """Raise OutputUnwritable where the folder is neither empty nor the run folder of the story of this name."""
        if exists(self.root) and not is_folder(self.root):
            raise OutputUnwritable(f"{self.root} cannot be written: it is no folder", hint=self._way_out(name))
        if self._reader is not None:
            refuse_others(self._reader, self.mark, kind="run", name=name, way_out=self._way_out(name))

    @property
    def mark(self) -> Mark | None:
        """What marks the folder as kolora's; None where nothing does. Raises OutputUnwritable for a torn mark."""
        with writing(self.root):
            return mark_of(self._reader, mark_of_former_run) if self._reader is not None else None

    def claim(self, name: str | None = None) -> OwnedFolder:
        """Take the folder to write into it; name: of its story, else whose it is. Raises OutputUnwritable."""
        with writing(self.root):
            folder = self._reader or self._make()
            self._claimed = OwnedFolder.claim(
                folder,
                kind="run",
                name=name,
                source=self.source,
                staging=layout.WORK,
                other_mark=mark_of_former_run,
                way_out=self._way_out(name),
            )
            self._claimed.expect(layout.ALWAYS)
            for each in (layout.WORK, layout.RECORDS, layout.LOGS, layout.CURVES):
                folder.make(each)
        return self._claimed

    @contextlib.contextmanager
    def hold(self, name: str) -> Iterator[None]:
        """Hold the folder for one run of the story of this name; raises OutputUnwritable when another one holds it."""
        # Before anything is written, the file to lock among it.
        self.refuse_others(name)
        with writing(self.root):
            lock = (self._reader or self._make()).lock_file(layout.RUN_LOCK)
        with lock:
            # The kernel drops it when the process dies, however it dies: no stale lock is ever left to be cleaned up.
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as problem:
                raise OutputUnwritable(
                    f"another kolora is at work in {self.root}", hint="wait for it, or choose another folder with -o"
                ) from problem
            self.claim(name)
            yield

    def refuse_names(self, steps: Sequence[PlannedStep]) -> None:
        """Raise OutputUnwritable where a file of the user's has a name that these steps publish under."""
        names = {layout.record_path(step.name) for step in steps} | {layout.log_path(step.name) for step in steps}
        for step in steps:
            for inside, outside in layout.published_paths(step.stage, step.scene).items():
                # A folder's files are known when the step is done.
                if "." in inside:
                    names.add(outside)
        self._owned.refuse(names)

    def write_text(self, name: str, text: str) -> None:
        """Write one of kolora's files at the top of the folder, in one move."""
        self._owned.write_text(name, text)

    def write_json(self, name: str, value: Any) -> None:
        """Write a value as JSON, in one move."""
        self._owned.write_json(name, value)

    def read(self, name: str) -> bytes:
        """Read a file; raises OSError."""
        if self._reader is None:
            raise FileNotFoundError(self.root / name)
        return self._reader.read(name)

    def folder(self, step: str, digest: str) -> Path:
        """Name the folder of a finished step."""
        return self.work / folder_name(step, digest)

    def log(self, step: str) -> Path:
        """Make the file that a step's log goes to, and name it."""
        name = layout.log_path(step)
        self._owned.expect([name])
        with self._owned.folder.lock_file(name):
            pass
        return self.root / name

    def finished_record(self, step: str, digest: str) -> StepRecord | None:
        """Read the record of a step if it is finished under this digest and its files are what it lists."""
        inside = f"{layout.WORK}/{folder_name(step, digest)}"
        record = self._record(f"{inside}/{layout.STEP_RECORD}")
        # The folder's name has only the digest's first digits; two digests may share them.
        if record is None or record.digest != digest or record.step != step or self._reader is None:
            return None
        try:
            there = {name.removeprefix(f"{inside}/") for name in self._reader.files(inside)} - {layout.STEP_RECORD}
            # A file too many counts as well: a stage reads whole folders of an earlier one.
            if there != record.files.keys():
                return None
            is_whole = all(self._sha256(f"{inside}/{name}") == file.sha256 for name, file in record.files.items())
        except (OSError, ValueError):
            return None
        return record if is_whole else None

    def last_record(self, step: str) -> StepRecord | None:
        """Read the newest record of a step of this name, whatever its digest."""
        return self._record(layout.record_path(step))

    def outdated_version(self, step: str) -> str | None:
        """Return which kolora made the last result of a step, if it was one whose results this one does not keep."""
        for name in (step, former_step_name(step)):
            record = parse_any_record(self._bytes(layout.record_path(name)))
            if record is not None and record.format < RECORD_FORMAT:
                return record.kolora
        return None

    def begin(self, step: str, digest: str) -> tuple[Path, Path]:
        """Make the empty folder a step works in, and find the one it saves its state in."""
        name = f"{layout.WORK}/{folder_name(step, digest)}"
        partial, state = f"{name}.partial", f"{name}.state"
        # What a kill left there may be half written; only the state is meant to be gone on from.
        self._owned.folder.remove_tree(partial)
        self._owned.folder.make(partial)
        self._owned.folder.make(state)
        return self.root / partial, self.root / state

    def saved_state(self, step: str, digest: str) -> bool:
        """Tell whether an interrupted step left something to go on from."""
        try:
            names = self._reader.names(f"{layout.WORK}/{folder_name(step, digest)}.state") if self._reader else ()
        except OSError:
            return False
        # What a kill left half written does not count.
        return any(not name.startswith(".") for name in names)

    def finish(self, record: StepRecord) -> None:
        """Turn a step's partial folder into the finished one: files to disk, record last, then one rename."""
        folder, final = self._owned.folder, f"{layout.WORK}/{folder_name(record.step, record.digest)}"
        partial = f"{final}.partial"
        # The order is the promise: files, then the record that lists them, then the rename that makes them count. A
        # crash of the machine in between leaves a partial folder, and the step runs again.
        for name in record.files:
            folder.sync(f"{partial}/{name}")
        for name in {name.rpartition("/")[0] for name in record.files if "/" in name}:
            folder.sync(f"{partial}/{name}")
        folder.write(f"{partial}/{layout.STEP_RECORD}", _as_text(record).encode())
        # There already where the step was forced, or where its old result was damaged.
        folder.remove_tree(final)
        folder.rename(partial, final)
        # Not before the rename: a kill until then must find what there is to go on from.
        folder.remove_tree(f"{final}.state")

    def publish(self, record: StepRecord) -> tuple[str, ...]:
        """Show a finished step's files and record at the top of the run folder.

        Returns which files that were published before had been changed since, and are put right. Raises
        OutputUnwritable where a file of the user's is in the way, or where the step's own are not what it wrote.
        """
        inside = f"{layout.WORK}/{folder_name(record.step, record.digest)}"
        former = self.last_record(record.step)
        self._owned.write_text(layout.record_path(record.step), _as_text(record))
        files = published_files(record)
        self._owned.expect(files)
        changed = []
        for public, name in files.items():
            kind = self._owned.folder.kind(public)
            if kind == "file" and self._sha256(public) == record.files[name].sha256:
                continue
            if kind is not None and former is not None and former.digest == record.digest:
                changed.append(public)
            if self._owned.copy(f"{inside}/{name}", public) != record.files[name].sha256:
                raise OutputUnwritable(
                    f"{self.root / inside / name} changed while it was read", hint="run the same command again"
                )
        self._remove_unpublished(record.stage, record.scene, files)
        return tuple(changed)

    def publish_partial(self, step: str, stage: str, digest: str) -> None:
        """Show what a failed step found: a filter's ledger says why too few pictures are left, so it outlives that."""
        partial = f"{layout.WORK}/{folder_name(step, digest)}.partial"
        shown = set()
        for inside, outside in layout.PUBLISHED.get(stage, {}).items():
            kind = self._owned.folder.kind(f"{partial}/{inside}")
            names = [""] if kind == "file" else self._owned.folder.names(f"{partial}/{inside}") if kind else []
            copies = {_joined(f"{partial}/{inside}", name): _joined(outside, name) for name in names}
            self._owned.expect(copies.values())
            for source, public in copies.items():
                self._owned.copy(source, public)
                shown.add(public)
        self._remove_unpublished(stage, None, shown)

    def remove_leftovers(self, steps: Sequence[PlannedStep]) -> None:
        """Remove what belongs to no step of this story: older results, and scenes that are gone."""
        self.remove_work(keep={folder_name(step.name, step.digest) for step in steps})
        wanted = set(layout.ALWAYS)
        for step in steps:
            wanted.add(layout.record_path(step.name))
            record = self.last_record(step.name)
            if record is not None:
                wanted.update(published_files(record))
        kept = (f"{layout.LOGS}/", f"{layout.EXPORT}/")
        self._owned.remove(name for name in self._owned.files - wanted if not name.startswith(kept))

    def remove_work(self, *, keep: frozenset[str] | set[str] = frozenset()) -> None:
        """Forget the results of steps, all but those whose folders are to be kept."""
        for name in self._owned.folder.names(layout.WORK):
            if layout.is_work(name) and name not in keep:
                self._owned.folder.remove_tree(f"{layout.WORK}/{name}")

    def unseal(self) -> None:
        """Take back the promise that the folder is complete."""
        self._owned.folder.remove(layout.MANIFEST)

    def is_sealed(self) -> bool:
        """Tell whether the last run completed the folder."""
        return self._reader is not None and self._reader.is_file(layout.MANIFEST)

    def changed(self) -> tuple[str, ...]:
        """List the files of a sealed folder that are gone or no longer what the run wrote."""
        try:
            listed = parse_manifest((self._bytes(layout.MANIFEST) or b"").decode("utf-8", errors="replace"))
        except StoryInvalid:
            return (layout.MANIFEST,)
        return tuple(name for name, sha256 in listed.items() if self._sha256(name) != sha256)

    def seal(self) -> None:
        """Write ``manifest.sha256``, the promise that the folder is complete; ``sha256sum -c`` checks it."""
        names = [name for name in self._owned.files if name.partition("/")[0] not in layout.NOT_IN_MANIFEST]
        digests = {name: digest for name in names if (digest := self._sha256(name)) is not None}
        self._owned.write_text(layout.MANIFEST, manifest_text(digests))

    @property
    def _reader(self) -> Folder | None:
        """The folder, opened once; None while there is none."""
        if self._opened is None:
            with writing(self.root), contextlib.suppress(FileNotFoundError, NotADirectoryError):
                self._opened = Folder.open(self.root)
        return self._opened

    def _make(self) -> Folder:
        self._opened = Folder.open(self.root, create=True)
        return self._opened

    @property
    def _owned(self) -> OwnedFolder:
        return self._claimed or self.claim()

    def _way_out(self, name: str | None) -> str:
        if not name:
            return "name a folder that a run wrote: out/NAME"
        # Beside another story's run, not in it: that one could not be moved or removed by itself any more.
        is_marked = self._reader is not None and self._reader.is_file(MARK)
        beside = self.root.parent if is_marked and self.root.name not in ("", "..", name) else self.root
        return f"choose another folder: -o {beside / name}"

    def _record(self, name: str) -> StepRecord | None:
        return parse_record(self._bytes(name))

    def _bytes(self, name: str) -> bytes | None:
        try:
            return None if self._reader is None else self._reader.read(name)
        except (OSError, ValueError):
            return None

    def _sha256(self, name: str) -> str | None:
        """Digest a file, remembered by what the system says of it; None where there is no plain file."""
        if self._reader is None:
            return None
        try:
            with self._reader.opened(name) as file:
                return identify_open(file, memo=cache_folder() / "identities")
        except (FileNotFoundError, NotADirectoryError, NotPlain, ValueError):
            return None

    def _remove_unpublished(self, stage: str, scene: int | None, shown: Collection[str]) -> None:
        """Remove what an earlier run of a stage published and this one has not: pictures drawn while training."""
        places = tuple(layout.published_paths(stage, scene).values())
        former = [
            name for name in self._owned.files.difference(shown) if name in places or name.rpartition("/")[0] in places
        ]
        self._owned.remove(former)


def folder_name(step: str, digest: str) -> str:
    """Name the folder of a step in ``work/``."""
    return f"{step}-{digest[:DIGEST_SHOWN]}"


def _joined(folder: str, name: str) -> str:
    return f"{folder}/{name}" if name else folder


def _as_text(record: StepRecord) -> str:
    return record.model_dump_json(indent=1) + "\n"
