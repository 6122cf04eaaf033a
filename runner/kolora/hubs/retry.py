"""Trying again: how often a hub is asked, and how long is waited in between."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import TypeVar

from kolora.errors import HubUnreachable
from kolora.hubs.hub import Hub
from kolora.hubs.repository import TemporaryFailure

T = TypeVar("T")

_ATTEMPTS = 6
"""Attempts in a row without a byte gained, before a hub counts as unreachable."""
FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 60.0
"""Seconds between attempts: doubled each time, or what the hub asks for, never more than the longest."""


def retry(
    attempt: Callable[[], T],
    *,
    hub: Hub,
    action: str,
    stop: threading.Event | None = None,
    count_bytes: Callable[[], int] = lambda: 0,
) -> T:
    """Try until it works; raises HubUnreachable after some attempts in a row that brought nothing.

    action: what the hub is asked to do, as words that follow "did not". stop: ends the waiting, and the attempts.
    count_bytes: says how many bytes there are by now.
    """
    stop = stop or threading.Event()
    failures, before = 0, count_bytes()
    while True:
        try:
            return attempt()
        except TemporaryFailure as failure:
            # Whatever brought bytes was no failure: 18 GB over a poor line may be cut many times.
            now = count_bytes()
            failures, before = (1, now) if now > before else (failures + 1, before)
            if failures >= _ATTEMPTS:
                raise HubUnreachable(
                    f"{hub.title} did not {action} after {failures} attempts: {failure}",
                    hint=f"run the same command again, it goes on where it was; {hub.endpoint} names a mirror",
                ) from failure
            # By chance a little more or less: many containers that lost a hub at once should not come back at once.
            pause = FIRST_PAUSE * 2 ** (failures - 1) * random.uniform(0.75, 1.25)  # noqa: S311 - no secret
            if stop.wait(min(_LONGEST_PAUSE, pause if failure.wait is None else failure.wait)):
                raise
