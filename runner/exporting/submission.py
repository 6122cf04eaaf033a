"""The contest's pack: a folder and a zip of it, the same bytes every time."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import yaml

from runner.artifacts import MANIFEST, write_manifest, write_text
from runner.errors import OutputUnwritable, StoryInvalid
from runner.exporting.card import model_card
from runner.exporting.finished import FinishedRun
from runner.exporting.rules import check_submission, submission_name
from runner.spec import load_story

PACKED = ("story.lock.yaml", "grid.png", "report.html", "report.md", "report.json", "data/ledger.jsonl")
PACKED_FOLDERS = ("images/", "lora/")
EPOCH = (1980, 1, 1, 0, 0, 0)
"""The time that every file of a zip is given: the earliest one it can tell."""


@dataclass(frozen=True)
class Submission:
    """A pack on disk."""

    name: str
    folder: Path
    archive: Path


def pack_submission(run: FinishedRun, *, into: Path, team: str | None, load: Callable[[Path], None]) -> Submission:
    """Check a run by the contest's rules and pack it; returns the folder and the zip, both named by the rule.

    An earlier pack of this name is replaced. Raises SubmissionInvalid, and OutputUnwritable where the folder holds
    something else.
    """
    check_submission(run, team=team, load=load)
    name = submission_name(run, team=team)
    folder, partial = into / name, into / f".{name}.partial"
    if folder.exists() and not (folder / MANIFEST).is_file():
        raise OutputUnwritable(f"{folder} is there already and is no submission", hint="choose another folder with -o")
    shutil.rmtree(partial, ignore_errors=True)
    for path in run.files:
        if path in PACKED or path.startswith(PACKED_FOLDERS):
            # ComfyUI, A1111 and DiffSynth all read kohya's convention: this is the file that bears the rule's name.
            target = f"lora/{name}.safetensors" if path == "lora/kohya.safetensors" else path
            (partial / target).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(run.root / path, partial / target)
    write_text(partial / "story.yaml", _story_as_run(run))
    report = (run.root / "report.md").read_text(encoding="utf-8")
    write_text(partial / "README.md", model_card(run, name=name, report=report))
    write_manifest(partial)
    if folder.exists():
        shutil.rmtree(folder)
    partial.rename(folder)
    return Submission(name, folder, _zipped(folder))


def _story_as_run(run: FinishedRun) -> str:
    """Give the story file, or, where --set changed what it says, one that says what was run."""
    given = (run.root / "story.yaml").read_text(encoding="utf-8")
    try:
        if load_story(given) == run.story:
            return given
    except StoryInvalid:
        pass  # --set may have put right what is wrong with it
    told = run.story.model_dump(mode="json", exclude_defaults=True)
    text = yaml.safe_dump(told, allow_unicode=True, sort_keys=False, width=120)
    return "# The story as it was run; keys were changed on the command line.\n" + text


def _zipped(folder: Path) -> Path:
    """Zip a folder's files, sorted, undated, uncompressed: pictures and weights would not get smaller."""
    archive = folder.with_name(f"{folder.name}.zip")
    temporary = folder.with_name(f".{folder.name}.zip.new")
    with zipfile.ZipFile(temporary, "w") as file:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            entry = zipfile.ZipInfo(path.relative_to(folder).as_posix(), EPOCH)
            entry.external_attr, entry.create_system, entry.file_size = 0o644 << 16, 3, path.stat().st_size
            with path.open("rb") as source, file.open(entry, "w") as target:
                shutil.copyfileobj(source, target)
    return temporary.replace(archive)
