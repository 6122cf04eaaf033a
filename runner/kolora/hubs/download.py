"""Downloads: from a hub into the cache, side by side, continued after a cut, every file checked."""

from __future__ import annotations

import contextlib
import hashlib
import os
import queue
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from kolora.errors import InputAbsent, OutputUnwritable
from kolora.files import sha256_of
from kolora.hubs.clients import open_repository
from kolora.hubs.hub import HUBS
from kolora.hubs.repository import Listing, RemoteFile, Repository, TemporaryFailure, longer_than_announced
from kolora.hubs.retry import retry
from kolora.hubs.selection import choose_files
from kolora.hubs.store import RepoRequest, Snapshot, Store, StoredFile, make_folder
from kolora.limits import MAX_DOWNLOAD, MAX_MEMBERS
from kolora.names import checked_name, checked_names, printable
from kolora.reads import discard

T = TypeVar("T")
Tick = Callable[[int, int], None]

_WORKERS = 8
"""Files side by side: enough for a fast line, little enough for a hub."""
_POLL_SECONDS = 0.2
_LONGEST_PART = 230
"""Bytes of a name: the clients add endings of their own while it comes, and try for ever over one of 240 (2026-11)."""
_SLACK = 4 * 2**20
"""Bytes beside a file's own: what clients note of it."""


@dataclass(frozen=True)
class _Download:
    """A download under way. partial: the folder of unfinished files. stop: ends the threads that download."""

    request: RepoRequest
    repository: Repository
    revision: str
    store: Store
    partial: Path
    stop: threading.Event


def download(request: RepoRequest, *, cache: Path, tick: Tick, refresh: bool = False) -> tuple[Snapshot, int]:
    """Bring what is requested into the cache; returns it and the bytes that were downloaded.

    tick: called with bytes done and bytes in all, several times a second; may raise to stop, the next call goes on.
    refresh: ask the hub again what the revision is by now, though an earlier answer is in the cache. Raises
    InputAbsent where the hub has no such thing for this user, HubUnreachable when it does not answer.
    """
    store = Store(cache)

    def wait() -> None:
        tick(0, 0)
        time.sleep(_POLL_SECONDS)

    # Downloads share the cache's lock, which a prune takes alone; of one repository only one process downloads.
    with (
        store.lock("cache", shared=True, wait=wait),
        store.lock(f"{request.hub} {request.kind} {request.id}", wait=wait),
    ):
        known = store.find(request)
        if known is not None and not refresh:
            return known, 0
        return _download(request, store, tick)


def _download(request: RepoRequest, store: Store, tick: Tick) -> tuple[Snapshot, int]:
    stop = threading.Event()
    state = store.partial(request, "state")
    # A client's own locks and notes, good for one download.
    make_folder(state.parent)
    discard(state)
    repository = open_repository(request, state=state)
    listing = _list(repository, request, stop)
    files = choose_files(listing.files, request)
    # All that are chosen, and not only those that are downloaded: what the cache has is linked under these names too.
    checked_names([file.path for file in files], source=_source(request))
    if not files:
        raise InputAbsent(
            f"{request.id} on {HUBS[request.hub].title} has none of the files that are needed"
            f"{': ' + ', '.join(request.patterns) if request.patterns else ''}",
            hint="check the id, or name a folder instead",
        )
    stored = {}
    for file in files:
        known = _find_stored(store, file)
        if known is not None:
            stored[file.path] = known
    missing = [file for file in files if file.path not in stored]
    total = sum(file.bytes for file in missing)
    _check_announced(files, request)
    partial = store.partial(request, listing.revision)
    _check_room(total - bytes_in(partial), request, store.cache)
    this = _Download(request, repository, listing.revision, store, partial, stop)
    stored |= _download_files(missing, this, tick)
    snapshot = store.save_snapshot(request, listing.revision, stored)
    for folder in (partial, state):
        shutil.rmtree(folder, ignore_errors=True)
    return snapshot, total


def _list(repository: Repository, request: RepoRequest, stop: threading.Event) -> Listing:
    try:
        return _retry(repository.list, request, stop, count_bytes=lambda: 0)
    except (KeyError, TypeError, AttributeError, ValueError) as problem:
        # So the clients fail on an answer of another form than the hubs give.
        raise InputAbsent(
            f"{HUBS[request.hub].title} answers for {request.id} with what is no list of files: {problem!r}",
            hint=f"check the address in {HUBS[request.hub].endpoint}",
        ) from problem


def _source(request: RepoRequest) -> str:
    return f"{request.id} on {HUBS[request.hub].title}"


def _check_announced(files: Sequence[RemoteFile], request: RepoRequest) -> None:
    """Refuse a repository that announces more than the machine's owner allows."""
    count, total = len(files), sum(file.bytes for file in files)
    for limit, given in ((MAX_MEMBERS, count), (MAX_DOWNLOAD, total)):
        if given > limit.value:
            raise InputAbsent(
                f"{request.id} on {HUBS[request.hub].title} announces {given:,} {limit.what}; at most {limit}",
                hint=limit.hint,
            )


def _check_room(needed: int, request: RepoRequest, cache: Path) -> None:
    free = shutil.disk_usage(cache).free
    if needed > free:
        raise OutputUnwritable(
            f"{request.id} needs {needed / 1e9:.1f} GB more, and the disk of {cache} has {free / 1e9:.1f} GB free",
            hint="make room, or set KOLORA_CACHE to a folder on another disk",
        )


def _find_stored(store: Store, file: RemoteFile) -> StoredFile | None:
    """Find a file in the cache, by the sha256 that the hub gives."""
    return None if file.sha256 is None else store.has(file.sha256, file.bytes)


def _download_files(files: list[RemoteFile], this: _Download, tick: Tick) -> dict[str, StoredFile]:
    """Download files side by side, the largest first; raises the first problem that any of them met."""
    total = sum(file.bytes for file in files)
    todo: queue.SimpleQueue[RemoteFile] = queue.SimpleQueue()
    ended: queue.SimpleQueue[tuple[RemoteFile, StoredFile | BaseException]] = queue.SimpleQueue()
    # The largest first: begun last, it would be the only one left, and the line would idle beside it.
    for file in sorted(files, key=lambda each: -each.bytes):
        todo.put(file)
    # Not an executor: a read under way must not keep a stopped run from leaving, so these threads are daemons.
    threads = [
        threading.Thread(target=_work, args=(this, todo, ended), daemon=True) for _ in range(min(_WORKERS, len(files)))
    ]
    for thread in threads:
        thread.start()
    stored: dict[str, StoredFile] = {}
    done = 0
    try:
        while len(stored) < len(files):
            try:
                file, result = ended.get(timeout=_POLL_SECONDS)
            except queue.Empty:
                tick(min(total, done + _arrived(this, total)), total)
                continue
            if isinstance(result, BaseException):
                raise result
            stored[file.path], done = result, done + file.bytes
            tick(done, total)
    finally:
        this.stop.set()
        for thread in threads:
            thread.join(_POLL_SECONDS)
    return stored


def _arrived(this: _Download, total: int) -> int:
    """Count the bytes of unfinished files; raises InputAbsent where there are more than were announced."""
    there = bytes_in(this.partial)
    # Twice: a client may put the parts of a file together beside them.
    if there > 2 * total + _SLACK:
        raise longer_than_announced(this.request, "the files", total)
    return there


def _work(
    this: _Download,
    todo: queue.SimpleQueue[RemoteFile],
    ended: queue.SimpleQueue[tuple[RemoteFile, StoredFile | BaseException]],
) -> None:
    while not this.stop.is_set():
        try:
            file = todo.get_nowait()
        except queue.Empty:
            return
        try:
            ended.put((file, _download_file(file, this)))
        except BaseException as problem:  # handed to the thread that waits, which raises it
            ended.put((file, problem))


def _download_file(file: RemoteFile, this: _Download) -> StoredFile:
    checked_name(file.path, source=_source(this.request))
    _check_length(file, this.request)
    # A folder each: progress is seen apart, and two files never share a client's state.
    into = this.partial / hashlib.sha256(file.path.encode()).hexdigest()[:16]
    make_folder(this.partial)
    make_folder(into)
    _tidy(into, into / file.path)

    def attempt() -> StoredFile:
        try:
            place = this.repository.download(this.revision, file, into)
        finally:
            # Not to be tried again: the next time it is as long.
            if bytes_in(into) > file.bytes + _SLACK:
                shutil.rmtree(into, ignore_errors=True)
                raise longer_than_announced(this.request, file.path, file.bytes)
        sha256 = sha256_of(place)
        if not _is_right(place, sha256, file):
            place.unlink()
            raise TemporaryFailure(f"{file.path} came damaged, or was changed on the hub since it was listed")
        if this.stop.is_set():
            # Another process may be at this download by now: the file stays where it will look for it.
            raise TemporaryFailure("stopped")
        stored = this.store.add(place, sha256)
        shutil.rmtree(into, ignore_errors=True)
        return stored

    return _retry(attempt, this.request, this.stop, count_bytes=lambda: bytes_in(into))


def _check_length(file: RemoteFile, request: RepoRequest) -> None:
    longest = max(len(part.encode()) for part in file.path.split("/"))
    if longest > _LONGEST_PART:
        raise InputAbsent(
            f"{_source(request)} names a file '{printable(file.path)}', which is too long to be downloaded: "
            f"{longest} bytes of at most {_LONGEST_PART}",
            hint="do not use it, or name a folder instead",
        )


def _tidy(folder: Path, target: Path) -> None:
    """Remove what a client would write through or stumble over, where it goes on with what an earlier one left."""
    for path in sorted(folder.rglob("*")):
        if path.is_dir() and not path.is_symlink():
            # A folder of the file's own path, or of the client's, whose names have no ending.
            is_in_place = target != path and (target.is_relative_to(path) or not path.suffix or path.name[0] == ".")
        else:
            is_in_place = path.is_file() and not path.is_symlink() and path.stat().st_nlink == 1
        # Gone by now where it was in a folder that went.
        if not is_in_place and os.path.lexists(path):
            discard(path)


def _is_right(place: Path, sha256: str, file: RemoteFile) -> bool:
    if place.stat().st_size != file.bytes:
        return False
    if file.sha256 is not None:
        return sha256 == file.sha256
    if file.blob is None:
        return True
    # Small files outside LFS are known by git's own name for them.
    digest = hashlib.sha1(b"blob %d\0" % file.bytes, usedforsecurity=False)
    with place.open("rb") as opened:
        while block := opened.read(_SLACK):
            digest.update(block)
    return digest.hexdigest() == file.blob


def _retry(
    attempt: Callable[[], T], request: RepoRequest, stop: threading.Event, *, count_bytes: Callable[[], int]
) -> T:
    try:
        return retry(attempt, hub=HUBS[request.hub], action=f"give {request.id}", stop=stop, count_bytes=count_bytes)
    except (RecursionError, MemoryError) as problem:
        raise InputAbsent(
            f"{HUBS[request.hub].title} answers for {request.id} with what is no list of files: too deep or too large",
            hint=f"check the address in {HUBS[request.hub].endpoint}",
        ) from problem


def bytes_in(folder: Path) -> int:
    """Count the bytes of files; files and folders may be moved to their place meanwhile, and then count no more."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                total += (Path(place) / name).lstat().st_size
    return total
