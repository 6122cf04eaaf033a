"""Reads a run folder, trusting none of it: what is absent, torn or not what was recorded is a gap, never an error."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, RootModel, ValidationError

from kolora.errors import InputAbsent, StoryInvalid
from kolora.files import is_folder
from kolora.folders import Folder
from kolora.reads import parse_json
from kolora.runfolder import layout
from kolora.runfolder.manifest import parse_manifest
from kolora.runfolder.migrate import former_step_name, migrate_record, migrate_run
from kolora.runfolder.published import published_path
from kolora.runfolder.records import RECORD_FORMAT, RunRecord, StepRecord, as_written, redacted
from kolora.spec import Story
from kolora.spec.migrate import migrate_dump
from kolora.stages import STAGES
from kolora.stages.contract import StageFacts, step_name

MALFORMED = (ValueError, TypeError, KeyError, AttributeError)
"""What code raises that expects the values of a story or of a record, and is given others."""

Model = TypeVar("Model", bound=BaseModel)
Facts = TypeVar("Facts", bound=StageFacts)


class Gap(BaseModel):
    """Something that was to be read and could not, so that a reader never takes silence for success."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    what: Literal["absent", "torn", "changed"]
    """absent: not there. torn: there, but not what it should be. changed: not the bytes that were recorded."""
    path: str
    """Relative to the run folder."""
    detail: str = ""


class RunReader:
    """A run folder being read, no link in it followed; ``gaps`` grows while it is.

    folder: gives what is in it. run: what records/run.json says, None where it cannot be read. records: of this run's
    finished steps, by name.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = Folder.open(root)
        self.gaps: list[Gap] = []
        self._facts: dict[str, StageFacts | None] = {}
        self._paths: dict[tuple[str, str], str | None] = {}
        run = self._json(layout.RUN_RECORD, RunRecord, migrate_run)
        # Again, as an earlier kolora recorded the command as it was given.
        self.run = None if run is None else redacted(run)
        self.records = self._records_of_steps(self.run) if self.run else self._all_records()

    @cached_property
    def values(self) -> Mapping[str, Any]:
        """The story with every default spelled out, by the names of today; empty where nothing is known of it."""
        if self.run is None or not self.run.story:
            return {}
        try:
            return migrate_dump(self.run.story, version=self.run.kolora or "0")
        except MALFORMED:
            return self.run.story

    @cached_property
    def story(self) -> Story | None:
        """The story as it was run."""
        if not self.values:
            return None
        try:
            # By way of JSON: the models are strict, and take a list for a tuple only from there.
            return Story.model_validate_json(json.dumps(self.values))
        except MALFORMED as fault:
            self._gap("torn", layout.RUN_RECORD, f"story: {_first(fault)}")
            return None

    @cached_property
    def manifest(self) -> Mapping[str, str]:
        """The sha256 of every file that a sealed folder promises, by path; empty where the folder is not sealed."""
        try:
            content = self.folder.read(layout.MANIFEST)
        except OSError:
            return {}
        try:
            return parse_manifest(content.decode("utf-8", errors="replace"))
        except StoryInvalid as fault:
            self._gap("torn", layout.MANIFEST, fault.error)
            return {}

    @property
    def ran_to_end(self) -> bool:
        """Whether the run came to its end; that its folder is sealed is another thing, which the manifest says."""
        return self.run is not None and self.run.status == "complete"

    def changed(self) -> tuple[str, ...]:
        """List the files of the manifest that are gone or no longer what the run wrote."""
        if not self.manifest and self.folder.is_file(layout.MANIFEST):
            return (layout.MANIFEST,)
        return tuple(name for name, sha256 in self.manifest.items() if not self._is(name, sha256))

    def record(self, stage: str, scene: int | None = None) -> StepRecord | None:
        """Return the record of a step, where it is finished."""
        return self.records.get(step_name(stage, scene))

    def scenes_of(self, stage: str) -> tuple[int, ...]:
        """List the scenes whose step of a stage is finished."""
        found = [record.scene for record in self.records.values() if record.stage == stage]
        return tuple(sorted(scene for scene in found if scene is not None))

    def facts(self, stage: str, kind: type[Facts], scene: int | None = None) -> Facts | None:
        """Return what a finished step found; ``kind`` is the stage's own ``Facts``."""
        record = self.record(stage, scene)
        if record is None:
            return None
        assert kind is STAGES[stage].Facts, f"{kind} is not what {stage} writes"
        if record.step not in self._facts:
            self._facts[record.step] = self.parse(record.facts, layout.record_path(record.step), kind)
        facts = self._facts[record.step]
        assert facts is None or isinstance(facts, kind)
        return facts

    def path(self, record: StepRecord, name: str) -> str | None:
        """Return where a step's file is published, only where its bytes are the recorded ones."""
        key = record.step, name
        if key not in self._paths:
            self._paths[key] = self._checked_path(record, name)
        return self._paths[key]

    def content(self, record: StepRecord, name: str) -> bytes | None:
        """Return the bytes of a step's published file, only where they are the recorded ones."""
        path = self.path(record, name)
        return self.bytes_of(path) if path else None

    def _checked_path(self, record: StepRecord, name: str) -> str | None:
        path = published_path(record, name)
        listed = record.files.get(name)
        if path is None:
            self._gap("torn", layout.record_path(record.step), f"{name} is published nowhere")
        elif not self.folder.is_file(path):
            self._gap("absent", path)
        elif listed is None or not self._is(path, listed.sha256):
            self._gap("changed", path)
        else:
            return path
        return None

    def bytes_of(self, path: str) -> bytes | None:
        """Return the bytes of a file, whoever wrote it."""
        try:
            return self.folder.read(path)
        except FileNotFoundError:
            self._gap("absent", path)
            return None
        except (OSError, ValueError) as fault:
            self._gap("torn", path, getattr(fault, "strerror", None) or str(fault))
            return None

    def has_folder(self, path: str) -> bool:
        """Tell whether a folder is there; one that is not is one gap, not one for each of its files."""
        if self.folder.kind(path) == "folder":
            return True
        self._gap("absent", path)
        return False

    def parse_json(self, content: bytes, path: str, kind: type[Model]) -> Model | None:
        """Return JSON text as ``kind``; numbers that are not finite become null, which JSON can say."""
        try:
            value = parse_json(content, finite=False)
        except ValueError as fault:
            self._gap("torn", path, str(fault))
            return None
        return self.parse(value, path, kind)

    def parse(self, value: object, path: str, kind: type[Model]) -> Model | None:
        """Return a JSON value as ``kind``."""
        try:
            return kind.model_validate(value)
        # OverflowError: an integer that no float can be.
        except (ValidationError, OverflowError) as fault:
            self._gap("torn", path, _first(fault))
            return None

    def _gap(self, what: Literal["absent", "torn", "changed"], path: str, detail: str = "") -> None:
        self.gaps.append(Gap(what=what, path=path, detail=detail))

    def _is(self, path: str, sha256: str) -> bool:
        try:
            return self.folder.sha256(path) == sha256
        except (OSError, ValueError):
            return False

    def _json(self, path: str, kind: type[Model], migrate: Callable[[Mapping[str, Any]], Any]) -> Model | None:
        """Read a JSON file of this version or an earlier one."""
        content = self.bytes_of(path)
        if content is None:
            return None
        values = self.parse_json(content, path, _Values)
        if values is None:
            return None
        try:
            current = migrate(values.root)
        except MALFORMED as fault:
            self._gap("torn", path, _first(fault))
            return None
        return self.parse(current, path, kind)

    def _records_of_steps(self, run: RunRecord) -> dict[str, StepRecord]:
        """Read the records of this run's steps. One left by an earlier story has another digest and does not count."""
        records = {}
        for step in run.steps:
            if step.action not in ("kept", "ran"):
                continue
            path = _record_path(step.step, format=run.format)
            record = self._json(path, StepRecord, _migrate_as_written)
            if record and step.digest in (None, record.digest):
                records[step.step] = record
            elif record:
                self._gap("changed", path)
        return records

    def _all_records(self) -> dict[str, StepRecord]:
        """Read whatever records there are: without run.json nothing says which of them count."""
        names = self.folder.names(layout.RECORDS) if self.folder.kind(layout.RECORDS) == "folder" else []
        paths = [f"{layout.RECORDS}/{name}" for name in names if name.endswith(".json")]
        found = [self._json(path, StepRecord, _migrate_as_written) for path in paths if path != layout.RUN_RECORD]
        return {record.step: record for record in found if record}


class _Values(RootModel[dict[str, Any]]):
    """An object in JSON."""


def read_run(root: Path) -> RunReader:
    """Read a run folder; raises InputAbsent where it is none."""
    if not is_folder(root / layout.RECORDS):
        raise InputAbsent(
            f"{root} is not a run folder: it has no {layout.RECORDS}/", hint="give a folder that a run wrote: out/NAME"
        )
    return RunReader(root)


def _record_path(step: str, *, format: int) -> str:  # noqa: A002
    return layout.record_path(step if format >= RECORD_FORMAT else former_step_name(step))


def _migrate_as_written(values: Mapping[str, Any]) -> dict[str, Any]:
    return migrate_record(as_written(values))


def _first(fault: Exception) -> str:
    """Say the first thing that is wrong with a value, and where."""
    if not isinstance(fault, ValidationError):
        return str(fault)
    first = fault.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where}: {first['msg']}" if where else first["msg"]
