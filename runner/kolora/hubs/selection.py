"""Which files of a repository are needed: those of a pattern, or a data set's subset and split."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

from kolora.errors import InputAbsent
from kolora.hubs.repository import RemoteFile
from kolora.hubs.store import RepoRequest

PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")
ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
_TABLES = (".parquet", ".csv", ".jsonl")
_DATA = (*PICTURES, *ARCHIVES, *_TABLES, ".txt")
"""Endings of what a data set may consist of; scripts, cards and other people's caches are left on the hub."""

_SPLITS = frozenset({"train", "training", "test", "testing", "validation", "valid", "val", "dev", "eval"})
_DEFAULT = "default"
"""What hubs call the subset of a data set that has none."""


def choose_files(files: Sequence[RemoteFile], request: RepoRequest) -> list[RemoteFile]:
    """Choose the requested files; of weights published twice, safetensors win over pickles."""
    paths = [file.path for file in files]
    if request.kind == "dataset":
        chosen = set(choose_split(paths, subset=request.subset, split=request.split))
    else:
        chosen = _without_pickles({path for path in paths if _matches(path, request.patterns)})
    return [file for file in files if file.path in chosen]


def _matches(path: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(path, pattern) for pattern in patterns)


def _without_pickles(paths: set[str]) -> set[str]:
    """Leave out the pickled weights of every folder that has safetensors."""
    safe = {str(PurePosixPath(path).parent) for path in paths if path.endswith(".safetensors")}
    return {path for path in paths if not (path.endswith(".bin") and str(PurePosixPath(path).parent) in safe)}


def choose_split(paths: Sequence[str], *, subset: str | None, split: str | None) -> list[str]:
    """Choose a data set's paths by subset and split, as far as folders and names show them; raises InputAbsent."""
    data = [path for path in paths if path.lower().endswith(_DATA) and not PurePosixPath(path).name.startswith(".")]
    if subset is not None:
        of_subset = [path for path in data if subset in _words(path)]
        if not of_subset and subset != _DEFAULT:
            raise InputAbsent(f"the data set has no subset {subset!r}", hint="correct dataset.subset, or leave it out")
        data = of_subset or data
    splits = {path: _split_of(path) for path in data}
    if split is None or not any(splits.values()):
        return data
    if split not in splits.values():
        there = ", ".join(sorted({each for each in splits.values() if each}))
        raise InputAbsent(f"the data set has no split {split!r}; it has {there}", hint="correct dataset.split")
    # What names no split, as one table for all, belongs to every split.
    return [path for path in data if splits[path] in (split, None)]


def _split_of(path: str) -> str | None:
    return next((word for word in _words(path) if word in _SPLITS), None)


def _words(path: str) -> list[str]:
    """Name a path's folders, and the stem of its file with and without what numbers its pieces."""
    *folders, name = PurePosixPath(path).parts
    stem = name.split(".")[0]
    return [*folders, stem, re.split(r"[-_]", stem)[0]]
