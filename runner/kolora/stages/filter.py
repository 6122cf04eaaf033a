"""Filter: Data-Juicer's operators choose among the fetched pictures, and the ledger says how each fared."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import AliasChoices, Field

from kolora.characters import show
from kolora.datasets.juicer.client import run_filters
from kolora.datasets.metadata import write_metadata
from kolora.errors import StoryInvalid
from kolora.inputs import Inputs
from kolora.spec import Filter, Story
from kolora.spec.types import FileName, Frozen
from kolora.stages.contract import Job, StageFacts, Step, read_json_lines
from kolora.stages.fetch import ImageLine, read_lines

VERSION = 2
"""2: small copies of dropped pictures, and what every operator measured in the ledger."""
MOST_THUMBNAILS = 24
"""Pictures dropped by one operator of which a small copy is made, to be looked at; the ledger names them all."""
THUMBNAIL_SIDE = 192
"""Pixels of their longer side."""

Verdict = Literal["kept", "dropped"]
Scalar = str | bool | int | float | None
_Verdicts = Sequence[Mapping[str, Mapping[str, Any]]]
"""Of every operator, by a picture's id: what Data-Juicer measured, and whether it kept the picture."""


class Config(Frozen):
    """The operators in order, and the fewest pictures they must leave."""

    min_images: int
    filters: tuple[Filter, ...] = ()


class FilterCount(StageFacts):
    """One filter: how many pictures went in and how many came out."""

    name: str
    # "in" and "out" in records and reports; `in` is no name in Python.
    entered: int = Field(validation_alias=AliasChoices("in", "entered"), serialization_alias="in")
    left: int = Field(validation_alias=AliasChoices("out", "left"), serialization_alias="out")


class Facts(StageFacts):
    """How many pictures are left, and which filter took how many."""

    kept: int
    dropped: int
    funnel: tuple[FilterCount, ...] = ()


class Measurement(StageFacts):
    """What one operator found about a picture, by the names of its statistics, beside what the story asks for."""

    name: str
    values: dict[str, Scalar] = Field(default_factory=dict)
    thresholds: dict[str, Scalar] = Field(default_factory=dict)
    verdict: Verdict


class LedgerLine(StageFacts):
    """One line of ``ledger.jsonl``: how a source file fared, and the first that dropped it.

    train, thumbnail: paths of its picture in this stage's folder, where it is trained on or shown.
    """

    id: str = ""
    source: str
    text: str = ""
    verdict: Verdict
    by: str | None = None
    kind: str | None = None
    reason: str | None = None
    train: FileName | None = None
    thumbnail: FileName | None = None
    operators: tuple[Measurement, ...] = ()

    @property
    def dropping_operator(self) -> Measurement | None:
        """The first operator that dropped the picture."""
        return next((each for each in self.operators if each.verdict == "dropped"), None)


class TooFewPictures(StoryInvalid):
    """The filters left fewer pictures than the story asks for; ``facts`` are the stage's, for the report."""

    def __init__(self, error: str, *, hint: str, facts: Facts) -> None:
        super().__init__(error, hint=hint)
        self.facts = facts


def steps(story: Story, inputs: Inputs) -> Iterator[Step]:
    """One step where a LoRA is trained."""
    if story.training_set is not None:
        config = Config(min_images=story.training_set.min_images, filters=story.filters)
        yield Step("filter", config, needs=(("fetch", None),))


def run(config: Config, job: Job) -> Facts:
    """Write `ledger.jsonl`, one line for every source file, and the kept pictures as `train/NN.jpg` with metadata.csv.

    The first that each operator dropped are in `dropped/`, small. Raises TooFewPictures, the ledger written.
    """
    fetch_folder = job.input("fetch")
    lines = read_lines(fetch_folder)
    ledger = _number_pictures(_join_verdicts(lines, config.filters, _verdicts(lines, config.filters, job)))
    images = {line.id: fetch_folder / line.image for line in lines if line.image}
    # Before anything may fail for want of pictures: the ledger is what says why, and it is published even then.
    _write_ledger(ledger, job.folder)
    _show_dropped([(images[line.id], line.thumbnail) for line in ledger if line.thumbnail], job.folder)
    kept = [line for line in ledger if line.verdict == "kept"]
    facts = Facts(kept=len(kept), dropped=len(ledger) - len(kept), funnel=_funnel(ledger, config.filters))
    if len(kept) < config.min_images:
        raise _too_few(facts, config.min_images)
    _write_training_set([(images[line.id], line.train, line.text) for line in kept if line.train], job)
    return facts


def _verdicts(lines: Sequence[ImageLine], filters: Sequence[Filter], job: Job) -> _Verdicts:
    """Ask Data-Juicer, unless there is nothing to ask."""
    if not filters:
        return []
    fetch_folder = job.input("fetch")
    rows = [
        {"id": line.id, "text": line.text, "image": str((fetch_folder / line.image).resolve()), "bytes": line.bytes}
        for line in lines
        if line.image
    ]
    # In the step's own folder, so that what a kill leaves goes when the step begins again.
    scratch = job.folder / "tmp"
    scratch.mkdir()
    try:
        return run_filters(
            rows,
            [{item.name: item.parameters} for item in filters],
            scratch=scratch,
            log=job.log,
            tick=lambda: job.tick(0, len(rows)),
        )
    finally:
        # Every file that is there when the step returns counts as its result.
        shutil.rmtree(scratch)


def _join_verdicts(lines: Sequence[ImageLine], filters: Sequence[Filter], verdicts: _Verdicts) -> list[LedgerLine]:
    """Join what fetch and every operator found about each source file; the first to drop it gives the reason."""
    ledger = []
    for line in lines:
        entry = LedgerLine(id=line.id, source=line.source, text=line.text, verdict=line.verdict)
        if line.verdict == "dropped":
            change: dict[str, Any] = {"by": "fetch", "kind": line.kind, "reason": line.reason}
        else:
            rows = (verdicts_of_one[line.id] for verdicts_of_one in verdicts)
            operators = tuple(_measurement(item, row) for item, row in zip(filters, rows, strict=True))
            change = {"operators": operators}
            dropper = entry.model_copy(update=change).dropping_operator
            if dropper is not None:
                change |= {"verdict": "dropped", "by": dropper.name, "reason": _reason(dropper)}
        ledger.append(entry.model_copy(update=change))
    return ledger


def _number_pictures(ledger: Sequence[LedgerLine]) -> list[LedgerLine]:
    """Name the pictures that are trained on, in order, and those dropped ones that are shown small."""
    digits = max(2, len(str(sum(line.verdict == "kept" for line in ledger))))
    kept = 0
    shown: Counter[str | None] = Counter()
    lines = []
    for line in ledger:
        if line.verdict == "kept":
            kept += 1
            line = line.model_copy(update={"train": f"train/{kept:0{digits}}.jpg"})
        elif line.operators and shown[line.by] < MOST_THUMBNAILS:
            shown[line.by] += 1
            line = line.model_copy(update={"thumbnail": f"dropped/{line.id}.jpg"})
        lines.append(line)
    return lines


def _measurement(item: Filter, row: Mapping[str, Any]) -> Measurement:
    # Data-Juicer measures a list of pictures a row; ours have one.
    values = {name: row["stats"][name] for name in item.operator.stats}
    return Measurement(
        name=item.name,
        values={name: value[0] if isinstance(value, list) else value for name, value in values.items()},
        thresholds=item.thresholds,
        verdict="kept" if row["kept"] else "dropped",
    )


def _reason(operator: Measurement) -> str:
    values = ", ".join(f"{name} {_format_value(value)}" for name, value in operator.values.items())
    bounds = ", ".join(f"{name} {value}" for name, value in operator.thresholds.items() if value is not None)
    return f"{values}; {bounds}" if bounds else values


def _format_value(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _funnel(ledger: Sequence[LedgerLine], filters: Sequence[Filter]) -> tuple[FilterCount, ...]:
    """Count the pictures before and after fetch and every operator, in order."""
    left = len(ledger)
    funnel = []
    places = [_first_drop(line) for line in ledger]
    losses = [sum(line.by == "fetch" for line in ledger), *(places.count(place) for place in range(len(filters)))]
    for name, count in zip(["fetch", *(item.name for item in filters)], losses, strict=True):
        funnel.append(FilterCount(name=name, entered=left, left=left - count))
        left -= count
    return tuple(funnel)


def _first_drop(line: LedgerLine) -> int | None:
    """Return which operator took a picture; by place, as a story may name one operator twice."""
    return next((place for place, one in enumerate(line.operators) if one.verdict == "dropped"), None)


def _too_few(facts: Facts, needed: int) -> TooFewPictures:
    losses = [(each.entered - each.left, each.name) for each in facts.funnel]
    reasons = ", ".join(f"{name} took {count}" for count, name in losses if count) or "there were no more"
    most, name = max(losses)
    cure = "add pictures or mend those that the ledger names" if name == "fetch" else f"loosen {name}"
    total = facts.kept + facts.dropped
    return TooFewPictures(
        f"{facts.kept} of {total} pictures are left, dataset.min_images asks for {needed}: {reasons}",
        hint=f"{cure}, or lower dataset.min_images" if most else "add pictures, or lower dataset.min_images",
        facts=facts,
    )


def _write_ledger(ledger: Sequence[LedgerLine], folder: Path) -> None:
    lines = [show(json.dumps(line.model_dump(), ensure_ascii=False)) for line in ledger]
    (folder / "ledger.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")


def _show_dropped(dropped: Sequence[tuple[Path, str]], folder: Path) -> None:
    from PIL import Image

    (folder / "dropped").mkdir()
    for image, thumbnail in dropped:
        with Image.open(image) as picture:
            picture.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.LANCZOS)
            # Only looked at: size matters more here than fidelity.
            picture.save(folder / thumbnail, quality=80)


def _write_training_set(kept: Sequence[tuple[Path, str, str]], job: Job) -> None:
    """Write the kept pictures as DiffSynth's own training script reads them."""
    from PIL import Image

    (job.folder / "train").mkdir()
    for done, (image, train, _) in enumerate(kept):
        job.tick(done, len(kept))
        with Image.open(image) as picture:
            # 4:4:4, so that thin coloured lines stay as they are.
            picture.save(job.folder / train, quality=95, subsampling=0)
    write_metadata(job.folder / "train", [(Path(train).name, text) for _, train, text in kept])
    job.tick(len(kept), len(kept))


def read_ledger(folder: Path) -> list[LedgerLine]:
    """Read the ledger that this stage wrote into its folder."""
    return read_json_lines(folder / "ledger.jsonl", LedgerLine)
