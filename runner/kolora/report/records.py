"""Reads what a run left on disk, trusting none of it: a value of the wanted shape, or a gap that says what is wrong."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError, model_validator

from kolora.report.values import Language, ReportModel, Scalar


class Gap(ReportModel):
    """Something the report wanted to read and could not, so that a reader never takes silence for success."""

    what: Literal["absent", "torn", "changed"]
    """absent: not there. torn: there, but not what it should be. changed: not the bytes that were recorded."""
    path: str
    """Relative to the run folder."""
    detail: str = ""


class Read(BaseModel):
    """A part of a record as far as the report needs it; what else it holds is none of the report's business."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class SieveRead(Read):
    name: str
    entered: int = Field(alias="in")
    left: int = Field(alias="out")


class FilterRead(Read):
    kept: int
    dropped: int
    funnel: tuple[SieveRead, ...] = ()


class CheckpointRead(Read):
    name: str
    digest: str | None = None


class FailureRead(Read):
    code: int | None = None
    error: str
    hint: str = ""
    step: str | None = None
    facts: FilterRead | None = None
    """What the filters took, where they took too much."""


class StepRead(Read):
    step: str
    stage: str
    digest: str | None = None
    action: Literal["kept", "ran", "failed", "pending"]
    reason: str = ""
    why: tuple[tuple[str, ...], ...] = ()
    seconds: float | None = None


class ServiceRead(Read):
    name: str | None = None
    run: str | None = None
    attempt: int | None = None
    index: int | None = None
    count: int | None = None


class EnvironmentRead(Read):
    python: str | None = None
    platform: str | None = None
    cpu: str | None = None
    gpu: str | None = None
    image: str | None = None
    service: ServiceRead | None = None
    packages: dict[str, str] = Field(default_factory=dict)


class SettingsRead(Read):
    width: int | None = None
    height: int | None = None
    steps: int | None = None
    guidance_scale: float | None = None
    lora_scale: float | None = None
    scheduler: str | None = None


class SceneRead(SettingsRead):
    """A scene as planned, and, less its title, the facts of its rendering."""

    title: str = ""
    prompt: str
    negative_prompt: str | None = None
    seed: int | None = None
    checkpoint: str | None = None
    """Digest of the checkpoint that rendered it."""


class PlannedRead(SceneRead):
    number: int


class TitleRead(Read):
    title: str | None = None


class ThresholdRead(Read):
    threshold: float | None = None


class StoryRead(Read):
    """The story with every default filled in."""

    team: str = ""
    render: SettingsRead = SettingsRead()
    scores: ThresholdRead = ThresholdRead()
    report: TitleRead = TitleRead()


class RunRead(Read):
    """records/run.json: what was asked for and how far the run came."""

    kolora: str | None = None
    name: str
    title: str | None = None
    language: Language = "en"
    status: Literal["complete", "failed", "stopped", "partial"]
    started: str | None = None
    seconds: float | None = None
    checkpoint: CheckpointRead | None = None
    error: FailureRead | None = None
    steps: tuple[StepRead, ...] = ()
    environment: EnvironmentRead = EnvironmentRead()
    story: StoryRead = StoryRead()
    settings: dict[str, Any] = Field(default_factory=dict, alias="story")
    """The story again, whole."""
    scenes: tuple[PlannedRead, ...] = ()
    command: tuple[str, ...] = ()
    """The command line that was given, where it was recorded."""


class FileRead(Read):
    sha256: str


class RecordRead(Read):
    """records/<step>.json: what a finished step found and cost."""

    kolora: str | None = None
    step: str
    stage: str
    digest: str | None = None
    facts: dict[str, Any]
    files: dict[str, FileRead] = Field(default_factory=dict)
    seconds: float | None = None
    peak_memory_bytes: dict[str, int | None] = Field(default_factory=dict)
    numerics: dict[str, Scalar] = Field(default_factory=dict)


class FetchRead(Read):
    source: str | None = None
    images: int
    dropped: int = 0


class OperatorRead(Read):
    name: str
    verdict: Literal["kept", "dropped"]
    values: dict[str, Scalar] = Field(default_factory=dict)
    thresholds: dict[str, Scalar] = Field(default_factory=dict)


class LedgerLineRead(Read):
    source: str
    verdict: Literal["kept", "dropped"]
    by: str | None = None
    kind: str | None = None
    reason: str | None = None
    train: str | None = None
    thumbnail: str | None = None
    text: str = ""
    operators: tuple[OperatorRead, ...] = ()


class SampleRead(Read):
    step: int
    scene: int | None = None
    file: str


class TrainRead(Read):
    steps: int
    rank: int | None = None
    alpha: float | None = None
    parameters: int | None = None
    loss_first: float | None = None
    loss_last: float | None = None
    samples_per_second: float | None = None
    resumed_at: int | None = None
    samples: tuple[SampleRead, ...] = ()


class HistoryRead(Read):
    step: tuple[int, ...]
    loss: tuple[float | None, ...]
    learning_rate: tuple[float | None, ...] = ()

    @model_validator(mode="after")
    def _one_loss_a_step(self) -> HistoryRead:
        if len(self.step) != len(self.loss):
            raise ValueError(f"{len(self.step)} steps have {len(self.loss)} losses")
        return self


class GridRead(Read):
    width: int | None = None
    height: int | None = None
    columns: int | None = None
    rows: int | None = None


class SceneScoreRead(Read):
    number: int
    aesthetics: float | None = None
    clip: float | None = None


class TrainingScoreRead(Read):
    clip_mean: float | None = None


class LikenessRead(Read):
    """Of the scenes among each other, or of the scenes and the training pictures."""

    mean: float | None = None
    baseline_mean: float | None = Field(default=None, validation_alias=AliasChoices("baseline_mean", "plain_mean"))
    training_mean: float | None = None
    scenes: tuple[float | None, ...] = ()
    matrix: tuple[tuple[float | None, ...], ...] = ()


class ScoreRead(Read):
    scenes: tuple[SceneScoreRead, ...] = ()
    aesthetics_mean: float | None = None
    clip_mean: float | None = None
    threshold: float | None = None
    valid: bool | None = None
    training: TrainingScoreRead | None = None
    coherence: LikenessRead | None = None
    style: LikenessRead | None = None


Shape = TypeVar("Shape", bound=Read)


def read_bytes(out: Path, path: str, *, sha256: str | None = None) -> bytes | Gap:
    """Return a file's bytes; with `sha256`, only where they are the recorded ones."""
    try:
        content = (out / path).read_bytes()
    except FileNotFoundError:
        return Gap(what="absent", path=path)
    except OSError as fault:
        return Gap(what="torn", path=path, detail=fault.strerror or type(fault).__name__)
    if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
        return Gap(what="changed", path=path)
    return content


def read_json(out: Path, path: str, shape: type[Shape], *, sha256: str | None = None) -> Shape | Gap:
    """Return a JSON file as `shape`."""
    content = read_bytes(out, path, sha256=sha256)
    return content if isinstance(content, Gap) else parse_json(content, path, shape)


def parse_json(content: bytes, path: str, shape: type[Shape]) -> Shape | Gap:
    """Return JSON text as `shape`; numbers that are not finite become null, which JSON can say."""
    try:
        value = json.loads(content, parse_constant=lambda _: None, parse_float=_finite)
    except (ValueError, RecursionError) as fault:
        return Gap(what="torn", path=path, detail=str(fault))
    return parse_value(value, path, shape)


def parse_value(value: object, path: str, shape: type[Shape]) -> Shape | Gap:
    """Return a JSON value as `shape`."""
    try:
        return shape.model_validate(value)
    except ValidationError as fault:
        first = fault.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        return Gap(what="torn", path=path, detail=f"{where}: {first['msg']}" if where else first["msg"])


def _finite(digits: str) -> float | None:
    number = float(digits)
    return number if math.isfinite(number) else None
