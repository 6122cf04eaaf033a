"""A finished run, as far as exports need it: its story, its scores, and its files with their promised sha256."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kolora.errors import InputAbsent, StoryInvalid
from kolora.names import checked_part
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
    if not reader.manifest and (faults := _details(reader, layout.MANIFEST)):
        raise StoryInvalid(
            f"the run in {root} cannot be exported: {faults}", hint=f"kolora run {root / layout.STORY} -o {root}"
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
        lora=_lora_name(root, first),
        checkpoint=run.checkpoint.name if run.checkpoint else None,
    )


def _lora_name(root: Path, facts: render.Facts | None) -> str | None:
    """Return what the pictures call their LoRA, which becomes a file's name in other tools' folders."""
    if facts is None or facts.lora is None:
        return None
    source = f"{root / layout.RECORDS}: facts.lora"
    hint = f"run it again: kolora run {root / layout.STORY} -o {root} --fresh"
    return checked_part(facts.lora, source=source, error=StoryInvalid, hint=hint)


def _hint(reader: RunReader) -> str:
    return f"{_details(reader, layout.RUN_RECORD)}: run it again with this kolora"


def _details(reader: RunReader, path: str) -> str:
    return "; ".join(gap.detail for gap in reader.gaps if gap.path == path)
