"""One submission on disk that is changed, forged to match, compared with the run rebuilt here, and put back."""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import yaml
from kolora.errors import KoloraError
from kolora.export.card import model_card
from kolora.folders import Folder
from kolora.report import ReportData
from kolora.report.pages import render_html, render_markdown
from kolora.report.pictures import make_previews
from kolora.verification.compare import Comparison, compare
from kolora.verification.expected import Expectations
from kolora.verification.pack import open_pack

REFUSED = "refused"
HEAD = "# What this run was made of. Written by kolora; not to be edited.\n"
NOT_LISTED = {"work", "logs", "export", ".lock", "status.json", "manifest.sha256", ".kolora.json"}


@dataclass
class Forger:
    """A submission in a folder, and what it is compared with. tried: how often, by what came out."""

    folder: Path
    expectations: Expectations
    place: Path
    name: str | None = None
    tried: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        paths = [path for path in self.folder.rglob("*") if path.is_file()]
        self.files = {path.relative_to(self.folder).as_posix(): path.read_bytes() for path in paths}
        self.report = ReportData.model_validate_json(self.files["report.json"])
        self.previews = make_previews(Folder.open(self.folder), self.report, text_bytes=100_000)
        self.digests = {name: hashlib.sha256(content).hexdigest() for name, content in self.files.items()}

    def text(self, name: str) -> str:
        return self.files[name].decode("utf-8")

    def json(self, name: str) -> Any:
        return json.loads(self.files[name])

    def lock(self) -> Any:
        return yaml.load(self.files["story.lock.yaml"], Loader=yaml.CSafeLoader)

    def verdict(self, changes: Mapping[str, bytes | None], *, is_forged: bool = True) -> str:
        """Give the verdict on the submission with these files, None for one that is gone; it is then put back."""
        return self.compared(changes, is_forged=is_forged)[0]

    def compared(self, changes: Mapping[str, bytes | None], *, is_forged: bool = True) -> tuple[str, Comparison | None]:
        """Give the verdict and the whole comparison. is_forged: make manifest and lock agree with the files again."""
        everything = dict(changes)
        if is_forged:
            everything = self._with_lock(everything)
            everything = self._with_manifest(everything)
        try:
            for name, content in everything.items():
                self._put(name, content)
            try:
                comparison = compare(open_pack(self.folder), self.expectations, place=self.place)
                outcome = comparison.verdict
            except KoloraError:
                comparison, outcome = None, REFUSED
        finally:
            for name in everything:
                self._put(name, self.files.get(name))
                self._clear(name)
        self.tried[outcome] = self.tried.get(outcome, 0) + 1
        return outcome, comparison

    def zipped(self, target: Path, *, prefix: str = "") -> Path:
        """Zip the submission as somebody's tool does."""
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in sorted(self.files.items()):
                archive.writestr(prefix + name, content)
        return target

    def pages(self, values: Mapping[str, Any]) -> dict[str, bytes]:
        """Write a report and the pages that it makes, as kolora does; one that is none is written as it is."""
        try:
            report = ReportData.model_validate(values)
        except ValueError:
            return {"report.json": json.dumps(values, ensure_ascii=False, indent=2).encode() + b"\n"}
        other = "en" if report.language == "zh" else "zh"
        if f"report.{other}.html" not in self.files:
            return {"report.json": (report.model_dump_json(by_alias=True, indent=2) + "\n").encode()}
        translated = report.model_copy(update={"language": other})
        texts = {
            "report.json": report.model_dump_json(by_alias=True, indent=2) + "\n",
            "report.md": render_markdown(report),
            "report.html": render_html(report, self.previews, other=f"report.{other}.html"),
            f"report.{other}.html": render_html(translated, self.previews, other="report.html"),
        }
        if self.name is not None:
            texts["README.md"] = model_card(self.expectations.finished, name=self.name, report=report)
        return {name: text.encode() for name, text in texts.items()}

    def locked(self, values: Any) -> bytes:
        """Spell a lock's values as kolora does."""
        return (
            HEAD + yaml.dump(values, Dumper=yaml.CSafeDumper, allow_unicode=True, sort_keys=False, width=120)
        ).encode()

    def _with_lock(self, changes: dict[str, bytes | None]) -> dict[str, bytes | None]:
        if "story.lock.yaml" in changes or not any(name.startswith(("images/", "lora/", "grid")) for name in changes):
            return changes
        lock = self.lock()
        for name in lock["results"].keys() & changes.keys():
            content = changes[name]
            if content is None:
                del lock["results"][name]
            else:
                lock["results"][name] = hashlib.sha256(content).hexdigest()
        return changes | {"story.lock.yaml": self.locked(lock)}

    def _with_manifest(self, changes: dict[str, bytes | None]) -> dict[str, bytes | None]:
        if "manifest.sha256" in changes:
            return changes
        digests = dict(self.digests)
        for name, content in changes.items():
            digests.pop(name, None)
            if content is not None:
                digests[name] = hashlib.sha256(content).hexdigest()
        names = [name for name in digests if PurePosixPath(name).parts[0] not in NOT_LISTED]
        lines = [f"{digests[name]}  {name}\n" for name in sorted(names, key=PurePosixPath)]
        return changes | {"manifest.sha256": "".join(lines).encode()}

    def _put(self, name: str, content: bytes | None) -> None:
        path = self.folder / name
        if content is None:
            path.unlink(missing_ok=True)
        elif not path.exists() or path.read_bytes() != content:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    def _clear(self, name: str) -> None:
        """Remove the folders that were made for a file that is gone again."""
        for parent in (self.folder / name).parents:
            if parent == self.folder or not parent.is_dir() or any(parent.iterdir()):
                break
            parent.rmdir()


def copied(folder: Path, target: Path) -> Path:
    """Copy a submission, without what a run keeps for itself."""
    return Path(shutil.copytree(folder, target, ignore=shutil.ignore_patterns("work", "logs", ".lock", "status.json")))
