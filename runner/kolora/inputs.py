"""What lies outside the story file - checkpoint, pictures, scorers - found, confined and identified by content."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import Field

from kolora.errors import InputAbsent, StoryInvalid
from kolora.files import exists, real_path
from kolora.hubs.catalogue import (
    PARTS,
    POCKET,
    entries_used,
    find_checkpoint,
    find_in_cache,
    find_scorer,
    loaded_files,
    loaded_scorer_files,
    preferred_hub,
    refuse_damaged,
)
from kolora.hubs.identity import (
    FileStatus,
    SeenFiles,
    identify_file,
    identify_folder,
    identify_model,
    link_roots,
    runs_in,
    see_files,
)
from kolora.hubs.store import NO_PINS, Pins, RepoRequest, Store
from kolora.limits import check_pixels
from kolora.places import owner_roots
from kolora.pocket import WORLD_VERSION
from kolora.spec import Story
from kolora.spec.sections.dataset import Dataset, FolderDataset, HubDataset, PocketDataset
from kolora.spec.types import Frozen
from kolora.spec.words import join_choices, nearest

NAMES: Mapping[str, Sequence[str]] = {
    "dataset.path": (),
    "render.lora": (),
    "model.checkpoint": ("kolors", "pocket"),
    "scores.aesthetics": ("auto", "off"),
    "scores.clip": ("auto", "off"),
}
"""The keys of a story that may hold a path, each with the names that it may hold instead."""


class LoraFile(Frozen):
    """A LoRA file from outside by its content; where it lies does not matter to the result."""

    digest: str
    path: Path = Field(exclude=True)


class Scorer(Frozen):
    """A scorer by its content; where it lies does not matter to the result."""

    digest: str
    folder: Path = Field(exclude=True)


@dataclass(frozen=True)
class Inputs:
    """What lies outside the story file, each thing known by its content.

    checkpoint: the sha256 of the files that are loaded; ``absent`` in a plan where there are none. dataset: the sha256
    of a folder's pictures and captions, ``world N`` for pocket's, empty where nothing is trained. dataset_folder: where
    a hub's data set lies in the cache, else None. A scorer that is off is None; lora is None where one is trained.
    """

    checkpoint: str
    dataset: str = ""
    dataset_folder: Path | None = None
    aesthetics: Scorer | None = None
    clip: Scorer | None = None
    lora: LoraFile | None = None


@dataclass(frozen=True)
class ResolvedInputs:
    """A story as it was written and with absolute paths, its checkpoint's folder, and the identity of all it uses.

    origins: the hub, id and revision that folders in the cache were downloaded from. absent: why something could not
    be identified; only a plan may go on with such a gap. files: the sha256 of every input file by its path, of each of
    ``checkpoint``, ``dataset``, ``aesthetics`` and ``clip`` that is a folder. left_out: folders in the data set that
    kolora wrote, and that are no part of it. seen: what the system said, before they were identified, of the files of
    ``checkpoint``, ``aesthetics``, ``clip`` and ``lora``.
    """

    original_story: Story
    story: Story
    checkpoint: Path
    inputs: Inputs
    origins: Mapping[Path, Mapping[str, str]]
    absent: tuple[InputAbsent, ...]
    files: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()
    seen: Mapping[str, SeenFiles] = field(default_factory=dict)

    @property
    def checkpoint_name(self) -> str:
        """Name the checkpoint as reports and pictures do."""
        return "pocket" if self.checkpoint == POCKET else Path(self.story.model.checkpoint).name


def repos_to_download(
    story: Story, *, base: Path, cache: Path, refresh: bool = False, pins: Pins = NO_PINS
) -> tuple[RepoRequest, ...]:
    """List what a story uses of the hubs and the cache does not hold; with ``refresh`` also what it holds.

    base: folder that relative paths of the story start from. pins: revisions to ask for where the story names none.
    """
    requests = []
    if isinstance(story.training_set, HubDataset):
        requests.append(_picture_request(story.training_set, pins))
    name = story.model.checkpoint
    checkpoint = name if name in NAMES["model.checkpoint"] else str(base / name)
    scorers = {"aesthetics": story.scores.aesthetics, "clip": story.scores.clip}
    for entry in entries_used(checkpoint, scorers):
        request = entry.request(preferred_hub()).pinned(pins)
        is_downloaded = Store(cache).find(request) is not None
        if find_in_cache(entry, cache=cache, pins=pins) is None or (refresh and is_downloaded):
            requests.append(request)
    return tuple(each for each in requests if refresh or Store(cache).find(each) is None)


def _picture_request(dataset: HubDataset, pins: Pins) -> RepoRequest:
    request = RepoRequest(
        dataset.source,
        "dataset",
        dataset.id,
        revision=dataset.revision,
        subset=dataset.subset,
        split=dataset.split,
    )
    return request.pinned(pins)


def paths_of(story: Story) -> Mapping[str, str]:
    """Return the paths that a story uses by their keys; names such as ``kolors``, ``auto`` and ``off`` are none."""
    named = {
        "dataset.path": story.training_set.path if isinstance(story.training_set, FolderDataset) else None,
        "render.lora": story.render.lora,
        "model.checkpoint": story.model.checkpoint,
        "scores.aesthetics": story.scores.aesthetics,
        "scores.clip": story.scores.clip,
    }
    return {key: path for key, path in named.items() if path is not None and path not in NAMES[key]}


def check_paths(story: Story, *, base: Path, cache: Path, roots: Sequence[Path]) -> None:
    """Raise StoryInvalid for a path that leads out, InputAbsent for one that leads nowhere; before any download."""
    _check_exist(_confine_paths(story, base, [base, cache, *roots]))


def _check_exist(story: Story) -> None:
    for key, path in paths_of(story).items():
        if not exists(Path(path)):
            near = nearest(Path(path).name, NAMES[key]) or join_choices(NAMES[key])
            raise InputAbsent(
                f"{key} leads to '{path}', and nothing is there",
                hint=(f"write {near}, or " if near else "")
                + "check the path, and that it is mounted into the container",
            )


def resolve_inputs(
    story: Story, *, base: Path, cache: Path, roots: Sequence[Path], strict: bool = True, pins: Pins = NO_PINS
) -> ResolvedInputs:
    """Find what a story stands on.

    base: folder that relative paths of the story start from. roots: folders that paths may lead into, besides it.
    strict: raise the first InputAbsent instead of returning it. pins: revisions to use where the story names none.
    Raises StoryInvalid for a path that leads elsewhere.
    """
    confined = _confine_paths(story, base, [base, cache, *roots])
    resolver = _Resolver(confined, cache, pins, (real_path(cache), *(real_path(root) for root in owner_roots())))
    absent: list[InputAbsent] = []
    try:
        resolver.resolve()
    except InputAbsent as problem:
        if strict:
            raise
        absent.append(problem)
    origins = {
        each.folder: {"hub": each.request.hub, "id": each.request.id, "revision": each.revision}
        for each in Store(cache).snapshots()
    }
    dataset = confined.training_set
    return ResolvedInputs(
        story,
        confined,
        resolver.checkpoint,
        resolver.inputs,
        origins,
        tuple(absent),
        files=resolver.files,
        left_out=runs_in(Path(dataset.path)) if isinstance(dataset, FolderDataset) else (),
        seen=resolver.seen,
    )


_READ_BY_STAGE: Mapping[str, Sequence[str]] = {
    "render": ("lora",),
    "export_lora": ("lora",),
    "score": ("aesthetics", "clip"),
}
"""What stages read of the inputs besides the checkpoint, and by themselves."""


def refuse_changed(resolved: ResolvedInputs, *, of_checkpoint: bool, stage: str) -> None:
    """Raise InputAbsent where a file that a stage has read may be another than the one that was identified."""
    for kind in (*(("checkpoint",) if of_checkpoint else ()), *_READ_BY_STAGE.get(stage, ())):
        seen = resolved.seen.get(kind)
        changed = seen.changed() if seen is not None else []
        if changed:
            raise InputAbsent(
                f"{', '.join(map(str, changed[:3]))} changed while the run was at work: it is not what the run was "
                "planned with",
                hint="run the same command again",
            )


class _Resolver:
    """Finds and identifies one input after the other; what was found before one is absent stays."""

    def __init__(self, story: Story, cache: Path, pins: Pins, roots: Sequence[Path]) -> None:
        self.checkpoint = POCKET
        self.inputs = Inputs(checkpoint="absent")
        self.files: dict[str, Mapping[str, str]] = {}
        self.seen: dict[str, SeenFiles] = {}
        self._story = story
        self._cache = cache
        self._pins = pins
        self._roots = roots
        self._memo = _writable_memo(cache / "identities")

    def resolve(self) -> None:
        """Resolve everything that the story uses; raises InputAbsent for the first that is not there."""
        # The user's own paths first: they are checked in a moment, checkpoints of many gigabytes take longer.
        story = self._story
        _check_exist(story)
        if story.render.lora is not None:
            path = Path(story.render.lora)
            before = see_files([path])
            digest = identify_file(path, memo=self._memo)
            self._set(lora=LoraFile(digest=digest, path=path))
            self.seen["lora"] = SeenFiles(before, {path: digest})
        self._resolve_dataset(story.training_set)
        self.checkpoint = find_checkpoint(story.model.checkpoint, cache=self._cache, pins=self._pins)
        self._set(checkpoint=self._identify_model("checkpoint", self.checkpoint, PARTS, loaded_files))
        self._set(aesthetics=self._scorer("aesthetics", story.scores.aesthetics))
        self._set(clip=self._scorer("clip", story.scores.clip))

    def _set(self, **changes: Any) -> None:
        self.inputs = dataclasses.replace(self.inputs, **changes)

    def _resolve_dataset(self, dataset: Dataset | None) -> None:
        if isinstance(dataset, FolderDataset):
            # Without a memo and without following links: a stranger's folder is read whole, and nothing outside it.
            digest, self.files["dataset"] = identify_folder(Path(dataset.path))
            self._set(dataset=digest)
        elif isinstance(dataset, PocketDataset):
            self._set(dataset=f"world {WORLD_VERSION}")
        elif dataset is not None:
            folder = _find_downloaded(dataset, self._cache, self._pins)
            digest, self.files["dataset"] = identify_folder(folder, memo=self._memo)
            self._set(dataset_folder=folder, dataset=digest)

    def _scorer(self, kind: str, name: str) -> Scorer | None:
        folder = find_scorer(name, kind=kind, checkpoint=self.checkpoint, cache=self._cache, pins=self._pins)
        if folder is None:
            return None
        return Scorer(digest=self._identify_model(kind, folder, ("",), loaded_scorer_files), folder=folder)

    def _identify_model(
        self, kind: str, folder: Path, parts: Sequence[str], choose: Callable[[Sequence[str]], Sequence[str]]
    ) -> str:
        # A scorer inside the checkpoint may itself be a link, which the checkpoint's maker set.
        outer = self.checkpoint if folder.is_relative_to(self.checkpoint) else folder
        before: dict[Path, FileStatus | None] = {}
        for part in parts:
            before |= see_files((folder / part).glob("*"))
        digest, self.files[kind] = identify_model(
            folder, parts=parts, choose=choose, roots=(*link_roots(outer), *self._roots), memo=self._memo
        )
        sha256 = {folder / path: each for path, each in self.files[kind].items()}
        self.seen[kind] = SeenFiles({path: before.get(path) for path in sha256}, sha256)
        return digest


def _find_downloaded(dataset: HubDataset, cache: Path, pins: Pins) -> Path:
    request = _picture_request(dataset, pins)
    snapshot = Store(cache).find(request)
    if snapshot is None:
        refuse_damaged(request, cache)
        raise InputAbsent(
            f"the data set {dataset.id} is not in the cache {cache}, and nothing is downloaded here",
            hint="kolora fetch STORY downloads it",
        )
    return snapshot.folder


def _confine_paths(story: Story, base: Path, roots: Sequence[Path]) -> Story:
    if story.training_set is not None:
        check_pixels("dataset.max_pixels", story.training_set.max_pixels)
    changes: dict[str, object] = {}
    if isinstance(story.training_set, FolderDataset):
        path = _confine("dataset.path", story.training_set.path, base, roots)
        changes["dataset"] = story.training_set.model_copy(update={"path": path})
    if story.render.lora is not None:
        path = _confine("render.lora", story.render.lora, base, roots)
        changes["render"] = story.render.model_copy(update={"lora": path})
    if story.model.checkpoint not in NAMES["model.checkpoint"]:
        path = _confine("model.checkpoint", story.model.checkpoint, base, roots)
        changes["model"] = story.model.model_copy(update={"checkpoint": path})
    scores = {
        kind: _confine(f"scores.{kind}", getattr(story.scores, kind), base, roots)
        for kind in ("aesthetics", "clip")
        if getattr(story.scores, kind) not in NAMES[f"scores.{kind}"]
    }
    if scores:
        changes["scores"] = story.scores.model_copy(update=scores)
    return story.model_copy(update=changes)


def _confine(key: str, given: str, base: Path, roots: Sequence[Path]) -> str:
    """Resolve a path of the story and refuse one that leads out of the folders it may use."""
    # Resolved before it is compared: a link or `..` inside the story's folder may lead anywhere. Path's own resolve()
    # fails on a link that leads to itself.
    path = Path(os.path.realpath(base / given))
    if any(path.is_relative_to(real_path(root)) for root in roots):
        return str(path)
    # A story may be a stranger's: what it named would be read, and learned from, without the user's knowing.
    raise StoryInvalid(
        f"{key} is {given!r}, which leads to {path}; a story may only use its own folder, the output and the cache",
        hint=f"name the folder yourself: --set {key}={path}, or add it to KOLORA_ROOTS",
    )


def _writable_memo(memo: Path) -> Path | None:
    # A cache that was mounted read-only serves as well, only without remembered hashes.
    parent = next(folder for folder in (memo, *memo.parents) if exists(folder))
    return memo if os.access(parent, os.W_OK) else None
