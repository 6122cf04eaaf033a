"""Trying again: how often a hub is asked, and how long is waited in between."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import TypeVar

from kolora.errors import HubUnreachable
from kolora.hubs.repository import MIRRORS, NAMES, Faltered

T = TypeVar("T")

ATTEMPTS = 6
"""Attempts in a row without a byte gained, before a hub counts as unreachable."""
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 60.0
"""Seconds between attempts: doubled each time, or what the hub asks for, never more than the longest."""


def insist(
    attempt: Callable[[], T],
    *,
    hub: str,
    failing: str,
    stop: threading.Event | None = None,
    gained: Callable[[], int] = lambda: 0,
) -> T:
    """Try until it works; raises HubUnreachable after some attempts in a row that brought nothing.

    failing: what the hub then did not do, as words after its name. stop: ends the waiting, and the attempts. gained:
    counts bytes.
    """
    stop = stop or threading.Event()
    failures, before = 0, gained()
    while True:
        try:
            return attempt()
        except Faltered as fault:
            now = gained()
            failures, before = (1, now) if now > before else (failures + 1, before)
            if failures >= ATTEMPTS:
                raise HubUnreachable(
                    f"{NAMES[hub]} did not {failing} after {failures} attempts: {fault}",
                    hint=f"run the same command again, it goes on where it was; {MIRRORS[hub]} names a mirror",
                ) from fault
            pause = FIRST_PAUSE * 2 ** (failures - 1) * random.uniform(0.75, 1.25)  # noqa: S311 - no secret
            if stop.wait(min(LONGEST_PAUSE, pause if fault.after is None else fault.after)):
                raise
