"""What only a run can know of itself - when, how long, by which command, what it kept - as its records tell it."""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from pydantic import ValidationError

from kolora.planning import words_of_reasons
from kolora.runfolder.layout import RUN_RECORD, record_path
from kolora.runfolder.reader import RunReader
from kolora.runfolder.records import RunRecord, StepLine, StepRecord
from kolora.spec.words import printable
from kolora.verification.pack import Pack

Record = TypeVar("Record", StepRecord, RunRecord)

LARGEST_RECORD = 32 * 2**20
TOLD_FACTS = ("samples_per_second", "resumed_at")
"""Facts of a stage that only its run can know."""
DEVICES = {"cpu", "gpu"}
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)")
A_DAY = datetime.timedelta(days=1)
"""By so much another machine's clock may be ahead."""
LONGEST_TIME = 10 * 365 * 86_400
LONGEST_WORD = 4096


@dataclass(frozen=True)
class Records:
    """The records of a run: of the whole, and of each step by its name."""

    run: RunRecord
    steps: Mapping[str, StepRecord]

    def texts(self) -> dict[str, bytes]:
        """Spell every record's file as a run writes it, by its path."""
        texts = {RUN_RECORD: f"{self.run.model_dump_json(indent=1)}\n".encode()}
        for name, record in self.steps.items():
            texts[record_path(name)] = f"{record.model_dump_json(indent=1)}\n".encode()
        return texts


def records_as_told(pack: Pack, reader: RunReader) -> Records:
    """Return the records that were made here, saying of times, costs and commands what the submission's own say.

    What is no such statement stays as it is here, so that a comparison finds it. reader: of the run that was made here.
    """
    assert reader.run is not None
    steps = {name: _step_as_told(pack, record) for name, record in reader.records.items()}
    return Records(_run_as_told(pack, reader.run, steps), steps)


def _step_as_told(pack: Pack, ours: StepRecord) -> StepRecord:
    theirs = _read(pack, record_path(ours.step), StepRecord)
    if theirs is None or not _can_be_told(theirs):
        return ours
    facts = {key: theirs.facts[key] for key in TOLD_FACTS if key in ours.facts and key in theirs.facts}
    told = ours.model_copy(
        update={
            "started": theirs.started,
            "seconds": theirs.seconds,
            "peak_memory_bytes": theirs.peak_memory_bytes,
            "facts": ours.facts | facts,
        }
    )
    # Its own digest is of what it tells too.
    return told.with_digest()


def _run_as_told(pack: Pack, ours: RunRecord, steps: Mapping[str, StepRecord]) -> RunRecord:
    theirs = _read(pack, RUN_RECORD, RunRecord)
    if theirs is None or not _can_be_told_of_run(theirs):
        return ours
    told = {line.step: line for line in theirs.steps}
    return ours.model_copy(
        update={
            "started": theirs.started,
            "seconds": theirs.seconds,
            "command": theirs.command,
            "steps": tuple(_line_as_told(line, told.get(line.step), steps.get(line.step)) for line in ours.steps),
            "environment": ours.environment.model_copy(update={"service": theirs.environment.service}),
        }
    )


def _can_be_told(record: StepRecord) -> bool:
    """Tell whether what only a run can know is of its kind: a time, an amount, and no words."""
    amounts = [record.seconds, *record.peak_memory_bytes.values(), *(record.facts.get(key) for key in TOLD_FACTS)]
    return (
        record.peak_memory_bytes.keys() <= DEVICES
        and (record.started is None or is_moment(record.started))
        and all(amount is None or _is_amount(amount) for amount in amounts)
    )


def _can_be_told_of_run(run: RunRecord) -> bool:
    service = run.environment.service
    words = [*run.command, *((service.name or "", service.run or "") if service is not None else ())]
    return (
        (run.started is None or is_moment(run.started))
        and (run.seconds is None or (_is_amount(run.seconds) and run.seconds <= LONGEST_TIME))
        and all(printable(word, most=LONGEST_WORD) == word for word in words)
    )


def is_moment(value: object) -> bool:
    """Tell whether a value is a moment as records write it, and not one that is still to come."""
    if not isinstance(value, str) or not MOMENT.fullmatch(value):
        return False
    try:
        return datetime.datetime.fromisoformat(value) <= datetime.datetime.now(datetime.UTC) + A_DAY
    except ValueError:
        return False


def _is_amount(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0


def _line_as_told(ours: StepLine, told: StepLine | None, record: StepRecord | None) -> StepLine:
    # A line that contradicts itself, or the step's own record, is told by nobody.
    if told is None or told.action not in ("kept", "ran") or record is None or told.seconds != record.seconds:
        return ours
    if told.reason != _words(told):
        return ours
    return ours.model_copy(update={key: getattr(told, key) for key in ("action", "reason", "why", "seconds")})


def _words(line: StepLine) -> str | None:
    """Say a line's reason anew from its keys and values; None where they are no reason of a plan's."""
    try:
        return words_of_reasons(line.why)
    except (KeyError, IndexError, ValueError):
        return None


def _read(pack: Pack, name: str, kind: type[Record]) -> Record | None:
    if name not in pack.sizes:
        return None
    try:
        return kind.model_validate_json(pack.read(name, most=LARGEST_RECORD))
    except ValidationError:
        return None
