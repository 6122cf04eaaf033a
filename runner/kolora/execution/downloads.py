"""What a story still needs from the hubs, brought into the cache before anything runs."""

from __future__ import annotations

from kolora.events import Downloaded, Downloading, Noticed, OnEvent
from kolora.execution.signals import Halt
from kolora.files import writing
from kolora.hubs.store import NO_PINS, Pins, RepoRequest, Store
from kolora.inputs import repos_to_download
from kolora.places import cache_folder
from kolora.stories import LoadedStory


def requests_of(loaded: LoadedStory, *, refresh: bool = False, pins: Pins = NO_PINS) -> tuple[RepoRequest, ...]:
    """List what a story needs and the cache does not hold; with ``refresh`` also what it holds."""
    return repos_to_download(loaded.story, base=loaded.base, cache=cache_folder(), refresh=refresh, pins=pins)


def download_for(
    loaded: LoadedStory, *, on_event: OnEvent, halt: Halt, refresh: bool = False, pins: Pins = NO_PINS
) -> None:
    """Download what a story needs and the cache does not hold; with ``refresh`` ask what has moved on the hubs.

    Raises InputAbsent, HubUnreachable, OutputUnwritable, and Stopped after a signal: the next call goes on.
    """
    for request in requests_of(loaded, refresh=refresh, pins=pins):
        download_one(request, on_event=on_event, halt=halt, refresh=refresh)


def download_one(request: RepoRequest, *, on_event: OnEvent, halt: Halt, refresh: bool = False) -> None:
    """Download one repository; raises as ``download_for`` does."""
    # The hubs' clients load here, and not with every story that downloads nothing.
    from kolora.hubs.download import download

    def tick(done: int, total: int) -> None:
        on_event(Downloading(request.id, done, total))
        halt.check()

    cache = cache_folder()
    damaged = Store(cache).damaged(request)
    if damaged:
        more = f" and {len(damaged) - 1} more" if len(damaged) > 1 else ""
        on_event(Noticed(f"{damaged[0]}{more} of {request.id} in the cache is damaged or gone, and is fetched again"))
    with writing(cache):
        snapshot, downloaded_bytes = download(request, cache=cache, tick=tick, refresh=refresh)
    on_event(Downloaded(request.id, request.hub, snapshot.revision, len(snapshot.files), downloaded_bytes))
