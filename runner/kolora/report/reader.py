"""Reads a run folder for a report: only records that belong to this run count, and what is missing becomes a gap."""

from __future__ import annotations

from pathlib import Path

from kolora.report.records import (
    Gap,
    RecordRead,
    RunRead,
    Shape,
    parse_json,
    parse_value,
    read_bytes,
    read_json,
)

RUN = "records/run.json"


class RunReader:
    """A run folder being read; `gaps` grows while it is.

    run: what records/run.json says. records: those of this run's finished steps, by name.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self.gaps: list[Gap] = []
        self._checked: dict[tuple[str, str], str | None] = {}
        self.run = self.keep(read_json(out, RUN, RunRead))
        self.steps = self.run.steps if self.run else ()
        self.records = self._records_of_steps() if self.run else self._all_records()

    def keep(self, value: Shape | Gap) -> Shape | None:
        """Return a value that was read, or note the gap."""
        if isinstance(value, Gap):
            self.gaps.append(value)
            return None
        return value

    def facts(self, step: str, shape: type[Shape]) -> Shape | None:
        """Return what a finished step found."""
        record = self.records.get(step)
        return self.keep(parse_value(record.facts, _record_path(step), shape)) if record else None

    def file(self, step: str, name: str, path: str) -> bytes | None:
        """Return a published file's bytes, only where they are those that the step recorded under `name`."""
        content = read_bytes(self.out, path, sha256=self.sha256(step, name))
        if isinstance(content, Gap):
            self.gaps.append(content)
            return None
        return content

    def path(self, step: str, name: str, path: str) -> str | None:
        """Return the path of a published file, only where its bytes are the recorded ones."""
        if (step, name) not in self._checked:
            self._checked[step, name] = None if self.file(step, name, path) is None else path
        return self._checked[step, name]

    def sha256(self, step: str, name: str) -> str | None:
        """Return the sha256 that a step recorded of its file."""
        record = self.records.get(step)
        return record.files[name].sha256 if record and name in record.files else None

    def parse(self, content: bytes, path: str, shape: type[Shape]) -> Shape | None:
        """Return JSON text as `shape`. path: what a gap is to name."""
        return self.keep(parse_json(content, path, shape))

    def source(self, path: str) -> bytes | None:
        """Return the bytes of a file that no step recorded."""
        content = read_bytes(self.out, path)
        if isinstance(content, Gap):
            self.gaps.append(content)
            return None
        return content

    def has_folder(self, path: str) -> bool:
        """Say whether a folder is there; one that is not is one gap, not one for each of its files."""
        if (self.out / path).is_dir():
            return True
        self.gaps.append(Gap(what="absent", path=path))
        return False

    def _records_of_steps(self) -> dict[str, RecordRead]:
        """Read the records of this run's steps. One left by an earlier story has another digest and does not count."""
        records = {}
        for step in self.steps:
            path = _record_path(step.step)
            if step.action not in ("kept", "ran"):
                continue
            record = self.keep(read_json(self.out, path, RecordRead))
            if record and step.digest in (None, record.digest):
                records[step.step] = record
            elif record:
                self.gaps.append(Gap(what="changed", path=path))
        return records

    def _all_records(self) -> dict[str, RecordRead]:
        """Read whatever records there are: without run.json nothing says which of them count."""
        names = sorted(path.name for path in (self.out / "records").glob("*.json") if path.name != "run.json")
        found = [self.keep(read_json(self.out, f"records/{name}", RecordRead)) for name in names]
        return {record.step: record for record in found if record}


def _record_path(step: str) -> str:
    return f"records/{step}.json"
