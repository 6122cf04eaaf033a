"""Which stories a batch has, what their folders are called, and which of them are this shard's."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kolora.errors import InputAbsent, UsageError
from kolora.files import exists, is_file, is_folder
from kolora.names import fault_of_part, printable
from kolora.redaction import find_secret

_RESERVED = ("batch.json", "batch.html")
"""Names of what a batch itself writes into its folder."""
_LONGEST_LABEL = 200
"""Bytes of a story's folder's name: file systems take 255, endings and unfinished files need some of them."""


@dataclass(frozen=True)
class Task:
    """One story of a batch: what it was given as, and the name of its folder under OUT."""

    story: str
    label: str


def find_tasks(given: Sequence[str]) -> tuple[Task, ...]:
    """List the stories that files, folders, globs and names of shipped stories mean, each once.

    A folder means its own YAML files and the ``story.yaml`` of each folder in it; run folders are left out. Every
    shard of a batch lists the same. Raises InputAbsent where a glob or folder has none.
    """
    if "-" in given:
        raise UsageError("a batch cannot read its stories from standard input", hint="kolora batch stories/")
    stories: list[str] = []
    for name in given:
        stories += _expand(name)
    labels = {_label(story) for story in stories}
    tasks: dict[str, Task] = {}
    for story in dict.fromkeys(stories):
        found = find_secret(story)
        if found:
            raise UsageError(f"the name of {story!r} holds {found}", hint="give a story another name")
        label, number = _label(story), 1
        # Two stories of one name would write into one folder; the second has a name that no other story has.
        while label in tasks or (number > 1 and label in labels):
            number += 1
            label = f"{_label(story)}-{number}"
        tasks[label] = Task(story, label)
    return tuple(tasks.values())


def share(tasks: Sequence[tuple[str, Task]], *, index: int, count: int) -> tuple[Task, ...]:
    """Take this shard's part of tasks with the digests of their stories.

    The order is that of the digests, so it is the same on every machine, however their file systems list folders.
    """
    ordered = sorted(tasks, key=lambda each: (each[0], each[1].label))
    return tuple(task for _, task in ordered[index::count])


def _expand(name: str) -> list[str]:
    path = Path(name)
    if is_folder(path) and not is_file(path / "story.yaml"):
        found = [str(each) for each in sorted(path.iterdir()) if each.suffix in (".yaml", ".yml")]
        # A run folder holds a copy of its story, which would else be run a second time.
        found += [str(each) for each in sorted(path.glob("*/story.yaml")) if not _is_run(each.parent)]
    elif not exists(path) and glob.has_magic(name):
        found = sorted(glob.glob(name, recursive=True))  # noqa: PTH207 - a pattern may be absolute
    else:
        found = [name]
    if not found:
        raise InputAbsent(f"{name!r} has no story file", hint="kolora batch stories/*.yaml")
    return found


def _label(story: str) -> str:
    """Name a story's folder: after its file, or after the file's folder where the file is just ``story.yaml``."""
    path = Path(os.path.abspath(story))  # noqa: PTH100 - links stay: the name is the one that was given
    is_unnamed = path.name == "story.yaml" and path.parent.name
    label = path.parent.name if is_unnamed else path.stem
    fault = fault_of_part(label)
    if label in _RESERVED or label.startswith("."):
        fault = "is kolora's own in the folder of a batch"
    if fault is None and len(label.encode()) > _LONGEST_LABEL:
        fault = f"has more than {_LONGEST_LABEL} bytes"
    if fault:
        raise InputAbsent(
            f"the story '{printable(story, most=200)}' would be written to '{printable(label)}', which {fault}",
            hint="give its file another name",
        )
    return label


def _is_run(folder: Path) -> bool:
    return is_folder(folder / "records")
