"""The contest's pack: a folder and a zip of it, the same bytes every time."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from kolora.errors import KoloraError, StoryInvalid
from kolora.export.card import model_card
from kolora.export.finished import FinishedRun
from kolora.export.place import ExportFolder, begin_pack, claim_export, replace_pack
from kolora.files import is_file, write_bytes, write_text
from kolora.hubs.catalogue import is_pocket
from kolora.redaction import find_secret
from kolora.report import ReportData, parse_report, without_provenance
from kolora.report.sections.again import story_text
from kolora.report.write import write_report_files
from kolora.rules import Entry, Violation, violations_of
from kolora.runfolder.layout import GRID, LEDGER, LOCK, LORAS, MANIFEST, REPORT, SIGNATURE, STORY
from kolora.runfolder.lock import lock_text, read_lock
from kolora.runfolder.manifest import write_manifest
from kolora.signatures import sign
from kolora.spec import load_story

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

CARD = "README.md"
# Story, reports, README.md and the manifest are not here: the pack gets its own.
PACKED = (LOCK, GRID, LEDGER)
PACKED_FOLDERS = ("images/", "lora/")
EPOCH = (1980, 1, 1, 0, 0, 0)
"""The time that every file of a zip is given: the earliest one it can tell."""


class SubmissionInvalid(StoryInvalid):
    """A run that breaks the contest's rules."""

    def __init__(self, root: Path, violations: Sequence[Violation]) -> None:
        lines = [f"{root} is not a valid submission:", *(violation.message for violation in violations)]
        # A step for each reason: any of them alone would only lead to the next refusal.
        hints = dict.fromkeys(violation.hint for violation in violations)
        super().__init__("\n  ".join(lines), hint="; ".join(hints))


@dataclass(frozen=True)
class Submission:
    """A pack on disk."""

    name: str
    folder: Path
    archive: Path


def pack_submission(
    run: FinishedRun,
    *,
    into: Path,
    team: str | None,
    practice: bool = False,
    key: Ed25519PrivateKey | None = None,
) -> Submission:
    """Check a run by the contest's rules and pack it; returns the folder and the zip, both named by the rule.

    An earlier pack of this name is replaced. practice: pack what pocket drew, as the exercise that it is, under a name
    that says so. key: signs the pack. Raises SubmissionInvalid with everything that is wrong, and OutputUnwritable
    where the folder holds something else.
    """
    entry = _entry(run, team)
    # All rules first, then refused once: one at a time would cost the user a try for each.
    violations = [*violations_of(entry, practice=practice), *_changed(run), *secrets_of(run.root)]
    if violations:
        raise SubmissionInvalid(run.root, violations)
    name = entry.name
    owned = claim_export(into, run=run.root)
    # Made beside it and renamed: a kill never leaves half a pack under the contest's name.
    partial = begin_pack(owned)
    write_pack(run, partial, name=name)
    if key is not None:
        # The manifest promises every other file, so that what signs it signs them all.
        write_text(partial / SIGNATURE, sign((partial / MANIFEST).read_bytes(), key))
    replace_pack(owned, partial, name)
    return Submission(name, into / name, _zipped(owned, into / name))


def write_pack(run: FinishedRun, folder: Path, *, name: str) -> None:
    """Write what a submission of this name holds into an empty folder, whatever the contest's rules say of it."""
    _copy_files(run, folder, name=name)
    _drop_overrides(folder / LOCK)
    story = _story_as_run(run)
    write_bytes(folder / STORY, story)
    report = _report(run, story)
    write_report_files(report, pictures=run.root, into=folder)
    write_text(folder / CARD, model_card(run, name=name, report=report))
    write_manifest(folder)


def _copy_files(run: FinishedRun, folder: Path, *, name: str) -> None:
    """Copy what a submission holds; the LoRA that most tools read bears the submission's name."""
    for path in run.files:
        if path in PACKED or path.startswith(PACKED_FOLDERS):
            # ComfyUI, A1111 and DiffSynth all read kohya's convention.
            target = folder / (f"lora/{name}.safetensors" if path == LORAS["kohya"] else path)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(run.root / path, target)


def _drop_overrides(path: Path) -> None:
    """Leave what ``--set`` changed out of a pack's lock: its story says it itself."""
    lock = read_lock(path.read_bytes(), name=path.name)
    if lock.overrides:
        write_text(path, lock_text(lock.model_copy(update={"overrides": ()})))


def _entry(run: FinishedRun, team: str | None) -> Entry:
    from kolora.models.lora import read_lora

    fault = None
    try:
        read_lora(run.root / LORAS["kohya"])
    except KoloraError as problem:
        fault = KoloraError(f"its LoRA cannot be loaded: {problem.error}", hint=problem.hint)
    return Entry(
        team=team or run.story.team,
        title=run.story.title or run.story.name,
        pictures=len(run.scenes),
        aesthetics=run.aesthetics,
        lora=fault,
        is_practice=_is_practice(run),
        # read_finished has refused every other.
        is_complete=True,
    )


def _is_practice(run: FinishedRun) -> bool | None:
    """Say whether pocket drew the run, by record and lock; None where the lock does not tell what did."""
    if run.checkpoint == "pocket":
        return True
    try:
        checkpoint = read_lock((run.root / LOCK).read_bytes(), name=LOCK).checkpoint
    except (OSError, KoloraError):
        return None
    return is_pocket(checkpoint.name, checkpoint.sha256, checkpoint.files)


def _changed(run: FinishedRun) -> Iterator[Violation]:
    changed = run.changed
    if changed:
        message = f"{', '.join(changed[:3])}{' and others' if len(changed) > 3 else ''} changed after the run"
        yield Violation(message, f"kolora run {run.root / 'story.yaml'} -o {run.root} --fresh")


def secrets_of(root: Path) -> Iterator[Violation]:
    """Yield the texts of a run that hold a secret: an earlier kolora recorded what it was given."""
    for name in (STORY, LOCK, REPORT, LEDGER):
        path = root / name
        found = find_secret(path.read_text(encoding="utf-8", errors="replace")) if is_file(path) else None
        if found:
            yield Violation(f"{name} holds {found}", "take it out of the story, and run it again with --fresh")


def _report(run: FinishedRun, story: bytes) -> ReportData:
    """Read the run's report for a pack: without what only the run can know, and with the pack's own story file."""
    path = run.root / REPORT
    try:
        report = without_provenance(parse_report(path.read_bytes()))
    except (OSError, ValueError) as fault:
        first = str(fault).splitlines()[0]
        raise StoryInvalid(f"{path} cannot be read: {first}", hint=f"kolora report {run.root}") from fault
    return report.model_copy(update={"again": report.again.model_copy(update={"story": story_text(story)})})


def _story_as_run(run: FinishedRun) -> bytes:
    """Give the story file, or, where --set changed what it says, one that says what was run."""
    given = (run.root / STORY).read_bytes()
    try:
        if load_story(given) == run.story:
            return given
    except StoryInvalid:
        pass  # --set may have put right what is wrong with it
    values = run.story.model_dump(mode="json", exclude_defaults=True)
    text = yaml.safe_dump(values, allow_unicode=True, sort_keys=False, width=120)
    return f"# The story as it was run; keys were changed on the command line.\n{text}".encode()


def _zipped(owned: ExportFolder, folder: Path) -> Path:
    """Zip a folder's files, sorted, undated, uncompressed: pictures and weights would not get smaller."""
    archive = folder.with_name(f"{folder.name}.zip")
    with owned.replacing(archive.name) as written, zipfile.ZipFile(written, "w") as file:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            entry = zipfile.ZipInfo(path.relative_to(folder).as_posix(), EPOCH)
            # Mode and system are fixed, as they differ by machine; large files need their size beforehand, for ZIP64.
            entry.external_attr, entry.create_system, entry.file_size = 0o644 << 16, 3, path.stat().st_size
            with path.open("rb") as source, file.open(entry, "w") as target:
                shutil.copyfileobj(source, target)
    return archive
