"""What a run folder holds for kolora itself, beside what it shows: no other file may lie there."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from kolora.ownership import MARK
from kolora.runfolder import layout
from kolora.runfolder.records import RunRecord, StepRecord, parse_record
from kolora.runfolder.store import folder_name
from kolora.verification.pack import OWN_MARKS, RUNNING, Pack
from kolora.verification.statements import compare_statements, read_json
from kolora.verification.told import LARGEST_RECORD, is_moment
from kolora.verification.words import Finding, brief, excerpt
from kolora.version import __version__

LOG = re.compile(rf"{layout.LOGS}/[a-z_]+(-[a-z]+)?(-\d+)?\.log|{layout.CURVES}/events\.out\.tfevents\.[\w.-]+")
EXPORT = re.compile(
    rf"{layout.EXPORT}/(.*/)?[^/]+\.(safetensors|json|jsonl|yaml|png|jpg|csv|md|html|sha256|sig|zip|txt)"
    rf"|{layout.EXPORT}/(.*/)?{re.escape(MARK)}"
)
"""What is exported for other tools: what that says is theirs to judge, but it runs no code."""
LARGEST_STATUS = 2**20


def own_findings(pack: Pack, run: RunRecord | None, *, version: str) -> Iterator[Finding]:
    """Look through what a run folder holds for kolora itself, and say what of it nobody can judge.

    run: its record. version: of the kolora that it says it was made by.
    """
    if not pack.own:
        return
    work, others = {}, []
    for name in sorted(pack.own):
        top, _, inside = name.partition("/")
        if top == layout.WORK and layout.is_work(inside.partition("/")[0]):
            work[name] = inside
        elif not (LOG.fullmatch(name) or EXPORT.fullmatch(name) or name in OWN_MARKS):
            others.append(name)
    for name in others:
        yield Finding("foreign", (excerpt(name),))
    yield from _work_findings(pack, work)
    if pack.own.get(layout.RUN_LOCK):
        yield Finding("foreign", (layout.RUN_LOCK,))
    for name, expected in ((layout.STATUS, _status), (MARK, _mark)):
        if name in pack.own:
            yield from _json_findings(pack, name, partial(expected, run=run), version)
    tops = {name.partition("/")[0] for name in pack.own}
    unseen = [name for name in (*RUNNING, *OWN_MARKS) if name in tops and name != layout.WORK]
    if unseen:
        yield Finding("passed_over", (", ".join(unseen),), "note")


def _work_findings(pack: Pack, names: Mapping[str, str]) -> Iterator[Finding]:
    """Hold finished steps against their records, which are judged by themselves; of others, say that they are there."""
    steps, others = _files_of_steps(pack), []
    for name, inside in names.items():
        folder, _, file = inside.partition("/")
        if folder not in steps:
            others.append(name)
        elif file not in steps[folder]:
            yield Finding("foreign", (excerpt(name),))
        elif steps[folder][file] != pack.sha256(name):
            yield Finding("work_other", (excerpt(name),))
    if others:
        yield Finding("work_unknown", (brief([excerpt(name) for name in others]),), "unchecked")


def _files_of_steps(pack: Pack) -> dict[str, dict[str, str]]:
    """Map the folder of every step that has a record here to the sha256 of its files."""
    steps = {}
    for name in pack.sizes:
        if name.startswith(f"{layout.RECORDS}/") and name != layout.RUN_RECORD:
            content = pack.read(name, most=LARGEST_RECORD)
            record: StepRecord | None = parse_record(content)
            if record is not None:
                files = {file: stored.sha256 for file, stored in record.files.items()}
                files[layout.STEP_RECORD] = hashlib.sha256(content).hexdigest()
                steps[folder_name(record.step, record.digest)] = files
    return steps


def _json_findings(
    pack: Pack, name: str, expected: Callable[[Mapping[str, Any]], dict[str, Any]], version: str
) -> Iterator[Finding]:
    try:
        theirs = read_json(pack.read(name, most=LARGEST_STATUS))
        if not isinstance(theirs, dict):
            raise ValueError("it is no JSON object")
    except ValueError as problem:
        yield Finding("unreadable_text", (name, str(problem)))
        return
    verdict = "different" if version == __version__ else "other_version"
    yield from compare_statements(name, theirs, expected(theirs), lambda *_: verdict)


def _status(theirs: Mapping[str, Any], *, run: RunRecord | None) -> dict[str, Any]:
    """Say what the last heartbeat of a run holds; when, and by which process, is told by it alone."""
    moment, pid = theirs.get("time"), theirs.get("pid")
    return {
        "time": moment if is_moment(moment) else "a time",
        "stage": run.status if run is not None else None,
        "pid": pid if type(pid) is int else "a number",
    }


def _mark(theirs: Mapping[str, Any], *, run: RunRecord | None) -> dict[str, Any]:
    """Say what the mark of a run folder holds; which files were written there is told by it alone."""
    told = {key: theirs[key] for key in ("kolora", "source", "files", "exports") if key in theirs}
    return {"folder": "run", "name": run.name if run is not None else None} | told
