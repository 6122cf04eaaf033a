"""What both hubs are to a download: a listing of files, and one file at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from kolora.errors import InputAbsent
from kolora.hubs.store import RepoRequest

TOKENS = {"modelscope": "MODELSCOPE_API_TOKEN", "huggingface": "HF_TOKEN"}
"""The environment variables that hold a hub's token; it is read nowhere else and written nowhere."""

MIRRORS = {"modelscope": "MODELSCOPE_ENDPOINT", "huggingface": "HF_ENDPOINT"}
"""The environment variables that send a hub's client elsewhere."""

NAMES = {"modelscope": "ModelScope", "huggingface": "Hugging Face"}


@dataclass(frozen=True)
class Remote:
    """One file of a repository; ``sha256`` and ``blob`` (git's sha1) are None where the hub does not tell."""

    path: str
    bytes: int
    sha256: str | None = None
    blob: str | None = None


@dataclass(frozen=True)
class Listing:
    """A repository at one revision: a commit where the hub resolves one, else the name that was asked for."""

    revision: str
    files: Sequence[Remote]


class Repository(Protocol):
    """A repository on a hub. Both methods raise InputAbsent for good and Faltered where trying again may help."""

    def list(self) -> Listing:
        """List the files of the requested revision."""

    def download(self, revision: str, file: Remote, into: Path) -> Path:
        """Bring one file under ``into``, going on where an earlier attempt was cut; returns its path."""


class Faltered(Exception):
    """A hub failed in a way that may pass. ``after``: seconds it asked to wait, None where it did not say."""

    def __init__(self, reason: str, *, after: float | None = None) -> None:
        super().__init__(reason)
        self.after = after


def unknown(request: RepoRequest) -> InputAbsent:
    """Say that a hub does not know what is requested, or keeps it from strangers."""
    revision = f" at revision {request.revision!r}" if request.revision else ""
    key = "dataset.id and dataset.revision" if request.kind == "dataset" else "KOLORA_HUB and model.checkpoint"
    return InputAbsent(
        f"{NAMES[request.hub]} has no {request.kind} {request.id}{revision} that this user may see",
        hint=f"check {key}; for a private one set {TOKENS[request.hub]}",
    )


def forbidden(request: RepoRequest) -> InputAbsent:
    """Say that a hub knows what is requested but does not hand it out to this user."""
    return InputAbsent(
        f"{NAMES[request.hub]} does not let this user read the {request.kind} {request.id}",
        hint=f"set {TOKENS[request.hub]} to a token that may; a gated one asks for consent on its page first",
    )


def seconds(retry_after: object) -> float | None:
    """Read a Retry-After header's number of seconds; None for anything else."""
    try:
        return max(0.0, float(str(retry_after)))
    except ValueError:
        return None
