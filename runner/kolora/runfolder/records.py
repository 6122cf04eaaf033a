"""What a run writes down: one record a finished step, and ``records/run.json`` about the whole.

The writer and every reader share these types. Records of kolora 0.1 are read by ``runfolder.migrate``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from kolora.files import sha256_of
from kolora.reads import OWN_DIGEST, is_as_written, own_digest, parse_json
from kolora.redaction import redact, redact_values
from kolora.service import Service
from kolora.spec.types import FileName, Part

RECORD_FORMAT = 2
"""1, or none: of kolora 0.1, whose step digests covered defaults too."""

Status = Literal["complete", "failed", "stopped", "partial"]
Action = Literal["kept", "ran", "failed", "pending"]


class _RecordModel(BaseModel):
    """A part of a record; keys that this version does not know are left alone."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class StepFile(_RecordModel):
    """One file of a finished step."""

    sha256: str
    bytes: int = 0


class StepRecord(_RecordModel):
    """What is known of a finished step; ``config`` (in canonical form) and ``inputs`` are what its digest covers.

    facts: what the stage found, in the form of its ``Facts``. numerics: the arithmetic in force.
    """

    format: int = 1
    kolora: str
    step: Part
    stage: str
    scene: int | None = None
    version: int
    digest: Part
    config: dict[str, Any] = {}
    inputs: dict[str, str] = {}
    facts: dict[str, Any]
    files: dict[FileName, StepFile] = {}
    started: str = ""
    seconds: float | None = None
    peak_memory_bytes: dict[str, int | None] = {}
    numerics: dict[str, str | bool | int | float | None] = {}
    sha256: str = ""
    """Of all the others, so that a damaged record is noticed; empty in those of kolora 0.2 and before."""

    def with_digest(self) -> StepRecord:
        """Return the record with its own digest, as it is to be written."""
        return self.model_copy(update={OWN_DIGEST: own_digest(self.model_dump(mode="json"))})


class CheckpointName(_RecordModel):
    """The checkpoint of a run: what reports call it, and its identity where it was found."""

    name: str
    digest: str | None = None


class RunFailure(_RecordModel):
    """Why a run ended early, in the words of the error; facts: of the stage that failed, where it has some."""

    code: int | None = None
    error: str
    hint: str = ""
    step: str | None = None
    facts: dict[str, Any] | None = None


class StepLine(_RecordModel):
    """How one step of a run fared, and why; ``why`` is the reason as key and values."""

    step: Part
    stage: str
    scene: int | None = None
    digest: str | None = None
    action: Action
    reason: str = ""
    why: tuple[tuple[str, ...], ...] = ()
    seconds: float | None = None


class Machine(_RecordModel):
    """The machine and the packages of a run."""

    python: str | None = None
    platform: str | None = None
    cpu: str | None = None
    cores: int | None = None
    gpu: str | None = None
    gpus: int | None = None
    service: Service | None = None
    image: str | None = None
    packages: dict[str, str] = {}


class PlannedScene(_RecordModel):
    """A scene of the story with every value filled in."""

    number: int
    title: str = ""
    prompt: str
    negative_prompt: str | None = None
    seed: int | None = None
    width: int | None = None
    height: int | None = None
    steps: int | None = None
    guidance_scale: float | None = None
    lora_scale: float | None = None
    scheduler: str | None = None


class RunRecord(_RecordModel):
    """``records/run.json``: what was asked for and how far the run came. story: with every default spelled out."""

    format: int = 1
    kolora: str | None = None
    name: str
    title: str = ""
    language: Literal["zh", "en"] = "en"
    status: Status
    started: str | None = None
    seconds: float | None = None
    checkpoint: CheckpointName | None = None
    command: tuple[str, ...] = ()
    story: dict[str, JsonValue] = Field(default_factory=dict)
    scenes: tuple[PlannedScene, ...] = ()
    error: RunFailure | None = None
    steps: tuple[StepLine, ...] = ()
    environment: Machine = Machine()


def redacted(run: RunRecord) -> RunRecord:
    """Take the secrets out of a run's record; the story has none, or it would not have been run."""
    failure = run.error
    if failure is not None:
        failure = failure.model_copy(update={"error": redact(failure.error), "hint": redact(failure.hint)})
    machine = Machine.model_validate(redact_values(run.environment.model_dump()))
    return run.model_copy(update={"command": redact_values(run.command), "error": failure, "environment": machine})


def parse_record(content: bytes | None) -> StepRecord | None:
    """Read a step's record; an absent or torn one, or one of kolora 0.1, is None."""
    record = parse_any_record(content)
    return record if record is not None and record.format == RECORD_FORMAT else None


def parse_any_record(content: bytes | None) -> StepRecord | None:
    """Read a step's record of whatever format, so far as it has today's fields; an absent or torn one is None."""
    try:
        return None if content is None else StepRecord.model_validate(as_written(parse_json(content)))
    # ValueError is ValidationError's too; OverflowError an integer's that no float can be.
    except (ValueError, OverflowError):
        return None


def as_written(values: Any) -> Mapping[str, Any]:
    """Return the values of a record; raises ValueError where they are not those that its digest is of."""
    if not isinstance(values, Mapping):
        raise ValueError("it is no JSON object")
    if not is_as_written(values):
        raise ValueError("it is not as it was written: its digest is of something else")
    return values


def files_in(folder: Path) -> dict[str, StepFile]:
    """List a folder's files with their sha256."""
    files = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            name = path.relative_to(folder).as_posix()
            files[name] = StepFile(sha256=sha256_of(path), bytes=path.stat().st_size)
    return files
