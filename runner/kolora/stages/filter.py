"""Filter: Data-Juicer's operators choose among the fetched pictures, and the ledger says how each fared."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from kolora.datasets.juicer.client import run_filters
from kolora.datasets.metadata import write_metadata
from kolora.errors import StoryInvalid
from kolora.spec import Filter
from kolora.stages import Facts, Job

VERSION = 2
SHOWN = 24
"""Pictures dropped by one operator that are kept small, to be looked at; the ledger names them all."""
SHOWN_SIDE = 192

Line = dict[str, Any]


class Fewest(BaseModel):
    """What the filter sees of the data set's section."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    min_images: int


class Part(BaseModel):
    """The operators in order, and the fewest pictures they must leave."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: Fewest
    filters: tuple[Filter, ...]


class TooFewPictures(StoryInvalid):
    """The filters left fewer pictures than the story asks for; ``facts`` are the stage's, for the report."""

    def __init__(self, error: str, *, hint: str, facts: Facts) -> None:
        super().__init__(error, hint=hint)
        self.facts = facts


def run(part: Part, job: Job) -> Facts:
    """Write `ledger.jsonl`, one line for every source file, and the kept pictures as `train/NN.jpg` with metadata.csv.

    The first that each operator dropped are in `dropped/`, small. Takes the step `fetch`. Raises TooFewPictures, the
    ledger written.
    """
    fetched = job.inputs["fetch"]
    with (fetched / "images.jsonl").open(encoding="utf-8") as file:
        lines = [json.loads(line) for line in file]
    ledger = _judged(lines, part.filters, _verdicts(lines, part.filters, job))
    images = {line["id"]: fetched / line["image"] for line in lines if line["image"]}
    _write_ledger(ledger, job.folder)
    _show_dropped([(images[line["id"]], line["thumbnail"]) for line in ledger if line["thumbnail"]], job.folder)
    kept = [line for line in ledger if line["verdict"] == "kept"]
    facts = {"kept": len(kept), "dropped": len(ledger) - len(kept), "funnel": _funnel(ledger, part.filters)}
    if len(kept) < part.dataset.min_images:
        raise _too_few(facts, part.dataset.min_images)
    _lay_out([(images[line["id"]], line["train"], line["text"]) for line in kept], job)
    return facts


def _verdicts(lines: Sequence[Line], filters: Sequence[Filter], job: Job) -> list[dict[str, Line]]:
    """Ask Data-Juicer, unless there is nothing to ask."""
    if not filters:
        return []
    rows = [
        {
            "id": line["id"],
            "text": line["text"],
            "image": str((job.inputs["fetch"] / line["image"]).resolve()),
            "bytes": line["bytes"],
        }
        for line in lines
        if line["image"]
    ]
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
        shutil.rmtree(scratch)


def _judged(lines: Sequence[Line], filters: Sequence[Filter], verdicts: Sequence[Mapping[str, Line]]) -> list[Line]:
    """Join what fetch and every operator found about each source file; the first to drop it gives the reason."""
    ledger: list[Line] = []
    for line in lines:
        entry: Line = {"id": line["id"], "source": line["source"], "text": line["text"]}
        if line["verdict"] == "dropped":
            ledger.append(
                entry
                | {"verdict": "dropped", "by": "fetch", "kind": line["kind"], "reason": line["reason"]}
                | {"train": None, "thumbnail": None, "operators": []}
            )
            continue
        operators = [_operator(item, found[line["id"]]) for item, found in zip(filters, verdicts, strict=True)]
        against = next((operator for operator in operators if operator["verdict"] == "dropped"), None)
        ledger.append(
            entry
            | {
                "verdict": "dropped" if against else "kept",
                "by": against and against["name"],
                "kind": None,
                "reason": against and _reason(against),
                "train": None,
                "thumbnail": None,
                "operators": operators,
            }
        )
    kept = [entry for entry in ledger if entry["verdict"] == "kept"]
    digits = max(2, len(str(len(kept))))
    for number, entry in enumerate(kept, start=1):
        entry["train"] = f"train/{number:0{digits}}.jpg"
    shown: Counter[str] = Counter()
    for entry in ledger:
        if entry["verdict"] == "dropped" and entry["operators"] and shown[entry["by"]] < SHOWN:
            shown[entry["by"]] += 1
            entry["thumbnail"] = f"dropped/{entry['id']}.jpg"
    return ledger


def _operator(item: Filter, found: Line) -> Line:
    # Data-Juicer measures a list of pictures a row; ours have one.
    values = {name: found["stats"][name] for name in item.operator.stats}
    return {
        "name": item.name,
        "values": {name: value[0] if isinstance(value, list) else value for name, value in values.items()},
        "thresholds": item.thresholds,
        "verdict": "kept" if found["kept"] else "dropped",
    }


def _reason(operator: Line) -> str:
    found = ", ".join(f"{name} {_spoken(value)}" for name, value in operator["values"].items())
    bounds = ", ".join(f"{name} {value}" for name, value in operator["thresholds"].items() if value is not None)
    return f"{found}; {bounds}" if bounds else found


def _spoken(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _funnel(ledger: Sequence[Line], filters: Sequence[Filter]) -> list[Line]:
    """Count the pictures before and after fetch and every operator, in order."""
    left = len(ledger)
    funnel = []
    gone = [sum(line["by"] == "fetch" for line in ledger)]
    firsts = [_first_drop(line) for line in ledger]
    gone += [firsts.count(place) for place in range(len(filters))]
    for name, taken in zip(["fetch", *(item.name for item in filters)], gone, strict=True):
        funnel.append({"name": name, "in": left, "out": left - taken})
        left -= taken
    return funnel


def _first_drop(line: Line) -> int | None:
    """Return which operator took a picture; by place, as a story may name one operator twice."""
    return next((place for place, one in enumerate(line["operators"]) if one["verdict"] == "dropped"), None)


def _too_few(facts: Facts, needed: int) -> TooFewPictures:
    taken = [(step["in"] - step["out"], step["name"]) for step in facts["funnel"]]
    told = ", ".join(f"{name} took {count}" for count, name in taken if count) or "there were no more"
    most, name = max(taken)
    cure = "add pictures or mend those that the ledger names" if name == "fetch" else f"loosen {name}"
    return TooFewPictures(
        f"{facts['kept']} of {facts['kept'] + facts['dropped']} pictures are left, dataset.min_images asks for "
        f"{needed}: {told}",
        hint=f"{cure}, or lower dataset.min_images" if most else "add pictures, or lower dataset.min_images",
        facts=facts,
    )


def _write_ledger(ledger: Sequence[Line], folder: Path) -> None:
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in ledger)
    (folder / "ledger.jsonl").write_text(text, encoding="utf-8", newline="\n")


def _show_dropped(dropped: Sequence[tuple[Path, str]], folder: Path) -> None:
    from PIL import Image

    (folder / "dropped").mkdir()
    for image, thumbnail in dropped:
        with Image.open(image) as picture:
            picture.thumbnail((SHOWN_SIDE, SHOWN_SIDE), Image.Resampling.LANCZOS)
            picture.save(folder / thumbnail, quality=80)


def _lay_out(kept: Sequence[tuple[Path, str, str]], job: Job) -> None:
    """Write the kept pictures as DiffSynth's own training script reads them."""
    from PIL import Image

    train = job.folder / "train"
    train.mkdir()
    for done, (image, name, _) in enumerate(kept):
        job.tick(done, len(kept))
        with Image.open(image) as picture:
            # 4:4:4, so that thin coloured lines stay as they are.
            picture.save(job.folder / name, quality=95, subsampling=0)
    write_metadata(train, [(Path(name).name, text) for _, name, text in kept])
    job.tick(len(kept), len(kept))
