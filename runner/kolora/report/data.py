"""What a report says, as one frozen value: its JSON is report.json, and both pages are drawn from nothing else."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from kolora.rules import RuleName

DIALECT = "https://json-schema.org/draft/2020-12/schema"
Language = Literal["zh", "en"]
Scalar = str | bool | int | float | None


class Fact(BaseModel):
    """Something the report says: frozen, complete, finite."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Gap(Fact):
    """Something the report wanted to read and could not, so that a reader never takes silence for success."""

    what: Literal["absent", "torn", "changed"]
    """absent: not there. torn: there, but not what it should be. changed: not the bytes that were recorded."""
    path: str
    """Relative to the run folder."""
    detail: str = ""


class Failure(Fact):
    """Why the run ended early, in the words of the error itself."""

    code: int | None
    error: str
    hint: str
    step: str | None


class Checkpoint(Fact):
    """The model that drew the pictures. A pocket picture never passes for a Kolors picture."""

    name: str
    digest: str | None


class Grid(Fact):
    """All scenes in one picture."""

    path: str
    width: int | None
    height: int | None
    columns: int | None
    rows: int | None


class Rule(Fact):
    """One rule of a submission, and whether the run meets it."""

    name: RuleName
    met: bool | None
    """Null where nobody has measured it."""
    found: Scalar = None
    needed: Scalar = None


class Verdict(Fact):
    """Whether the story is valid: its mean aesthetic score against the threshold."""

    state: Literal["valid", "invalid", "not scored"]
    rules: tuple[Rule, ...] = ()
    threshold: float | None = None
    aesthetics_mean: float | None = None
    """1 to 10, higher is better."""
    clip_mean: float | None = None
    """100 x cosine similarity of prompt and picture, mean of the scenes; higher is better."""
    training_clip_mean: float | None = None
    """The same similarity over the training pictures and their captions."""


class Likeness(Fact):
    """How alike pictures are: 100 x cosine of their CLIP embeddings, means over pairs; higher is more alike."""

    mean: float | None
    plain_mean: float | None = None
    """The same of the scenes as drawn without the LoRA: what it is to be measured by."""
    training_mean: float | None = None
    """The same of the training pictures among each other."""
    matrix: tuple[tuple[float | None, ...], ...] = ()
    """Every scene with every scene, in their order; empty where only means are known."""


class Settings(Fact):
    """How a scene was rendered."""

    width: int | None = None
    height: int | None = None
    steps: int | None = None
    guidance_scale: float | None = None
    lora_scale: float | None = None
    scheduler: str | None = None


class Scene(Fact):
    """One scene, rendered or not."""

    number: int
    state: Literal["done", "failed", "pending"]
    title: str
    prompt: str | None
    negative_prompt: str | None
    seed: int | None
    settings: Settings
    differs: Settings
    """Of the settings, those that are not the story's own."""
    image: str | None
    """Path of the full picture, relative to the run folder; null where there is none to show."""
    sha256: str | None = None
    """Of that picture's file."""
    plain: str | None = None
    """Path of the same scene from the same seed without the LoRA."""
    aesthetics: float | None = None
    clip: float | None = None
    coherence: float | None = None
    """Likeness to the other scenes, their mean."""
    style: float | None = None
    """Likeness to the training pictures, their mean."""


class Sample(Fact):
    """A picture drawn while the LoRA was being trained."""

    step: int
    scene: int | None
    path: str


class Training(Fact):
    """How the LoRA was trained."""

    steps: int | None
    rank: int | None
    alpha: float | None
    parameters: int | None
    samples_per_second: float | None
    loss_first: float | None
    """Mean of the first tenth of the steps."""
    loss_last: float | None
    """Mean of the last tenth."""
    resumed_at: int | None
    step: tuple[int, ...] = ()
    loss: tuple[float | None, ...] = ()
    """One a step; null where the loss was not a finite number."""
    learning_rate: tuple[float | None, ...] = ()
    samples: tuple[Sample, ...] = ()


class Sieve(Fact):
    """One filter: how many pictures went in and how many came out."""

    name: str
    entered: int
    left: int


class Dropped(Fact):
    """One picture that was not trained on."""

    source: str
    by: str | None
    kind: str | None = None
    """What was wrong with a file that is no picture, in one of a few fixed words."""
    reason: str | None
    measured: dict[str, Scalar] = Field(default_factory=dict)
    """What the filter found, by the names of its statistics."""
    asked: dict[str, Scalar] = Field(default_factory=dict)
    """What the filter asks for, by the keys of the story."""
    thumbnail: str | None = None
    """Path of the picture, small, relative to the run folder; the first that each filter dropped have one."""


class Example(Fact):
    """One picture that was trained on, and its caption."""

    path: str
    text: str


class Data(Fact):
    """Where the training pictures came from and which were left."""

    source: str | None
    kept: int | None
    dropped: int | None
    funnel: tuple[Sieve, ...] = ()
    losses: tuple[Dropped, ...] = ()
    """The first that each filter dropped; the complete list is the ledger."""
    ledger: str | None = None
    """Path of the complete ledger, relative to the run folder."""
    examples: tuple[Example, ...] = ()
    """Some of the training pictures, spread over all of them."""


class Step(Fact):
    """One step of the run: done again or kept, why, and what it cost when it ran."""

    name: str
    stage: str
    action: Literal["kept", "ran", "failed", "pending", "unknown"]
    reason: str
    why: tuple[tuple[str, ...], ...] = ()
    """The reason as keys and values, so that it can be said in any language."""
    seconds: float | None
    peak_memory_bytes: dict[str, int | None] = Field(default_factory=dict)
    digest: str | None


class Numerics(Fact):
    """Device, precision and determinism that were in force, and for which steps."""

    steps: tuple[str, ...]
    values: dict[str, Scalar]


class Service(Fact):
    """The batch service that ran this: its id of the run, which attempt it was, and the shard of how many."""

    name: str | None = None
    run: str | None = None
    attempt: int | None = None
    """From 1."""
    index: int | None = None
    """From 0."""
    count: int | None = None


class Environment(Fact):
    """The machine and the packages."""

    python: str | None = None
    platform: str | None = None
    cpu: str | None = None
    gpu: str | None = None
    image: str | None = None
    """The image it ran in: its digest, or what it was built from."""
    service: Service | None = None
    packages: dict[str, str] = Field(default_factory=dict)


class Setting(Fact):
    """One key of the story with the value in force."""

    key: str
    """Dotted, as --set names it: lora.rank, scenes.1.prompt."""
    value: JsonValue
    default: JsonValue = None
    is_default: bool
    """False also where the story must say the value itself."""


class Again(Fact):
    """What it takes to run the story again."""

    command: str
    settings: tuple[Setting, ...] = ()
    """The story in full, every default filled in; a scene's own keys only where it says them."""
    story: str | None
    """The story file as given, where it can be read as text."""
    lora: str | None = None
    """Path of the LoRA file under diffusers' names, relative to the run folder."""
    lock: str | None = None
    """Path of the lock, relative to the run folder, where the run wrote one."""


class ReportData(Fact):
    """All that a report says."""

    schema_version: Literal[1] = Field(default=1, alias="schema")
    kolora: str | None
    name: str
    title: str
    language: Language
    status: Literal["complete", "failed", "stopped", "partial"]
    started: str | None
    seconds: float | None
    checkpoint: Checkpoint | None
    failure: Failure | None
    gaps: tuple[Gap, ...]
    grid: Grid | None
    verdict: Verdict
    settings: Settings
    """What the story renders with; a scene's `differs` says where it goes its own way."""
    scenes: tuple[Scene, ...]
    training: Training | None
    data: Data | None
    steps: tuple[Step, ...]
    coherence: Likeness | None = None
    style: Likeness | None = None
    numerics: tuple[Numerics, ...]
    environment: Environment
    again: Again


def report_json_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of report.json."""
    return {"$schema": DIALECT} | ReportData.model_json_schema(by_alias=True, mode="serialization")
