"""What every hub is to downloads and uploads: a repository to read, a repository to write, and what may go wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from kolora.errors import InputAbsent
from kolora.hubs.hub import HUBS, HubName
from kolora.hubs.store import RepoRequest
from kolora.names import checked_name, is_sha256, printable

_MAY_PASS = (408, 425, 429)
"""HTTP statuses that blame the request and yet may be others a moment later."""


@dataclass(frozen=True)
class RemoteFile:
    """One file of a repository; ``sha256`` and ``blob`` (git's sha1) are None where the hub does not tell."""

    path: str
    bytes: int
    sha256: str | None = None
    blob: str | None = None


@dataclass(frozen=True)
class Listing:
    """A repository at one revision: a commit where the hub resolves one, else the name that was asked for."""

    revision: str
    files: Sequence[RemoteFile]


def remote_file(
    request: RepoRequest, path: object, size: object, *, sha256: object = None, blob: object = None
) -> RemoteFile:
    """Take a file as a hub lists it; raises InputAbsent for what is none. The name is checked where it is chosen."""
    digest = sha256.lower() if isinstance(sha256, str) else None
    is_hashed = sha256 is None or is_sha256(digest)
    if isinstance(path, str) and isinstance(size, int) and size >= 0 and is_hashed:
        return RemoteFile(path, size, digest, blob if isinstance(blob, str) else None)
    told = ", ".join(f"'{printable(str(each))}'" for each in (path, size, sha256))
    raise InputAbsent(
        f"{HUBS[request.hub].title} lists what is no file in {request.id}: name, bytes and sha256 are {told}",
        hint="do not use it, or name a folder instead",
    )


def checked_revision(request: RepoRequest, revision: object) -> str:
    """Return what a hub resolved a revision to; raises InputAbsent for what is no text fit for records."""
    return checked_name(str(revision), source=f"as its revision {request.id} on {HUBS[request.hub].title}")


class Repository(Protocol):
    """A repository on a hub. Methods raise InputAbsent for good, TemporaryFailure where trying again may help."""

    def list(self) -> Listing:
        """List the files of the requested revision."""

    def download(self, revision: str, file: RemoteFile, into: Path) -> Path:
        """Bring one file under ``into``, going on where an earlier attempt was cut; returns its path."""


class Destination(Protocol):
    """A model repository to be. Methods raise as those of ``Repository`` do."""

    def is_public(self) -> bool | None:
        """Say who may see it; None where it does not exist yet."""

    def create(self, *, public: bool) -> None:
        """Make it."""

    def put(self, folder: Path, message: str) -> None:
        """Upload a folder's files; what is there already is not sent again."""


class TemporaryFailure(Exception):
    """A hub failed in a way that may pass. ``wait``: seconds it asked to wait, None where it did not say."""

    def __init__(self, reason: str, *, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


def longer_than_announced(request: RepoRequest, what: str, announced: int) -> InputAbsent:
    """Say that a hub sends more than it listed: nothing ends what has no end but who reads it."""
    return InputAbsent(
        f"{HUBS[request.hub].title} sends more of {what} of {request.id} than the {announced:,} bytes it announced",
        hint="do not use it: its files are not those it lists",
    )


def not_found(request: RepoRequest) -> InputAbsent:
    """Say that a hub does not know what is requested, or keeps it from strangers."""
    revision = f" at revision {request.revision!r}" if request.revision else ""
    key = "dataset.id and dataset.revision" if request.kind == "dataset" else "KOLORA_HUB and model.checkpoint"
    return InputAbsent(
        f"{HUBS[request.hub].title} has no {request.kind} {request.id}{revision} that this user may see",
        hint=f"check {key}; for a private one set {HUBS[request.hub].token}",
    )


def forbidden(request: RepoRequest) -> InputAbsent:
    """Say that a hub knows what is requested but does not hand it out to this user."""
    return InputAbsent(
        f"{HUBS[request.hub].title} does not let this user read the {request.kind} {request.id}",
        hint=f"set {HUBS[request.hub].token} to a token that may; a gated one asks for consent on its page first",
    )


def read_retry_after(header: object) -> float | None:
    """Read a Retry-After header's number of seconds; None for anything else."""
    try:
        return max(0.0, float(str(header)))
    except ValueError:
        return None


def upload_problem(hub: HubName, id: str, status: int | None, said: str) -> Exception:  # noqa: A002 - the hubs' own word
    """Turn a hub's answer into our problem: forbidden, refused, or worth another try."""
    if status in (401, 403, 404):
        return InputAbsent(
            f"{HUBS[hub].title} does not let the holder of this token write {id}",
            hint=f"set {HUBS[hub].token} to a token with the right to write, and --repo to a name of your own",
        )
    if status is not None and 400 <= status < 500 and status not in _MAY_PASS:
        return InputAbsent(f"{HUBS[hub].title} refuses {id}: HTTP {status}", hint="--repo another/name")
    return TemporaryFailure(f"HTTP {status}" if status else said)
