"""A finished run, as far as exports need it: its story, its scores, and its files with their promised sha256."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kolora.errors import InputAbsent, StoryInvalid
from kolora.runfolder import layout
from kolora.runfolder.reader import RunReader, read_run
from kolora.spec import ResolvedScene, Story
from kolora.stages import render, score


@dataclass(frozen=True)
class FinishedRun:
    """One OUT folder. files: sha256 by path. changed: the files that are gone or no longer what the run wrote.

    aesthetics: mean score, None where it was not scored. lora: what the pictures call their LoRA. checkpoint: the name
    of what drew them.
    """

    root: Path
    story: Story
    scenes: tuple[ResolvedScene, ...]
    files: Mapping[str, str]
    changed: tuple[str, ...]
    aesthetics: float | None
    lora: str | None
    checkpoint: str | None


def read_finished(root: Path) -> FinishedRun:
    """Read a run folder; raises InputAbsent where there is no run, StoryInvalid where it is not complete."""
    reader = read_run(root)
    run = reader.run
    if run is None:
        raise InputAbsent(
            f"{root} is not a run folder: {layout.RUN_RECORD} cannot be read", hint="kolora export out/quickstart"
        )
    if not reader.manifest or not reader.ran_to_end:
        raise StoryInvalid(
            f"the run in {root} is {run.status}, and only a complete one can be exported",
            hint=f"kolora run {root / layout.STORY} -o {root}",
        )
    story = reader.story
    if story is None:
        raise StoryInvalid(f"the story in {root / layout.RUN_RECORD} cannot be read", hint=_hint(reader))
    scores = reader.facts("score", score.Facts)
    first = reader.facts("render", render.Facts, story.resolved_scenes()[0].number)
    return FinishedRun(
        root=root,
        story=story,
        scenes=story.resolved_scenes(),
        files=reader.manifest,
        changed=reader.changed(),
        aesthetics=scores.aesthetics_mean if scores else None,
        lora=first.lora if first else None,
        checkpoint=run.checkpoint.name if run.checkpoint else None,
    )


def _hint(reader: RunReader) -> str:
    details = [gap.detail for gap in reader.gaps if gap.path == layout.RUN_RECORD]
    return f"{'; '.join(details)}: run it again with this kolora"
