"""Compare: a submission with the run that was rebuilt here. It reads and judges, and computes next to nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from kolora.errors import KoloraError, StoryInvalid
from kolora.files import writing
from kolora.reads import is_as_written
from kolora.report import ReportData, without_provenance
from kolora.report.migrate import migrate_report
from kolora.runfolder import layout
from kolora.runfolder.layout import LORAS
from kolora.runfolder.lock import LARGEST_LOCK, Lock, plain_values, read_lock
from kolora.runfolder.migrate import PICTURES_OF_0_1
from kolora.runfolder.published import published_path
from kolora.spec import Story, load_story
from kolora.spec.canonical import canonical
from kolora.spec.document import LARGEST_STORY
from kolora.spec.flat import flatten
from kolora.stages.contract import stage_of
from kolora.verification.accounting import manifest_findings, unexpected
from kolora.verification.expected import Expectations, Expected
from kolora.verification.judges import Context
from kolora.verification.lora import lora_findings
from kolora.verification.own import own_findings
from kolora.verification.pack import Pack
from kolora.verification.pages import PAGES, page_finding
from kolora.verification.pictures import picture_findings
from kolora.verification.rebuild import Rebuilt
from kolora.verification.scores import SAME, compare_pictures, is_near, judged_scenes
from kolora.verification.statements import compare_statements, leaves_of, read_json
from kolora.verification.verdict import judge_picture, worst
from kolora.verification.words import Finding, brief, excerpt

MAX_TEXT = 32 * 2**20
"""Bytes of a report, a record or another text."""


@dataclass(frozen=True)
class Comparison:
    """What came of a comparison. scenes, grid: as verify.json has them. report: of the submission, where it holds."""

    verdict: str
    findings: tuple[Finding, ...]
    scenes: tuple[Mapping[str, Any], ...]
    grid: Mapping[str, Any] | None


def compare(pack: Pack, expectations: Expectations, *, place: Path) -> Comparison:
    """Hold every file of a submission against the one that was made here.

    place: a folder of ours for what is looked at of it. Identical is only what is the same, byte for byte, in every
    file; all else that is found says why it is less.
    """
    comparing = _Comparing(pack, expectations, place)
    findings = list(comparing.findings())
    scenes, grid = comparing.scenes, comparing.grid
    verdicts = [_VERDICTS[each.verdict] for each in findings]
    verdicts += [str(each["verdict"]) for each in (*scenes, grid) if each]
    # The last word: whatever the findings say, what is not the same in every byte is not identical.
    verdicts.append("identical" if comparing.is_exact else "equivalent")
    return Comparison(worst(verdicts), tuple(findings), tuple(scenes), grid)


_VERDICTS = {"different": "different", "unchecked": "equivalent", "note": "identical"}


@dataclass
class _Comparing:
    """One comparison at work: what is found on the way is needed further on."""

    pack: Pack
    expectations: Expectations
    place: Path
    scenes: list[dict[str, Any]] = field(default_factory=list)
    grid: dict[str, Any] | None = None
    is_exact: bool = False

    def __post_init__(self) -> None:
        self.rebuilt: Rebuilt = self.expectations.rebuilt
        self.expected: Expected = self.expectations.of(self.pack)
        self.lock: Lock = _lock_of(self.pack.read(layout.LOCK, most=LARGEST_LOCK))
        self.is_old = self.lock.checkpoint.lock_1_sha256 is not None
        self.aliases = self._aliases() if self.is_old else {}
        self.digests = {name: self.pack.sha256(self._given(name)) for name in self.expected.files if self._has(name)}

    def findings(self) -> Iterator[Finding]:
        """Find everything, in the order of a reader's interest."""
        pack, expected = self.pack, self.expected
        given = {self._given(name): None for name in expected.files}
        yield from unexpected(pack, given, skipped=self.rebuilt.skipped, is_old=self.is_old)
        yield from own_findings(pack, expected.records.run if expected.records else None, version=self.lock.kolora)
        digests = {self._given(name): digest for name, digest in self.digests.items()}
        yield from manifest_findings(pack, digests, given)
        yield from self._promise_findings()
        yield from _story_findings(pack, self.lock)
        differing = [name for name, digest in sorted(self.digests.items()) if digest != expected.digests[name]]
        self.is_exact = not differing and self.digests.keys() == expected.files.keys()
        yield from self._picture_findings(set(differing))
        context = self._context()
        for name in differing:
            if name.startswith("lora/") and name.endswith(".safetensors"):
                yield from self._lora_findings(name, context)
            elif name == layout.LOCK:
                yield from self._or_other_bytes(name, self._lock_findings(context))
            elif name.startswith(f"{layout.RECORDS}/"):
                if not self.is_old:
                    yield from self._or_other_bytes(name, self._record_findings(name, context))
            elif name not in (layout.REPORT, layout.STORY, *PAGES) and not name.endswith((".png", ".jpg")):
                yield from self._or_other_bytes(name, self._text_findings(name, context))
        if self.is_old and pack.is_run:
            yield Finding("other_version", (f"{layout.RECORDS}/", "records"), "unchecked")
        if layout.STORY in differing:
            yield from self._story_file_findings(context)
        yield from self._report_findings(set(differing), context)
        if pack.is_run:
            yield Finding("told_by_run", verdict="note")
        elif not self.expectations.team or expected.name != f"{self.expectations.team}{self.expectations.ending}":
            yield Finding("team", (f"lora/{expected.name}.safetensors",), "unchecked")

    def _promise_findings(self) -> Iterator[Finding]:
        """Hold files against the digests that the lock has of them."""
        promised = dict(self.lock.results)
        if self.expected.name is not None and LORAS["kohya"] in promised:
            promised[f"lora/{self.expected.name}.safetensors"] = promised.pop(LORAS["kohya"])
        for name, picture in (self.lock.dataset.kept if self.lock.dataset else {}).items():
            promised[f"{layout.TRAINING_SET}/{name}"] = picture.sha256
        for name, digest in sorted(promised.items()):
            if name in self.digests and self.digests[name] != digest:
                yield Finding("not_as_locked", (excerpt(name),))

    def _aliases(self) -> dict[str, str]:
        """Map today's names of pictures to those of kolora 0.1."""
        former, today = PICTURES_OF_0_1["baseline"], layout.BASELINE
        return {name: name.replace(today, former) for name in self.expected.files if name.startswith(f"{today}/")}

    def _given(self, name: str) -> str:
        return self.aliases.get(name, name)

    def _has(self, name: str) -> bool:
        return self._given(name) in self.pack.sizes

    def _copied(self, name: str) -> Path:
        """Copy a file of the submission to its place of ours."""
        target = self.place / name
        with writing(self.place):
            self.pack.copy(self._given(name), target)
        return target

    def _text(self, name: str) -> bytes:
        return self.pack.read(self._given(name), most=MAX_TEXT)

    def _context(self) -> Context:
        return Context(
            digests=self.digests,
            exact=all(each["identical"] for each in self.scenes),
            tolerance=self.rebuilt.tolerance,
            skipped=self.rebuilt.skipped,
            version=self.lock.kolora,
            former_checkpoint=self.lock.checkpoint.lock_1_sha256,
        )

    def _or_other_bytes(self, name: str, findings: Iterator[Finding]) -> Iterator[Finding]:
        """Yield findings; where there is none, that the bytes are others."""
        found = False
        for each in findings:
            found = True
            yield each
        if not found:
            yield Finding("other_bytes", (name,), "unchecked")

    def _picture_findings(self, differing: set[str]) -> Iterator[Finding]:
        """Compare pictures: the scenes and the grid as verify.json tells them, all others as findings."""
        comparable: dict[str, bool] = {}
        names = [name for name in sorted(self.digests) if name.endswith((".png", ".jpg"))]
        for name in names:
            path = self._copied(name) if name in differing else None
            comparable[name] = name not in differing
            if path is not None and name.endswith(".png"):
                comparable[name], found = picture_findings(
                    name, path, self.expected.files[name], former_checkpoint=self.lock.checkpoint.lock_1_sha256
                )
                yield from found
                pixels = compare_pictures(path, self.expected.files[name]) if comparable[name] else None
                if pixels is not None and pixels["identical"] and not found:
                    yield Finding("recompressed", (name,), "unchecked")
        self.scenes = judged_scenes(self.rebuilt, self.expected, self.place, differing, comparable)
        if comparable.get(layout.GRID):
            self.grid = self._judged_grid(layout.GRID in differing)
        shown = {layout.GRID, *(layout.picture_path("render", scene.number) for scene in self.expected.report.scenes)}
        for name in sorted(differing - shown):
            if name.endswith(".jpg") or comparable.get(name):
                yield from self._other_picture(name)

    def _judged_grid(self, is_other: bool) -> dict[str, Any]:
        found = compare_pictures(self.place / layout.GRID, self.expected.files[layout.GRID]) if is_other else SAME
        assert found is not None
        facts = found | {kind: {"submitted": None, "again": None} for kind in ("aesthetics", "clip")}
        verdict, reasons = judge_picture(facts, self.rebuilt.tolerance)
        return {"same_file": not is_other, "verdict": verdict, "reasons": [each.facts for each in reasons], **facts}

    def _other_picture(self, name: str) -> Iterator[Finding]:
        """Compare a picture that no scene shows: its baseline, a sample, one that was trained on."""
        path = self.place / name
        facts = compare_pictures(path, self.expected.files[name])
        if facts is None or not is_near(facts, self.rebuilt.tolerance, lossy=name.endswith(".jpg")):
            yield Finding("picture_other", (name, str(facts["psnr"]) if facts else "–"))
        elif not facts["identical"] or name.endswith(".jpg"):
            yield Finding("picture_near", (name,), "unchecked")

    def _lora_findings(self, name: str, context: Context) -> Iterator[Finding]:
        ours = self.expected.files[name]
        findings = lora_findings(name, self._copied(name), ours, former=self._former_header())
        yield from self._or_other_bytes(name, findings)

    def _former_header(self) -> Mapping[str, str | None]:
        """Say what the header of a LoRA file of kolora 0.1 held; None for what cannot be told."""
        if not self.is_old:
            return {}
        story = self.expectations.finished.story
        return {
            "kolora.checkpoint": self.lock.checkpoint.lock_1_sha256,
            "kolora.spec": None,
            "modelspec.title": story.title,
            "modelspec.author": story.team,
        }

    def _lock_findings(self, context: Context) -> Iterator[Finding]:
        """Compare locks as they are written; one of an earlier form as it reads in today's."""
        ours, theirs = (lock.model_dump(mode="json") for lock in (self.rebuilt.lock, self.lock))
        if not self.is_old:
            # As it is written, so that what no lock says is found; but for the story, whose keys may have older names.
            written = plain_values(self.pack.read(layout.LOCK, most=LARGEST_LOCK))
            theirs = written | {"story": self.lock.story}
        yield from compare_statements(layout.LOCK, theirs, ours, context.judge_lock)

    def _record_findings(self, name: str, context: Context) -> Iterator[Finding]:
        records = self.expected.records
        assert records is not None
        try:
            theirs = read_json(self._text(name))
            if not isinstance(theirs, dict):
                raise ValueError("it is no JSON object")
        except ValueError as problem:
            yield Finding("unreadable_text", (name, str(problem)))
            return
        step = name.removeprefix(f"{layout.RECORDS}/").removesuffix(".json")
        if not is_as_written(theirs):
            yield Finding("torn", (name,))
        ours = records.run if name == layout.RUN_RECORD else records.steps[step]
        files = (
            {}
            if name == layout.RUN_RECORD
            else {file: published_path(records.steps[step], file) for file in records.steps[step].files}
        )
        judge = partial(context.judge_record, stage=stage_of(step), files=files)
        yield from compare_statements(name, theirs, ours.model_dump(mode="json"), judge)

    def _text_findings(self, name: str, context: Context) -> Iterator[Finding]:
        """Compare what tells of data and training line by line: as JSON, or as lines of words and numbers."""
        try:
            theirs, ours = (_lines(name, each) for each in (self._text(name), self.expected.files[name].read_bytes()))
        except ValueError as problem:
            yield Finding("unreadable_text", (name, str(problem)))
            return
        yield from compare_statements(name, theirs, ours, context.judge_numbers)

    def _story_file_findings(self, context: Context) -> Iterator[Finding]:
        """Say that the story file is not the one that is expected: an export writes it as it was run."""
        if context.is_of_other_version:
            yield Finding("other_version", (layout.STORY, "story.yaml"), "unchecked")
        else:
            yield Finding("story_text")

    def _report_findings(self, differing: set[str], context: Context) -> Iterator[Finding]:
        """Compare report.json, then the pages with what it says."""
        report: ReportData | None = self.expected.report
        if layout.REPORT not in self.digests:
            report = None
        elif layout.REPORT in differing:
            report, findings = self._report(context)
            yield from self._or_other_bytes(layout.REPORT, iter(findings))
        for name in sorted(differing & set(PAGES)):
            yield page_finding(
                name,
                self._text(name),
                report=report,
                run=self.expectations.finished,
                submission=self.expected.name,
            )

    def _report(self, context: Context) -> tuple[ReportData | None, list[Finding]]:
        """Compare a report that has other bytes; returns it where nothing that it says is wrong."""
        try:
            values = read_json(self._text(layout.REPORT))
            if not isinstance(values, dict):
                raise ValueError("it is no JSON object")
            values = migrate_report(values)
            report = ReportData.model_validate(values, extra="ignore")
        except (ValueError, KoloraError) as problem:
            return None, [Finding("report_unreadable", (str(problem).splitlines()[0],))]
        told = context if self.pack.is_run and not context.is_of_other_version else _with_told(context, report)
        ours = self.expected.report.model_dump(mode="json", by_alias=True)
        findings = list(compare_statements(layout.REPORT, values, ours, told.judge_report))
        holds = all(each.verdict != "different" for each in findings)
        return report if holds else None, findings


def _with_told(context: Context, report: ReportData) -> Context:
    """Add what a report tells of its run, and that no record is there to confirm."""
    said = leaves_of(report.model_dump(mode="json", by_alias=True))
    kept = leaves_of(without_provenance(report).model_dump(mode="json", by_alias=True))
    told = {name for name, value in said.items() if name not in kept or kept[name] != value}
    return dataclasses.replace(context, told=frozenset(told))


def _lines(name: str, content: bytes) -> Any:
    text = content.decode("utf-8")
    if name.endswith(".json"):
        return read_json(text)
    if name.endswith(".jsonl"):
        return [read_json(line) for line in text.splitlines()]
    return [list(map(_number_or_text, line.split(","))) for line in text.splitlines()]


def _number_or_text(cell: str) -> float | str:
    try:
        return float(cell)
    except ValueError:
        return cell


@lru_cache(maxsize=4)
def _lock_of(content: bytes) -> Lock:
    return read_lock(content, name=layout.LOCK)


@lru_cache(maxsize=4)
def _story_of(source: bytes, overrides: tuple[str, ...], version: str) -> Story:
    # By the defaults of its time: by today's, an old story might mean other pictures.
    return load_story(source, name=layout.STORY, overrides=overrides, version=version)


def _story_findings(pack: Pack, lock: Lock) -> Iterator[Finding]:
    """Hold the story against the lock, and say what was written over it when it was run."""
    source = pack.read(layout.STORY, most=LARGEST_STORY)
    story = _story_of(source, lock.overrides, lock.kolora)
    yield from story_against_lock(story, lock)
    if not lock.overrides:
        return
    changes = overridden(source, story, lock)
    for key, was, says in changes:
        # An export writes the story as it was run: there, a story that says otherwise shows what was not drawn.
        yield Finding("override", (key, was, says), "unchecked" if pack.is_run else "different")
    if not changes:
        yield Finding("overrides", (brief([excerpt(each) for each in lock.overrides]),), "unchecked")


def overridden(source: bytes, story: Story, lock: Lock) -> list[tuple[str, str, str]]:
    """List the keys that a lock's ``--set`` changed of the story file, each with both values."""
    try:
        written = _story_of(source, (), lock.kolora)
    except StoryInvalid:
        return []
    run, said_by_file = flatten(canonical(story)), flatten(canonical(written))
    keys = sorted(key for key in run.keys() | said_by_file.keys() if run.get(key) != said_by_file.get(key))
    return [(excerpt(key), excerpt(run.get(key)), excerpt(said_by_file.get(key))) for key in keys]


def story_against_lock(story: Story, lock: Lock) -> Iterator[Finding]:
    """Name every key in which the story is not the one that the lock was made of."""
    written, locked = flatten(canonical(story)), flatten(lock.story)
    for key in sorted(written.keys() | locked.keys()):
        if written.get(key) != locked.get(key):
            yield Finding("story", (excerpt(key), excerpt(written.get(key)), excerpt(locked.get(key))))
