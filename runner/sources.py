"""What lies outside the story file - checkpoint, pictures, scorers - found, confined and identified by content."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from runner.errors import InputAbsent, StoryInvalid
from runner.hubs.checkpoints import POCKET, find_checkpoint, find_scorer
from runner.hubs.identity import identify_folder
from runner.plan import Sources
from runner.pocket import WORLD_VERSION
from runner.spec import Story
from runner.spec.story import FolderDataset, PocketDataset
from runner.stages.score import Scorer


@dataclass(frozen=True)
class Found:
    """A story as given and with its paths made absolute, its checkpoint's folder, and the identity of all it uses.

    absent: why something could not be identified; only a plan may go on with such a gap.
    """

    given: Story
    story: Story
    checkpoint: Path
    sources: Sources
    absent: tuple[InputAbsent, ...]

    @property
    def checkpoint_name(self) -> str:
        """Name the checkpoint as reports and pictures do."""
        return "pocket" if self.checkpoint == POCKET else Path(self.story.model.checkpoint).name


def find_sources(story: Story, *, base: Path, cache: Path, roots: Sequence[Path], strict: bool = True) -> Found:
    """Find what a story stands on.

    base: folder that relative paths of the story start from. roots: folders that paths may lead into, besides it.
    strict: raise the first InputAbsent instead of returning it. Raises StoryInvalid for a path that leads elsewhere.
    """
    given, story = story, _confined(story, base, [base, cache, *roots])
    memo = cache / "identities"
    absent: list[InputAbsent] = []

    def identify(folder: Path) -> str:
        return identify_folder(folder, memo=_writable(memo), follow_links=True)[0]

    def scorer(kind: str) -> Scorer | None:
        folder = find_scorer(getattr(story.scores, kind), kind=kind, checkpoint=checkpoint, cache=cache)
        return Scorer(digest=identify(folder), folder=folder) if folder else None

    checkpoint, digest = POCKET, "absent"
    aesthetics = clip = None
    dataset = ""
    try:
        if isinstance(story.dataset, FolderDataset):
            dataset = identify_folder(Path(story.dataset.path))[0]
        elif isinstance(story.dataset, PocketDataset):
            dataset = f"world {WORLD_VERSION}"
        checkpoint = find_checkpoint(story.model.checkpoint, cache=cache)
        digest = identify(checkpoint)
        aesthetics, clip = scorer("aesthetics"), scorer("clip")
    except InputAbsent as problem:
        if strict:
            raise
        absent.append(problem)
    sources = Sources(checkpoint=digest, dataset=dataset, aesthetics=aesthetics, clip=clip)
    return Found(given, story, checkpoint, sources, tuple(absent))


def _confined(story: Story, base: Path, roots: Sequence[Path]) -> Story:
    changes: dict[str, object] = {}
    if isinstance(story.dataset, FolderDataset):
        path = _confine("dataset.path", story.dataset.path, base, roots)
        changes["dataset"] = story.dataset.model_copy(update={"path": path})
    if story.model.checkpoint not in ("kolors", "pocket"):
        path = _confine("model.checkpoint", story.model.checkpoint, base, roots)
        changes["model"] = story.model.model_copy(update={"checkpoint": path})
    scores = {
        kind: _confine(f"scores.{kind}", getattr(story.scores, kind), base, roots)
        for kind in ("aesthetics", "clip")
        if getattr(story.scores, kind) not in ("auto", "off")
    }
    if scores:
        changes["scores"] = story.scores.model_copy(update=scores)
    return story.model_copy(update=changes)


def _confine(key: str, given: str, base: Path, roots: Sequence[Path]) -> str:
    """Resolve a path of the story and refuse one that leads out of the folders it may use."""
    path = (base / given).resolve()
    if any(path.is_relative_to(root.resolve()) for root in roots):
        return str(path)
    raise StoryInvalid(
        f"{key} is {given!r}, which leads to {path}; a story may only use its own folder, the output and the cache",
        hint=f"name the folder yourself: --set {key}={path}, or add it to KOLORA_ROOTS",
    )


def _writable(memo: Path) -> Path | None:
    parent = next(folder for folder in (memo, *memo.parents) if folder.exists())
    return memo if os.access(parent, os.W_OK) else None
