"""Uploads: a folder into a model repository on a hub, through the hub's own client."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from kolora.errors import InputAbsent, UsageError
from kolora.hubs.clients import open_destination
from kolora.hubs.hub import HUBS
from kolora.hubs.retry import retry

T = TypeVar("T")


def upload(folder: Path, *, hub: str, id: str, public: bool, message: str, state: Path) -> None:  # noqa: A002 - the hubs' own word
    """Upload a folder into the model repository ``id`` of a hub, which is made, private unless asked otherwise.

    Cut short, the next call goes on: the hubs know contents by their sha256 and take none twice. state: a folder for a
    client's own files. Raises InputAbsent without a token or where it does not open the repository, UsageError where
    the repository is public and that was not asked for, HubUnreachable when the hub does not answer.
    """
    chosen = HUBS[hub]
    token = os.environ.get(chosen.token)
    if not token:
        raise InputAbsent(
            f"there is no token for {chosen.title}, and only its holder may upload",
            hint=f"set {chosen.token} in the environment; it is read from there only",
        )
    destination = open_destination(chosen.name, id, token=token, state=state)

    def repeat(attempt: Callable[[], T]) -> T:
        return retry(attempt, hub=chosen, action=f"take {id}")

    # Before anything is sent: pictures of people that were meant to be private cannot be called back.
    is_public = repeat(destination.is_public)
    if is_public is None:
        repeat(lambda: destination.create(public=public))
    elif is_public and not public:
        raise UsageError(f"{id} on {chosen.title} is public, and --public was not asked for", hint="--public")
    repeat(lambda: destination.put(folder, message))
