"""What a story still needs from the hubs, brought into the cache before anything runs."""

from __future__ import annotations

import os
from collections.abc import Iterator

from kolora.artifacts import writing
from kolora.cli.console import Teller
from kolora.cli.stories import LoadedStory, cache_folder
from kolora.execute import Halt
from kolora.hubs.hub import HUBS
from kolora.hubs.store import NO_PINS, Pins, RepoRequest
from kolora.inputs import repos_to_download


def is_offline(asked: bool) -> bool:
    """Say whether the network is to be left alone: by --offline, or by KOLORA_OFFLINE."""
    return asked or os.environ.get("KOLORA_OFFLINE", "0") not in ("", "0")


def bring(given: LoadedStory, tell: Teller, *, refresh: bool = False, pins: Pins = NO_PINS) -> None:
    """Download what a story needs and the cache does not hold; with ``refresh`` ask what has moved on the hubs.

    Raises InputAbsent, HubUnreachable, OutputUnwritable, and Stopped after a signal: the next call goes on.
    """
    halt = Halt()
    with halt.listening():
        for request in repos_to_download(
            given.story, base=given.base, cache=cache_folder(), refresh=refresh, pins=pins
        ):
            bring_one(request, tell, halt=halt, refresh=refresh)


def bring_one(request: RepoRequest, tell: Teller, *, halt: Halt, refresh: bool = False) -> None:
    """Download one repository; raises as ``bring`` does."""
    from kolora.hubs.download import download

    def tick(done: int, total: int) -> None:
        tell.downloading(request.id, done, total)
        halt.check()

    cache = cache_folder()
    with writing(cache):
        snapshot, came = download(request, cache=cache, tick=tick, refresh=refresh)
    tell.say(
        f"{request.id} is in the cache: {len(snapshot.files)} files at {snapshot.revision}, "
        f"{came / 1e6:.1f} MB downloaded from {HUBS[request.hub].title}",
        revision=snapshot.revision,
        bytes=came,
    )


def to_download(given: LoadedStory, *, pins: Pins = NO_PINS) -> Iterator[str]:
    """Say in words what a run would download."""
    for request in repos_to_download(given.story, base=given.base, cache=cache_folder(), pins=pins):
        yield f"{request.id} from {HUBS[request.hub].title}, {_size(request)}"


def _size(request: RepoRequest) -> str:
    return "only the hub knows how much" if request.about is None else f"about {request.about / 1e9:.1f} GB"
