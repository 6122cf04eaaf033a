"""Downloads: from a hub into the cache, side by side, continued after a cut, every file checked."""

from __future__ import annotations

import contextlib
import hashlib
import os
import queue
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import TypeVar

from kolora.errors import InputAbsent, OutputUnwritable
from kolora.hubs.huggingface import HuggingFace
from kolora.hubs.modelscope import ModelScope
from kolora.hubs.repository import NAMES, Faltered, Remote, Repository
from kolora.hubs.retry import insist
from kolora.hubs.selection import chosen
from kolora.hubs.store import RepoRequest, Snapshot, Store, StoredFile, hash_file

T = TypeVar("T")

WORKERS = 8
"""Files side by side: enough for a fast line, little enough for a hub's patience."""
LOOK_SECONDS = 0.2


def download(
    request: RepoRequest, *, cache: Path, tick: Callable[[int, int], None], refresh: bool = False
) -> tuple[Snapshot, int]:
    """Bring what is requested into the cache; returns it and the bytes that came over the line.

    tick: told bytes done and bytes in all, several times a second; may raise to stop, the next call goes on.
    refresh: ask the hub again what the revision is by now, though an earlier answer is in the cache. Raises
    InputAbsent where the hub has no such thing for this user, HubUnreachable when it does not answer.
    """
    store = Store(cache)

    def waiting() -> None:
        tick(0, 0)
        time.sleep(LOOK_SECONDS)

    with (
        store.held("cache", shared=True, waiting=waiting),
        store.held(f"{request.hub} {request.kind} {request.id}", waiting=waiting),
    ):
        known = store.find(request)
        if known is not None and not refresh:
            return known, 0
        stop = threading.Event()
        state = store.partial(request, "state")
        repository: Repository = (
            ModelScope(request, state=state) if request.hub == "modelscope" else HuggingFace(request)
        )
        listing = _insist(repository.list, request, stop, gained=lambda: 0)
        files = chosen(listing.files, request)
        if not files:
            raise InputAbsent(
                f"{request.id} on {NAMES[request.hub]} has none of the files that are needed"
                f"{': ' + ', '.join(request.patterns) if request.patterns else ''}",
                hint="check the id, or name a folder instead",
            )
        partial = store.partial(request, listing.revision)
        here = {file.path: kept for file in files if (kept := _here(store, file))}
        coming = [file for file in files if file.path not in here]
        _check_room(sum(file.bytes for file in coming) - bytes_in(partial), request, cache)
        came = _bring(coming, repository, listing.revision, request, store, partial, tick, stop)
        snapshot = store.settle(request, listing.revision, here | came)
        for folder in (partial, state):
            shutil.rmtree(folder, ignore_errors=True)
        return snapshot, sum(file.bytes for file in coming)


def _check_room(needed: int, request: RepoRequest, cache: Path) -> None:
    free = shutil.disk_usage(cache).free
    if needed > free:
        raise OutputUnwritable(
            f"{request.id} needs {needed / 1e9:.1f} GB more, and the disk of {cache} has {free / 1e9:.1f} GB free",
            hint="make room, or set KOLORA_CACHE to a folder on another disk",
        )


def _here(store: Store, file: Remote) -> StoredFile | None:
    """Find a file in the cache, by the sha256 that the hub tells."""
    if file.sha256 is None:
        return None
    place = store.file(file.sha256)
    return StoredFile(file.bytes, file.sha256) if place.is_file() and place.stat().st_size == file.bytes else None


def _bring(
    files: list[Remote],
    repository: Repository,
    revision: str,
    request: RepoRequest,
    store: Store,
    partial: Path,
    tick: Callable[[int, int], None],
    stop: threading.Event,
) -> dict[str, StoredFile]:
    total = sum(file.bytes for file in files)
    todo: queue.SimpleQueue[Remote] = queue.SimpleQueue()
    ended: queue.SimpleQueue[tuple[Remote, StoredFile | BaseException]] = queue.SimpleQueue()
    for file in sorted(files, key=lambda each: -each.bytes):
        todo.put(file)

    def work() -> None:
        while not stop.is_set():
            try:
                file = todo.get_nowait()
            except queue.Empty:
                return
            try:
                ended.put((file, _bring_one(file, repository, revision, request, store, partial, stop)))
            except BaseException as problem:  # handed to the thread that waits, which raises it
                ended.put((file, problem))

    # Not an executor: a read under way must not keep a stopped run from leaving, so these threads are daemons.
    threads = [threading.Thread(target=work, daemon=True) for _ in range(min(WORKERS, len(files)))]
    for thread in threads:
        thread.start()
    came: dict[str, StoredFile] = {}
    done = 0
    try:
        while len(came) < len(files):
            try:
                file, result = ended.get(timeout=LOOK_SECONDS)
            except queue.Empty:
                tick(min(total, done + bytes_in(partial)), total)
                continue
            if isinstance(result, BaseException):
                raise result
            came[file.path], done = result, done + file.bytes
            tick(done, total)
    finally:
        stop.set()
        for thread in threads:
            thread.join(LOOK_SECONDS)
    return came


def _bring_one(
    file: Remote,
    repository: Repository,
    revision: str,
    request: RepoRequest,
    store: Store,
    partial: Path,
    stop: threading.Event,
) -> StoredFile:
    path = PurePosixPath(file.path)
    if path.is_absolute() or ".." in path.parts:
        raise InputAbsent(f"{request.id} has a file named {file.path!r}, which leads out of it", hint="do not use it")
    # A folder each: what is gained is seen apart, and two files never share a client's state.
    into = partial / hashlib.sha256(file.path.encode()).hexdigest()[:16]
    into.mkdir(parents=True, exist_ok=True)

    def attempt() -> StoredFile:
        place = repository.download(revision, file, into)
        sha256 = hash_file(place)
        if not _is_right(place, sha256, file):
            place.unlink()
            raise Faltered(f"{file.path} came damaged, or was changed on the hub since it was listed")
        if stop.is_set():
            # Another process may be at this download by now: the file stays where it will look for it.
            raise Faltered("stopped")
        kept = store.keep(place, sha256)
        shutil.rmtree(into, ignore_errors=True)
        return kept

    return _insist(attempt, request, stop, gained=lambda: bytes_in(into))


def _is_right(place: Path, sha256: str, file: Remote) -> bool:
    if place.stat().st_size != file.bytes:
        return False
    if file.sha256 is not None:
        return sha256 == file.sha256
    if file.blob is None:
        return True
    # Small files outside LFS are known by git's own name for them.
    content = b"blob %d\0" % file.bytes + place.read_bytes()
    return hashlib.sha1(content, usedforsecurity=False).hexdigest() == file.blob


def _insist(attempt: Callable[[], T], request: RepoRequest, stop: threading.Event, *, gained: Callable[[], int]) -> T:
    return insist(attempt, hub=request.hub, failing=f"give {request.id}", stop=stop, gained=gained)


def bytes_in(folder: Path) -> int:
    """Count what has come; files and folders may be moved to their place meanwhile, and then count no more."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                total += (Path(place) / name).stat().st_size
    return total
