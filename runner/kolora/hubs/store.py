"""The cache: every file once under its sha256, and snapshots of repositories as folders of links to them.

files/ab/abcd...         one file, whoever asked for it, never written to again
snapshots/DIGEST/        a repository's files under their own names: hard links, or copies where there are none
manifests/HUB/KIND/OWNER/NAME/ASK.json   what an ask came to: the revision and its files; written last
partial/                 downloads under way, continued after a cut
locks/                   one a repository, and one that keeps a prune from downloads
triton/                  compiled kernels; Triton's own, and left alone here
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Literal

from kolora.errors import InputAbsent
from kolora.files import exists, is_file, sync, write_json
from kolora.folders import Folder
from kolora.hubs.hub import HUBS, HubName
from kolora.hubs.identity import identify_open
from kolora.names import checked_names, fault_of_name, faults_of_names, is_sha256, printable
from kolora.reads import OWN_DIGEST, discard, is_as_written, own_digest, read_json

Kind = Literal["model", "dataset"]
Pins = Mapping[tuple[str, str, str], str]
"""Revisions that a lock pins, by hub, kind and id."""
NO_PINS: Pins = {}


@dataclass(frozen=True)
class RepoRequest:
    """What is requested of a hub; two equal requests share one manifest.

    revision: branch, tag or commit; None is the newest. patterns: the paths needed, as globs; none means all of a
    data set's subset and split. about: bytes expected, None where only the hub knows.
    """

    hub: HubName
    kind: Kind
    id: str
    revision: str | None = None
    patterns: tuple[str, ...] = ()
    subset: str | None = None
    split: str | None = None
    about: int | None = field(default=None, compare=False)

    def pinned(self, pins: Pins) -> RepoRequest:
        """Ask for the revision that a lock pins, where none is named."""
        revision = self.revision or pins.get((self.hub, self.kind, self.id))
        return dataclasses.replace(self, revision=revision)


@dataclass(frozen=True)
class StoredFile:
    """One file of a snapshot."""

    bytes: int
    sha256: str


@dataclass(frozen=True)
class Snapshot:
    """What a request came to: the revision as the hub resolved it, the files by path, and the folder they are in."""

    request: RepoRequest
    revision: str
    files: Mapping[str, StoredFile]
    folder: Path


class Store:
    """One cache folder, shared by any number of processes."""

    def __init__(self, cache: Path) -> None:
        self.cache = cache

    def find(self, request: RepoRequest) -> Snapshot | None:
        """Find what a request came to before; None where it is not here whole.

        What was asked for without a revision is also found by the one that it came to.
        """
        found = self._read(self._manifest(request), request)
        if found is not None or request.revision is None:
            return found
        newest = self.find(dataclasses.replace(request, revision=None))
        return newest if newest is not None and newest.revision == request.revision else None

    def damaged(self, request: RepoRequest) -> tuple[str, ...]:
        """List the files of what a request came to before that are gone or no longer what came."""
        found = self._read(self._manifest(request), request, whole=False)
        if found is None:
            return ()
        return tuple(path for path, stored in found.files.items() if not self._is_sound(found.folder / path, stored))

    def has(self, sha256: str, size: int) -> StoredFile | None:
        """Find a file by its content; one that is damaged makes room for another."""
        stored, place = StoredFile(size, sha256), self.file(sha256)
        if self._is_sound(place, stored):
            return stored
        if os.path.lexists(place):
            discard(place)
        return None

    def partial(self, request: RepoRequest, revision: str) -> Path:
        """Name the folder in which a download of this revision is continued."""
        name = hashlib.sha256(json.dumps([request.hub, request.kind, request.id, revision]).encode()).hexdigest()
        return self.cache / "partial" / name[:16]

    def file(self, sha256: str) -> Path:
        """Name the place of a file."""
        if not is_sha256(sha256):
            raise InputAbsent(f"'{printable(sha256)}' is no sha256 of a file", hint="kolora cache verify")
        return self.cache / "files" / sha256[:2] / sha256

    def add(self, path: Path, sha256: str) -> StoredFile:
        """Move a finished file of this content into the store."""
        target, size = self.file(sha256), path.stat().st_size
        if self.has(sha256, size) is not None:
            path.unlink()
        else:
            make_folder(target.parent)
            # Other names link to these very bytes: nobody may write into them.
            path.chmod(0o444)
            sync(path)
            path.replace(target)
            sync(target.parent)
        return StoredFile(size, sha256)

    def save_snapshot(self, request: RepoRequest, revision: str, files: Mapping[str, StoredFile]) -> Snapshot:
        """Make a folder of stored files, and then the manifest that says the request came to them."""
        checked_names(files, source=request.id)
        listed = {path: {"bytes": files[path].bytes, "sha256": files[path].sha256} for path in sorted(files)}
        folder = self._folder(files)
        if not self._is_whole(folder, files):
            self._link(folder, files)
        manifest = {
            "hub": request.hub,
            "kind": request.kind,
            "id": request.id,
            "asked": _asked(request),
            "revision": revision,
            "files": listed,
        }
        place = self._manifest(request)
        # What is there is no manifest, and the cache is ours.
        if exists(place) and not is_file(place):
            discard(place)
        write_json(place, manifest | {OWN_DIGEST: own_digest(manifest)})
        return Snapshot(request, revision, files, folder)

    def snapshots(self) -> Iterator[Snapshot]:
        """Read every manifest, by hub and name; torn ones are as good as none."""
        for path in sorted((self.cache / "manifests").rglob("*.json")):
            snapshot = self._read(path, None, whole=False)
            if snapshot is not None:
                yield snapshot

    @contextlib.contextmanager
    def lock(self, name: str, *, shared: bool = False, wait: Callable[[], None]) -> Iterator[None]:
        """Hold a lock while the block runs; ``wait`` is called, and should take a moment, as long as others do."""
        path = self.cache / "locks" / hashlib.sha256(name.encode()).hexdigest()[:16]
        make_folder(path.parent)
        with _open_lock(path) as file:
            while True:
                try:
                    fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    # Not a blocking flock: a signal could not be answered while it waits.
                    wait()
            yield

    def verify(self) -> Iterator[tuple[Snapshot, str, str | None]]:
        """Read every file of every snapshot again; yield its path and what is wrong with it, None where nothing is."""
        hashed: dict[tuple[int, int], str] = {}
        for snapshot in self.snapshots():
            for path, stored in snapshot.files.items():
                yield snapshot, path, _fault(snapshot.folder / path, stored, hashed)

    def drop(self, snapshot: Snapshot, path: str) -> None:
        """Take a damaged file out, and its snapshot with it, so that both are downloaded again."""
        # The manifest first: without it nobody looks for the rest, should this be killed half-way.
        for each in (self._manifest(snapshot.request), self.file(snapshot.files[path].sha256), snapshot.folder):
            if os.path.lexists(each):
                discard(each)

    def prune(self, *, id: str | None = None) -> int:  # noqa: A002 - the hubs' own word
        """Remove what no manifest names, downloads never finished, and all of repository ``id``; return bytes freed."""
        before = _bytes_of(self.cache)
        for snapshot in list(self.snapshots()):
            if snapshot.request.id == id:
                discard(self._manifest(snapshot.request))
        named = list(self.snapshots())
        folders = {snapshot.folder for snapshot in named}
        contents: set[str] = set()
        for snapshot in named:
            contents.update(stored.sha256 for stored in snapshot.files.values())
        for folder in (self.cache / "snapshots").glob("*"):
            if folder not in folders:
                discard(folder)
        for file in (self.cache / "files").glob("*/*"):
            if file.name not in contents:
                discard(file)
        if os.path.lexists(self.cache / "partial"):
            discard(self.cache / "partial")
        return before - _bytes_of(self.cache)

    def _manifest(self, request: RepoRequest) -> Path:
        ask = hashlib.sha256(json.dumps(_asked(request), sort_keys=True).encode()).hexdigest()[:16]
        return self.cache / "manifests" / request.hub / request.kind / request.id / f"{ask}.json"

    def _folder(self, files: Mapping[str, StoredFile]) -> Path:
        content = json.dumps({path: stored.sha256 for path, stored in files.items()}, sort_keys=True)
        return self.cache / "snapshots" / hashlib.sha256(content.encode()).hexdigest()[:32]

    def _read(self, path: Path, request: RepoRequest | None, *, whole: bool = True) -> Snapshot | None:
        try:
            manifest = read_json(path)
            if not is_as_written(manifest):
                return None
            files = {name: StoredFile(**stored) for name, stored in manifest["files"].items()}
            asked = manifest["asked"] | {"patterns": tuple(manifest["asked"]["patterns"])}
            found = request or RepoRequest(hub=manifest["hub"], kind=manifest["kind"], id=manifest["id"], **asked)
            _check_recorded(found, manifest["revision"], files)
            snapshot = Snapshot(found, manifest["revision"], files, self._folder(files))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return None
        return None if whole and not self._is_whole(snapshot.folder, files) else snapshot

    def _is_whole(self, folder: Path, files: Mapping[str, StoredFile]) -> bool:
        return all(self._is_sound(folder / path, stored) for path, stored in files.items())

    def _is_sound(self, path: Path, stored: StoredFile) -> bool:
        """Tell whether a file is there with the bytes that came; remembered by what the system says of it."""
        try:
            with Folder.open(path.parent).opened(path.name) as file:
                is_of_size = os.fstat(file.fileno()).st_size == stored.bytes
                return is_of_size and identify_open(file, memo=self.cache / "identities") == stored.sha256
        except OSError:
            return False

    def _link(self, folder: Path, files: Mapping[str, StoredFile]) -> None:
        make_folder(folder.parent)
        # Built beside and renamed: a snapshot under its final name is whole, whenever this was killed.
        building = Path(tempfile.mkdtemp(dir=folder.parent, prefix="."))
        for path, stored in files.items():
            place = building / path
            place.parent.mkdir(parents=True, exist_ok=True)
            try:
                place.hardlink_to(self.file(stored.sha256))
            except OSError:
                # Some file systems of containers and clouds know no hard links.
                shutil.copyfile(self.file(stored.sha256), place)
                sync(place)
        # mkdtemp made it 0700; another user of a shared cache could not read it.
        building.chmod(0o755)
        for each in {building, *(building.joinpath(path).parent for path in files)}:
            sync(each)
        if os.path.lexists(folder):
            discard(folder)
        building.replace(folder)
        sync(folder.parent)


def _asked(request: RepoRequest) -> dict[str, object]:
    return {
        "revision": request.revision,
        "patterns": list(request.patterns),
        "subset": request.subset,
        "split": request.split,
    }


def _check_recorded(request: RepoRequest, revision: object, files: Mapping[str, StoredFile]) -> None:
    """Raise ValueError for a manifest that kolora cannot have written: its names become paths here."""
    faults: list[object] = [fault_of_name(name) for name in files]
    faults += [name for name, _ in faults_of_names(files, folded=False)]
    faults += [not is_sha256(each.sha256) or type(each.bytes) is not int or each.bytes < 0 for each in files.values()]
    faults += [request.hub not in HUBS, request.kind not in ("model", "dataset"), not isinstance(revision, str)]
    faults += [fault_of_name(request.id), request.id.count("/") != 1]
    if any(faults):
        raise ValueError(request.id)


def make_folder(path: Path) -> None:
    """Make a folder of the cache; what stands in its place and is none goes, a link among it."""
    if os.path.lexists(path) and (path.is_symlink() or not path.is_dir()):
        discard(path)
    path.mkdir(parents=True, exist_ok=True)


@contextlib.contextmanager
def _open_lock(path: Path) -> Iterator[IO[bytes]]:
    """Open a file to lock it; what stands in its place and is no file goes."""
    folder = Folder.open(path.parent)
    if folder.kind(path.name) not in (None, "file") or (path.exists() and path.stat().st_nlink > 1):
        discard(path)
    with folder.lock_file(path.name) as file:
        yield file


def _fault(path: Path, stored: StoredFile, hashed: dict[tuple[int, int], str]) -> str | None:
    try:
        with Folder.open(path.parent).opened(path.name) as file:
            status = os.fstat(file.fileno())
            key = (status.st_dev, status.st_ino)
            if key not in hashed:
                hashed[key] = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as problem:
        return problem.strerror or str(problem)
    return None if hashed[key] == stored.sha256 else f"its sha256 is {hashed[key][:12]}, not {stored.sha256[:12]}"


def _bytes_of(folder: Path) -> int:
    """Count the bytes of a folder, a file with several names once."""
    seen = {}
    for place, _, names in os.walk(folder):  # which, unlike glob, lets folders go while it looks
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                status = (Path(place) / name).lstat()
                seen[status.st_ino] = status.st_size
    return sum(seen.values())
