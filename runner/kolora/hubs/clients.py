"""Which client speaks with which hub."""

from __future__ import annotations

from pathlib import Path

from kolora.hubs.hub import HubName
from kolora.hubs.huggingface import HuggingFace, HuggingFaceDestination
from kolora.hubs.modelscope import ModelScope, ModelScopeDestination
from kolora.hubs.repository import Destination, Repository
from kolora.hubs.store import RepoRequest


def open_repository(request: RepoRequest, *, state: Path) -> Repository:
    """Open what is requested for reading; state: a folder for a client's own files."""
    if request.hub == "modelscope":
        return ModelScope(request, state=state)
    return HuggingFace(request)


def open_destination(hub: HubName, id: str, *, token: str, state: Path) -> Destination:  # noqa: A002 - the hubs' own word
    """Open a model repository for writing; state: a folder for a client's own files."""
    if hub == "modelscope":
        return ModelScopeDestination(id, token, state)
    return HuggingFaceDestination(id, token)
