"""A submission's story on this machine: its own paths are never followed, and its inputs are those the lock pins."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from kolora.errors import StoryInvalid
from kolora.inputs import ResolvedInputs, resolve_inputs
from kolora.runfolder.lock import Lock, LockDrifted
from kolora.spec import Story


@dataclass(frozen=True)
class Folders:
    """What the user lets a story's own paths stand for; a submission's paths are never followed."""

    checkpoint: Path | None = None
    dataset: Path | None = None
    aesthetics: Path | None = None
    clip: Path | None = None


NO_FOLDERS = Folders()


def own_story(story: Story, folders: Folders, *, lora: Path) -> Story:
    """Make the story one of this machine: its LoRA given, its paths those that the user named."""
    checkpoint = story.model.checkpoint
    if checkpoint not in ("kolors", "pocket"):
        checkpoint = str(own_folder("model.checkpoint", checkpoint, folders.checkpoint, "--checkpoint"))
    elif folders.checkpoint is not None:
        checkpoint = str(folders.checkpoint.resolve())
    scores = {}
    for kind in ("aesthetics", "clip"):
        given, chosen = getattr(story.scores, kind), getattr(folders, kind)
        if given not in ("auto", "off") or (chosen is not None and given != "off"):
            scores[kind] = str(own_folder(f"scores.{kind}", given, chosen, f"--{kind}"))
    return story.model_copy(
        update={
            "model": story.model.model_copy(update={"checkpoint": checkpoint}),
            "scores": story.scores.model_copy(update=scores),
            "render": story.render.model_copy(update={"lora": str(lora.resolve())}),
            # The baseline is not compared, and would cost as many pictures again.
            "report": story.report.model_copy(update={"compare": False}),
        }
    )


def own_folder(key: str, given: str, chosen: Path | None, option: str) -> Path:
    if chosen is None:
        raise StoryInvalid(
            f"{key} is {given!r}, a place on somebody else's machine; a submission's paths are not followed",
            hint=f"{option} FOLDER names your own; it must be what the lock pins",
        )
    return chosen.resolve()


def resolve_pinned(story: Story, lock: Lock, *, out: Path, cache: Path, folders: Folders) -> ResolvedInputs:
    """Find what drawing again takes, and refuse what is not what the lock pins."""
    roots = [each.resolve() for each in dataclasses.astuple(folders) if each is not None]
    resolved = resolve_inputs(story, base=out.resolve(), cache=cache, roots=roots, pins=lock.pins)
    pinned = {"checkpoint": lock.checkpoint.sha256}
    actual = {"checkpoint": resolved.inputs.checkpoint}
    for kind, scorer in (("aesthetics", resolved.inputs.aesthetics), ("clip", resolved.inputs.clip)):
        locked = lock.scorers.get(kind)
        if locked is not None and scorer is not None:
            pinned[kind], actual[kind] = locked.sha256, scorer.digest
    for kind, sha256 in pinned.items():
        if actual[kind] != sha256:
            raise LockDrifted(
                f"the {kind} here is {actual[kind][:12]}, story.lock.yaml pins {sha256[:12]}",
                hint=f"--{kind} FOLDER names the one that the submission was made with",
            )
    return resolved
