"""Stopping on request: signals set a flag that is asked wherever stopping loses nothing."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType

from kolora.errors import Stopped

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)
GRACE_SECONDS = 6.0
"""After a signal, a step that does not stop by itself is left: what it saved before is enough to go on from.

Ten are promised; on a busy machine the engine takes up to three of them to hand over the signal and to clear up.
"""


class Halt:
    """Whether the run was asked to stop. The handlers only set a flag; a second signal leaves at once."""

    def __init__(self, *, grace: float = GRACE_SECONDS) -> None:
        self.requested = False
        self._grace = grace
        self._timer: threading.Timer | None = None

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Listen to the stopping signals while the block runs."""
        before = {number: signal.signal(number, self._on_signal) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            if self._timer is not None:
                self._timer.cancel()

    def check(self) -> None:
        """Raise Stopped when a stop was asked for."""
        if self.requested:
            raise Stopped(
                "stopped on request; everything finished so far is saved",
                hint="run the same command again: it continues where it stopped",
            )

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        if self.requested:
            # Not sys.exit: it would wait for torch, for threads and for children, and the user asked twice.
            os._exit(Stopped.code)
        self.requested = True
        self._timer = threading.Timer(self._grace, os._exit, (Stopped.code,))
        # A run that ends in time must not be kept alive by its own timer.
        self._timer.daemon = True
        self._timer.start()
