"""story.lock.yaml: everything that a run's results depend on, written down, and held against what there is now."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kolora.datasets.metadata import read_metadata
from kolora.device import device_class
from kolora.errors import InputAbsent, SchemaTooNew
from kolora.hubs.store import Pins
from kolora.inputs import ResolvedInputs
from kolora.runfolder.layout import GRID, picture_path
from kolora.runfolder.migrate import migrate_lock
from kolora.runfolder.records import StepRecord
from kolora.spec import Story
from kolora.spec.canonical import canonical
from kolora.spec.migrate import migrate_dump
from kolora.spec.types import FileName, Part
from kolora.spec.words import printable
from kolora.stages.contract import stage_of
from kolora.stages.filter import read_ledger
from kolora.stages.render import IMAGE
from kolora.version import __version__

LOCK_VERSION = 2
"""2: the story in canonical form, a checkpoint by the files that are loaded of it, and today's names of steps."""
_HEAD = "# What this run was made of. Written by kolora; not to be edited.\n"
# Far more than a story may have: a lock names every picture of its data set.
LARGEST_LOCK = 32 * 2**20
DEEPEST = 20
_SHOWN = 5
"""Files named in one message."""

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Frozen(BaseModel):
    # A later kolora's lock 2 may say more; that alone does not make it unreadable.
    model_config = ConfigDict(frozen=True, extra="ignore")


class Origin(_Frozen):
    """Where on the hubs a folder came from."""

    hub: str
    id: str
    revision: str


class Folder(_Frozen):
    """A folder of input files: one digest of all, and every file's own; origin is None for what is not of a hub.

    lock_1_sha256: what the metadata of pictures made under a lock 1 call this folder, where that is another digest: it
    covered files that are not loaded too. None otherwise.
    """

    name: str = ""
    sha256: Sha256
    lock_1_sha256: Sha256 | None = Field(default=None, exclude=True)
    origin: Origin | None = None
    files: dict[str, Sha256 | Literal[""]] = {}


class TrainingPicture(_Frozen):
    """One picture that the filters kept: the source file's name, its pixels as trained on, its caption."""

    source: str
    sha256: Sha256
    text: str


class LockedDataset(_Frozen):
    """The data set; identity is the sha256 of a folder, or the version of pocket's little world."""

    identity: str | None = None
    origin: Origin | None = None
    files: dict[str, Sha256 | Literal[""]] = {}
    kept: dict[str, TrainingPicture] = {}


class Numerics(_Frozen):
    """The arithmetic in force, and for which steps."""

    steps: tuple[str, ...]
    device: str
    device_class: str | None = None
    device_name: str | None = None
    dtype: str | None = None
    torch: str | None = None
    kernels: str | None = None
    deterministic: bool | None = None
    threads: int | None = None


class Lock(_Frozen):
    """What a story came to.

    story: as given, in canonical form. overrides: the run's own ``--set``. lora: digest of one given.
    """

    lock: Literal[2]
    kolora: str
    name: str
    overrides: tuple[str, ...] = ()
    story: dict[str, Any]
    checkpoint: Folder
    dataset: LockedDataset | None
    lora: Sha256 | None = None
    scorers: dict[str, Folder | None]
    packages: dict[str, str]
    numerics: tuple[Numerics, ...]
    image: str | None = None
    steps: dict[Part, Sha256]
    results: dict[FileName, Sha256]

    def numerics_of(self, stage: str) -> Numerics | None:
        """Return the arithmetic of a stage's first step."""
        return next((each for each in self.numerics if stage in map(stage_of, each.steps)), None)

    @property
    def pins(self) -> Pins:
        """The revisions that downloads must come at."""
        models = [self.checkpoint.origin, *(scorer.origin for scorer in self.scorers.values() if scorer)]
        origins = [("model", origin) for origin in models] + [
            ("dataset", self.dataset.origin if self.dataset is not None else None)
        ]
        return {(origin.hub, kind, origin.id): origin.revision for kind, origin in origins if origin is not None}


@dataclass(frozen=True)
class Drift:
    """One thing that is not as the lock pins it; only what is of the environment may be accepted."""

    message: str
    kind: Literal["input", "environment"]


class EnvironmentChange(NamedTuple):
    """One thing of this machine that is another than the lock's."""

    what: str
    here: str
    pinned: str


class LockDrifted(InputAbsent):
    """Something is not as the lock pins it."""


def lock_of(
    resolved: ResolvedInputs,
    records: Mapping[str, StepRecord],
    *,
    filter_folder: Path | None,
    overrides: Sequence[str],
    packages: Mapping[str, str],
    image: str | None,
) -> Lock:
    """Say what a finished run came to. records: by step. filter_folder: of the filter's step, None where none ran."""
    inputs, files = resolved.inputs, resolved.files
    scorers = {"aesthetics": inputs.aesthetics, "clip": inputs.clip}
    return Lock(
        lock=2,
        kolora=__version__,
        name=resolved.story.name,
        overrides=tuple(overrides),
        story=canonical(resolved.original_story),
        checkpoint=Folder(
            name=resolved.checkpoint_name,
            sha256=inputs.checkpoint,
            origin=_origin(resolved, resolved.checkpoint),
            files=dict(files["checkpoint"]),
        ),
        dataset=None
        if resolved.story.training_set is None
        else LockedDataset(
            identity=inputs.dataset or None,
            origin=_origin(resolved, inputs.dataset_folder),
            files=dict(files.get("dataset", {})),
            kept={} if filter_folder is None else _training_pictures(filter_folder, records["filter"]),
        ),
        lora=None if inputs.lora is None else inputs.lora.digest,
        scorers={
            kind: None
            if scorer is None
            else Folder(sha256=scorer.digest, origin=_origin(resolved, scorer.folder), files=dict(files[kind]))
            for kind, scorer in scorers.items()
        },
        packages=dict(packages),
        numerics=_numerics(records),
        image=image,
        steps={name: record.digest for name, record in records.items()},
        results=_results(records),
    )


def lock_text(lock: Lock) -> str:
    """Spell a lock as YAML."""
    dumped = lock.model_dump(mode="json")
    return _HEAD + yaml.safe_dump(dumped, allow_unicode=True, sort_keys=False, width=120)


def read_lock(source: bytes, *, name: str) -> Lock:
    """Read a lock that may come from a stranger: plain values only, bounded in size and depth, no aliases.

    Raises InputAbsent for what is no lock, SchemaTooNew for one of a later kolora.
    """
    hint = "run the story again with --no-lock: that writes a new lock"
    try:
        values = plain_values(source)
    except (yaml.YAMLError, ValueError) as problem:
        raise InputAbsent(f"{name} is no lock: {str(problem).splitlines()[0]}", hint=hint) from problem
    version = values.get("lock") if isinstance(values, dict) else None
    if isinstance(version, int) and version > LOCK_VERSION:
        raise SchemaTooNew(
            f"{name}: given lock: {version}, expected {LOCK_VERSION}, the newest this kolora reads",
            hint="use a newer kolora",
        )
    try:
        return _with_canonical_story(Lock.model_validate(migrate_lock(values) if version == 1 else values))
    except ValidationError as problem:
        first = problem.errors()[0]
        where = printable(".".join(map(str, first["loc"])), most=200) or "the whole"
        raise InputAbsent(f"{name} is no lock of this kolora: {where}: {first['msg']}", hint=hint) from problem
    except (KeyError, TypeError, AttributeError, ValueError) as problem:
        raise InputAbsent(f"{name} is no lock of this kolora: it is not formed like one", hint=hint) from problem


def _with_canonical_story(lock: Lock) -> Lock:
    """Write the lock's story as today's canonical form; one that is no story, as in a forged lock, stays as it is."""
    try:
        story = Story.model_validate(migrate_dump(lock.story, version=lock.kolora))
    except ValidationError:
        return lock
    return lock.model_copy(update={"story": canonical(story)})


def drift_of(
    lock: Lock, resolved: ResolvedInputs, *, device: str, packages: Mapping[str, str], image: str | None
) -> list[Drift]:
    """List what is not as the lock pins it, before anything heavy runs.

    A scorer that the story switches off is not missed. An image counts where the lock names one.
    """
    inputs, files = resolved.inputs, resolved.files
    digests = [("checkpoint", lock.checkpoint.sha256, inputs.checkpoint, lock.checkpoint.files)]
    dataset = lock.dataset or LockedDataset()
    digests.append(("dataset", dataset.identity or "", inputs.dataset, dataset.files))
    digests.append(("render.lora", lock.lora or "none", inputs.lora.digest if inputs.lora else "none", {}))
    # Either may be off today or have been off then: there is nothing to hold against each other.
    for kind, scorer in (("aesthetics", inputs.aesthetics), ("clip", inputs.clip)):
        pinned = lock.scorers.get(kind)
        if pinned is not None and scorer is not None:
            digests.append((kind, pinned.sha256, scorer.digest, pinned.files))
    input_drifts = [
        Drift(f"{kind} is not what the lock pins: {_changes(pins, files.get(kind, {}), pinned, digest)}", "input")
        for kind, pinned, digest, pins in digests
        if pinned != digest
    ]
    changes = environment_drift(lock, device, packages, image)
    return input_drifts + [
        Drift(f"{what} is {here}, the lock has {pinned}", "environment") for what, here, pinned in changes
    ]


def environment_drift(
    lock: Lock, device: str, packages: Mapping[str, str], image: str | None
) -> list[EnvironmentChange]:
    """List where this machine is another than the lock's."""
    # A story with its own LoRA trains nothing: its pictures' arithmetic counts then.
    numerics = lock.numerics_of("train") or lock.numerics_of("render")
    pairs = [EnvironmentChange("kolora", here=__version__, pinned=lock.kolora)]
    # Only packages that the lock names: one that was not there then cannot have made its results.
    for name, version in lock.packages.items():
        pairs.append(EnvironmentChange(name, here=packages.get(name, "absent"), pinned=version))
    if numerics is not None and numerics.device_class is not None:
        pairs.append(EnvironmentChange("the device", here=device_class(device), pinned=numerics.device_class))
    if lock.image is not None:
        pairs.append(EnvironmentChange("the image", here=image or "none", pinned=lock.image))
    return [each for each in pairs if each.here != each.pinned]


def refuse_drift(drifts: Sequence[Drift], *, lock: str, accept_environment: bool) -> None:
    """Raise LockDrifted with everything that drifted at once; accepted differences of the environment are none."""
    refused = [each for each in drifts if each.kind == "input" or not accept_environment]
    if not refused:
        return
    lines = "".join(f"\n  {each.message}" for each in refused)
    # Only the hint that helps: accepting the environment lets no run go on whose inputs differ.
    if any(each.kind == "input" for each in refused):
        hint = "bring what the lock pins (kolora fetch STORY), or --no-lock goes on with what there is"
    else:
        hint = "--accept-environment goes on here: the same inputs, pictures that may differ by rounding"
    raise LockDrifted(f"what the story uses differs from {lock}:{lines}", hint=hint)


def plain_values(source: bytes) -> Any:
    """Read YAML that may come from a stranger as plain values; raises ValueError for what a lock never holds."""
    if len(source) > LARGEST_LOCK:
        raise ValueError(f"more than {LARGEST_LOCK:,} bytes")
    depth = 0
    text = source.decode("utf-8")
    # Looked through as events first: PyYAML would build nested or aliased values before anybody could count them.
    for event in yaml.parse(text, Loader=yaml.CSafeLoader):
        if isinstance(event, yaml.AliasEvent):
            raise ValueError("an alias, which a lock never has")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise ValueError(f"nested deeper than {DEEPEST}")
    return yaml.load(text, Loader=yaml.CSafeLoader)


def _training_pictures(filter_folder: Path, record: StepRecord) -> dict[str, TrainingPicture]:
    texts = {row.file_name: row.text for row in read_metadata(filter_folder / "train")}
    kept = {}
    for line in read_ledger(filter_folder):
        if line.train:
            name = Path(line.train).name
            kept[name] = TrainingPicture(
                source=line.source, sha256=record.files[f"train/{name}"].sha256, text=texts[name]
            )
    return kept


def _numerics(records: Mapping[str, StepRecord]) -> tuple[Numerics, ...]:
    """Say each arithmetic once, with the steps that it was in force for; steps that compute nothing have none."""
    groups: dict[str, list[StepRecord]] = {}
    for record in records.values():
        if record.numerics.get("torch") is not None:
            groups.setdefault(json.dumps(record.numerics, sort_keys=True), []).append(record)
    numerics = []
    for _, group in sorted(groups.items()):
        values = {"steps": tuple(record.step for record in group), **group[0].numerics}
        numerics.append(Numerics.model_validate(values))
    return tuple(numerics)


def _results(records: Mapping[str, StepRecord]) -> dict[str, str]:
    pictures = {
        picture_path("render", record.scene): record.files[IMAGE].sha256
        for record in records.values()
        if record.stage == "render" and record.scene is not None
    }
    grid = {GRID: records["grid"].files[GRID].sha256} if "grid" in records else {}
    exported = records["export_lora"].files if "export_lora" in records else {}
    lora = {f"lora/{name}": file.sha256 for name, file in exported.items()}
    return {**lora, **pictures, **grid}


def _origin(resolved: ResolvedInputs, folder: Path | None) -> Origin | None:
    origin = resolved.origins.get(folder) if folder else None
    return Origin.model_validate(dict(origin)) if origin else None


def _changes(pinned: Mapping[str, str], now: Mapping[str, str], was: str, digest: str) -> str:
    """Name the files that make the difference; where the files are not known, both digests."""
    changed = [f"{name} has other bytes" for name in pinned if name in now and now[name] != pinned[name]]
    gone = [f"{name} is gone" for name in pinned if name not in now]
    new = [f"{name} is new" for name in now if name not in pinned]
    changes = changed + gone + new
    if not changes:
        return f"it is {digest[:12]}, the lock has {was[:12]}"
    more = f" and {len(changes) - _SHOWN} more" if len(changes) > _SHOWN else ""
    return ", ".join(changes[:_SHOWN]) + more
