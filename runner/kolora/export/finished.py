"""A finished run, as far as exports need it: its story, its scores, and its files with their promised sha256."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kolora.errors import InputAbsent, StoryInvalid
from kolora.files import sha256_of
from kolora.runfolder.layout import MANIFEST
from kolora.spec import ResolvedScene, Story


@dataclass(frozen=True)
class FinishedRun:
    """One OUT folder. files: sha256 by path; aesthetics: mean score, None where it was not scored.

    lora: what the pictures call their LoRA. checkpoint: the name of what drew them.
    """

    root: Path
    story: Story
    scenes: tuple[ResolvedScene, ...]
    files: Mapping[str, str]
    aesthetics: float | None
    lora: str | None
    checkpoint: str | None

    def changed(self) -> tuple[str, ...]:
        """List the files that are gone or no longer what the run wrote."""
        return tuple(
            name
            for name, sha256 in self.files.items()
            if not (self.root / name).is_file() or sha256_of(self.root / name) != sha256
        )


def read_finished(root: Path) -> FinishedRun:
    """Read a run folder; raises InputAbsent where there is no run, StoryInvalid where it is not complete."""
    run = _json(root / "records" / "run.json")
    if run is None:
        raise InputAbsent(f"{root} is no run folder: it has no records/run.json", hint="kolora export out/quickstart")
    if not (root / MANIFEST).is_file() or run.get("status") != "complete":
        raise StoryInvalid(
            f"the run in {root} is {run.get('status')}, and only a complete one can be exported",
            hint=f"kolora run {root / 'story.yaml'} -o {root}",
        )
    story = Story.model_validate_json(json.dumps(run["story"]))
    lines = [line.partition("  ") for line in (root / MANIFEST).read_text(encoding="utf-8").splitlines()]
    scores = _json(root / "records" / "score.json") or {}
    drawn = _json(root / "records" / "render-01.json") or {}
    return FinishedRun(
        root=root,
        story=story,
        scenes=story.resolved_scenes(),
        files={name: sha256 for sha256, _, name in lines},
        aesthetics=scores.get("facts", {}).get("aesthetics_mean"),
        lora=drawn.get("facts", {}).get("lora"),
        checkpoint=(run.get("checkpoint") or {}).get("name"),
    )


def _json(path: Path) -> dict[str, Any] | None:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    return value if isinstance(value, dict) else None
