"""Stopping on request: a thread sees the signals whatever the main thread is at, and leaves in time.

Python's own handlers run between two lines of the main thread, which may be in one operation of torch, in one import
or in one call of a compiler for a minute. What C's handler writes into a pipe is read at once.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import ClassVar

from kolora.errors import Stopped

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)
GRACE_SECONDS = 4.5
"""After a signal, a step that does not stop by itself is left: what it saved before is enough to go on from.

Ten are promised; on a busy machine the engine takes up to three of them to hand over the signal and to clear up.
"""
RECORD_SECONDS = 3.5
"""Then, to record the stop and to write the report, from beside the step. What is not written by then is not."""
SAME_REQUEST_SECONDS = 2.0
"""Signals that come so soon after the first are the same request: Slurm sends two."""
_LOOK_SECONDS = 0.5
"""Between two looks of the thread. One that was kept from looking for longer counts from its last look."""

Record = Callable[[Stopped], None]
OnSignal = Callable[[float], None]
"""Called with the moment (time.monotonic) that the signal came at, or an earlier one."""

_farewells: list[Record] = []
"""Who is told of a stop that no exception will tell of."""


def say_farewell(farewell: Record) -> None:
    """Have ``farewell`` called right before the process is left beside a step that does not stop by itself."""
    _farewells[:] = [farewell]


class Halt:
    """Whether the run was asked to stop. A second signal, later than the same request's, leaves at once.

    grace: seconds until the run is left that does not stop by itself; what ``recording`` was given is called then.
    record: seconds that this may take.
    """

    def __init__(self, *, grace: float = GRACE_SECONDS, record: float = RECORD_SECONDS) -> None:
        self.requested = False
        self._grace, self._record = grace, record
        self._asked: float | None = None
        self._timers: list[threading.Timer] = []
        self._records: list[Record] = []
        self._recorded = False
        # Held by who records the end: the main thread for a moment, the thread that leaves until the process is gone.
        self._end = threading.Lock()

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Listen to the stopping signals while the block runs; only in the main thread. Restores what was there."""
        try:
            with watching(self._on_signal, note=self._note):
                yield
        finally:
            self.claim_end()
            for timer in self._timers:
                timer.cancel()

    @contextlib.contextmanager
    def recording(self, record: Record) -> Iterator[None]:
        """Have ``record`` called, from another thread, when the run is left while it is in this block."""
        self._records.append(record)
        with self._end:
            self._recorded = False
        try:
            yield
        finally:
            self._records.pop()

    def check(self) -> None:
        """Raise Stopped when a stop was asked for; does not return where the run is being left already."""
        if self.requested:
            with self._end:
                pass
            raise _stopped()

    def claim_end(self) -> None:
        """Say that the run records its end itself; does not return where it is being left, its end recorded already."""
        with self._end:
            self._recorded = True

    def _note(self) -> None:
        self.requested = True

    def _on_signal(self, moment: float) -> None:
        self.requested = True
        if self._asked is not None:
            if moment - self._asked > SAME_REQUEST_SECONDS:
                # Not sys.exit: it would wait for torch, for threads and for children, and the user asked twice.
                os._exit(Stopped.code)
            return
        self._asked = moment
        late = time.monotonic() - moment
        # The last one needs nothing but the interpreter: whatever recording waits for, the process is gone by then.
        for seconds, act in ((self._grace, self._leave), (self._grace + self._record, _exit)):
            timer = threading.Timer(max(seconds - late, 0), act)
            # A run that ends in time must not be kept alive by its own timers.
            timer.daemon = True
            self._timers.append(timer)
            timer.start()

    def _leave(self) -> None:
        """Record the stop from beside a step that does not stop by itself, and leave."""
        self._end.acquire()
        if self._recorded:
            # The main thread is at it, and has as long as recording may take.
            self._end.release()
            return
        stopped = _stopped()
        # The record first, then the word, then what takes long: the report.
        records = self._records[::-1]
        for record in (*records[:1], *_farewells, *records[1:]):
            # Whatever a half-done run makes of it: the next one may still be written, and the process is left.
            with contextlib.suppress(BaseException):
                record(stopped)
        _exit()


def _stopped() -> Stopped:
    return Stopped(
        "stopped on request; everything finished so far is saved",
        hint="run the same command again: it continues where it stopped",
    )


def _exit(_moment: float = 0.0) -> None:
    os._exit(Stopped.code)


@contextlib.contextmanager
def leaving_at_once() -> Iterator[None]:
    """Leave at any stopping signal, whatever the main thread is at: for commands that have nothing to save."""
    with watching(_exit):
        yield


@contextlib.contextmanager
def watching(on_signal: OnSignal, *, note: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Have a thread of its own call ``on_signal`` for every stopping signal; only in the main thread.

    note: called in the main thread, as soon as that is between two lines.
    """
    watch = _Watch(on_signal, note)
    try:
        yield
    finally:
        watch.close()


class _Watch:
    """The pipe that C's signal handler writes into, and the thread that reads it."""

    active: ClassVar[list[_Watch]] = []

    def __init__(self, on_signal: OnSignal, note: Callable[[], None]) -> None:
        self._on_signal = on_signal

        # C's handler writes into the pipe only for signals that have a handler of Python's too.
        def handler(_number: int, _frame: FrameType | None) -> None:
            note()

        self._before = {number: signal.signal(number, handler) for number in SIGNALS}
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)
        # An event loop of the user's may have one; it is told on of what is not ours.
        self._former = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        self._thread = threading.Thread(target=self._read, name="kolora signals", daemon=True)
        self._thread.start()
        self.active.append(self)

    def close(self) -> None:
        """Restore what was there; signals that came before are still seen."""
        self.restore()
        self.active.remove(self)
        os.close(self._writer)
        self._thread.join()
        os.close(self._reader)

    def restore(self) -> None:
        """Put the earlier handlers and pipe back."""
        signal.set_wakeup_fd(self._former)
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _read(self) -> None:
        looked = time.monotonic()
        while True:
            readable, _, _ = select.select([self._reader], [], [], _LOOK_SECONDS)
            moment = time.monotonic()
            # Kept from looking by an operation that holds the interpreter, it counts from when it last looked.
            came = looked if moment - looked > 2 * _LOOK_SECONDS else moment
            looked = moment
            if not readable:
                continue
            numbers = os.read(self._reader, 64)
            if not numbers:
                return
            for number in numbers:
                if number in SIGNALS:
                    self._on_signal(came)
                elif self._former != -1:
                    with contextlib.suppress(OSError):
                        os.write(self._former, bytes([number]))


def _forget_in_child() -> None:
    # A forked child shares the pipe: its signals would reach us, and it would be deaf to them.
    for watch in reversed(_Watch.active):
        watch.restore()
    _Watch.active.clear()


os.register_at_fork(after_in_child=_forget_in_child)
