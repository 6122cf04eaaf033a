"""What a submission should hold, file by file, if it is the run that was done again here."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from kolora.export.finished import FinishedRun, read_finished
from kolora.export.submission import write_pack
from kolora.files import sha256_of, write_bytes
from kolora.report import ReportData
from kolora.report.gather import gather_report
from kolora.report.write import write_report_files
from kolora.rules import LONGEST_NAME, NAME, PRACTICE_NAME
from kolora.runfolder.layout import MANIFEST
from kolora.runfolder.reader import RunReader, read_run
from kolora.spec.words import printable
from kolora.verification.accounting import is_of_skipped
from kolora.verification.pack import Pack
from kolora.verification.rebuild import Rebuilt
from kolora.verification.rules import is_drawn_by_pocket
from kolora.verification.told import Records, records_as_told


@dataclass(frozen=True)
class Expected:
    """The files that a submission should hold: where they lie here, and their sha256, by name.

    report: what its report.json says. name: by the contest's rule, None for a run folder. records: of a run folder, as
    they should be.
    """

    files: Mapping[str, Path]
    digests: Mapping[str, str]
    report: ReportData
    name: str | None = None
    records: Records | None = None


class Expectations:
    """Makes what is expected of submissions of one rebuilt run, each form of it once. place: a folder of ours."""

    def __init__(self, rebuilt: Rebuilt, place: Path) -> None:
        self.rebuilt = rebuilt
        self._place = place
        self._made: dict[str, Expected] = {}

    def of(self, pack: Pack) -> Expected:
        """Return what a submission should hold."""
        if pack.is_run:
            records = records_as_told(pack, self._reader)
            key = hashlib.sha256(json.dumps([text.decode() for text in records.texts().values()]).encode()).hexdigest()
            if key not in self._made:
                self._made[key] = self._run_folder(records, self._place / key[:16])
            return self._made[key]
        name = self._name_of(pack)
        key = hashlib.sha256(name.encode()).hexdigest()
        if key not in self._made:
            self._made[key] = self._submission(name, self._place / key[:16])
        return self._made[key]

    @property
    def team(self) -> str:
        """The team that the story names, else nothing."""
        return self.finished.story.team.strip()

    @cached_property
    def ending(self) -> str:
        """How the contest's rule lets the name of a submission end, after the team's."""
        story, form = self.finished.story, PRACTICE_NAME if is_drawn_by_pocket(self.rebuilt.resolved) else NAME
        return form.format(team="", title=(story.title or story.name).strip())

    @cached_property
    def _reader(self) -> RunReader:
        return read_run(self.rebuilt.root)

    @cached_property
    def finished(self) -> FinishedRun:
        """The rebuilt run as exports read it."""
        return read_finished(self.rebuilt.root)

    def _run_folder(self, records: Records, place: Path) -> Expected:
        """Write the records as told, and the reports that they make; all else is as it was made here."""
        reader = read_run(self.rebuilt.root)
        reader.run, reader.records = records.run, dict(records.steps)
        report = gather_report(reader)
        shutil.rmtree(place, ignore_errors=True)
        for name, text in records.texts().items():
            write_bytes(place / name, text)
        write_report_files(report, pictures=self.rebuilt.root, into=place)
        own = {path.relative_to(place).as_posix(): path for path in place.rglob("*") if path.is_file()}
        rebuilt = {name: self.rebuilt.root / name for name in self.finished.files}
        digests = {**self.finished.files, **{name: sha256_of(path) for name, path in own.items()}}
        return Expected(self._made_here({**rebuilt, **own}), digests, report, records=records)

    def _submission(self, name: str, place: Path) -> Expected:
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        write_pack(self.finished, place, name=name)
        # Of a manifest the submission's own files decide.
        (place / MANIFEST).unlink()
        files = self._made_here(
            {path.relative_to(place).as_posix(): path for path in place.rglob("*") if path.is_file()}
        )
        report = ReportData.model_validate_json(files["report.json"].read_bytes())
        return Expected(files, {each: sha256_of(path) for each, path in files.items()}, report, name=name)

    def _made_here(self, files: Mapping[str, Path]) -> dict[str, Path]:
        """Leave out what stands in the place of a stage's files that was not done here."""
        skipped = self.rebuilt.skipped
        return {name: path for name, path in files.items() if not is_of_skipped(name, skipped)}

    def _name_of(self, pack: Pack) -> str:
        """Return a submission's name by the contest's rule: the title is the story's, the team may be another."""
        end = self.ending
        loras = [each for each in pack.sizes if each.startswith("lora/") and each.endswith(f"{end}.safetensors")]
        own = f"{self.team}{end}"
        stems = [each.removeprefix("lora/").removesuffix(".safetensors") for each in loras]
        # It becomes the name of a file here.
        is_usable = len(stems) == 1 and fits_file_name(stems[0])
        return stems[0] if is_usable and own not in stems else own


def fits_file_name(name: str) -> bool:
    """Tell whether a stranger's name may be a file's on this machine, and says what it seems to."""
    return (
        "/" not in name
        and name[:1] != "."
        and printable(name, most=len(name)) == name
        and len(name.encode()) <= LONGEST_NAME
    )
