"""A submission's story on this machine: its own paths are never followed, and its inputs are those the lock pins."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from kolora.errors import StoryInvalid
from kolora.files import real_path
from kolora.hubs.catalogue import POCKET, is_pocket
from kolora.inputs import LoraFile, ResolvedInputs, resolve_inputs
from kolora.runfolder.lock import Lock, LockDrifted
from kolora.spec import Story
from kolora.spec.sections.dataset import FolderDataset


@dataclass(frozen=True)
class Folders:
    """What the user lets a story's own paths stand for; a submission's paths are never followed."""

    checkpoint: Path | None = None
    dataset: Path | None = None
    aesthetics: Path | None = None
    clip: Path | None = None


NO_FOLDERS = Folders()


def resolve_drawing(
    story: Story, lock: Lock, *, lora: Path, out: Path, cache: Path, folders: Folders
) -> ResolvedInputs:
    """Find what drawing again with a LoRA takes; the data set, which is not asked for, is what the lock calls it.

    Raises StoryInvalid for a story that points elsewhere, InputAbsent for what is not here or not what the lock pins.
    """
    own = _own_story(story, folders)
    own = own.model_copy(update={"render": own.render.model_copy(update={"lora": str(real_path(lora))})})
    resolved = _resolve_pinned(own, lock, out=out, cache=cache, folders=folders)
    if story.render.lora is None:
        inputs = dataclasses.replace(
            resolved.inputs, lora=None, dataset=(lock.dataset.identity if lock.dataset else None) or ""
        )
    else:
        # By the digest of the file that the story had: pictures and digests are named after it.
        own_digest = resolved.inputs.lora.digest if resolved.inputs.lora else ""
        inputs = dataclasses.replace(resolved.inputs, lora=LoraFile(digest=lock.lora or own_digest, path=lora))
    return _as_told(dataclasses.replace(resolved, inputs=inputs), story, own)


def resolve_training(story: Story, lock: Lock, *, out: Path, cache: Path, folders: Folders) -> ResolvedInputs:
    """Find what the whole story takes, its data set among it; it must be the one that the lock pins."""
    own = _own_story(story, folders)
    if isinstance(story.dataset, FolderDataset):
        path = own_folder("dataset.path", story.dataset.path, folders.dataset, "--dataset")
        own = own.model_copy(update={"dataset": story.dataset.model_copy(update={"path": str(path)})})
    resolved = _resolve_pinned(own, lock, out=out, cache=cache, folders=folders)
    if resolved.inputs.dataset != (lock.dataset.identity if lock.dataset is not None else None):
        raise LockDrifted("the data set here is not the one that story.lock.yaml pins", hint="--dataset FOLDER")
    return _as_told(resolved, story, own)


def own_folder(key: str, given: str, chosen: Path | None, option: str) -> Path:
    """Return the user's own folder for a path of the story; raises StoryInvalid where none was named."""
    if chosen is None:
        raise StoryInvalid(
            f"{key} is {given!r}, a place on somebody else's machine; a submission's paths are not followed",
            hint=f"{option} FOLDER names your own; it must be what the lock pins",
        )
    return real_path(chosen)


def _own_story(story: Story, folders: Folders) -> Story:
    """Make the story one of this machine: its paths those that the user named."""
    checkpoint = story.model.checkpoint
    if checkpoint not in ("kolors", "pocket"):
        checkpoint = str(own_folder("model.checkpoint", checkpoint, folders.checkpoint, "--checkpoint"))
    elif folders.checkpoint is not None:
        checkpoint = str(real_path(folders.checkpoint))
    scores = {}
    for kind in ("aesthetics", "clip"):
        given, chosen = getattr(story.scores, kind), getattr(folders, kind)
        if given not in ("auto", "off") or (chosen is not None and given != "off"):
            scores[kind] = str(own_folder(f"scores.{kind}", given, chosen, f"--{kind}"))
    return story.model_copy(
        update={
            "model": story.model.model_copy(update={"checkpoint": checkpoint}),
            "scores": story.scores.model_copy(update=scores),
        }
    )


def _as_told(resolved: ResolvedInputs, story: Story, own: Story) -> ResolvedInputs:
    """Give resolved inputs the story as it was written, and the name that it gives its checkpoint.

    A checkpoint with pocket's bytes is pocket, whatever its folder is called.
    """
    checkpoint = resolved.checkpoint
    if is_pocket("", resolved.inputs.checkpoint):
        checkpoint = POCKET
    as_run = story.model_copy(update={"dataset": own.dataset})
    return dataclasses.replace(resolved, original_story=story, story=as_run, checkpoint=checkpoint)


def _resolve_pinned(story: Story, lock: Lock, *, out: Path, cache: Path, folders: Folders) -> ResolvedInputs:
    """Find what a story takes, and refuse what is not what the lock pins."""
    roots = [real_path(each) for each in dataclasses.astuple(folders) if each is not None]
    resolved = resolve_inputs(story, base=real_path(out), cache=cache, roots=roots, pins=lock.pins)
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
