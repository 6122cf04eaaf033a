"""What can go wrong, each with the exit code that the container's contract promises for it."""

from __future__ import annotations

from kolora.characters import show
from kolora.redaction import redact


class KoloraError(Exception):
    """Something the user can act on: what was given and expected, and one command or key to change.

    The command line prints it as two lines, ``error:`` and ``hint:``, and leaves with ``code``. Records, reports and
    whoever calls the library repeat its words: they hold no secret and no character that acts unseen.
    """

    code = 70

    def __init__(self, error: str, *, hint: str = "") -> None:
        self.error = show(redact(error))
        self.hint = show(redact(hint))
        super().__init__(self.error)


class UsageError(KoloraError):
    """The command line itself makes no sense."""

    code = 2


class StoryInvalid(KoloraError):
    """The story or its data breaks a rule or leaves too few pictures, numbers overflow, or a run is unfinished."""

    code = 65


class InputAbsent(KoloraError):
    """A pinned input is not there: a folder, a file, a revision, or a cache entry while offline."""

    code = 66


class HubUnreachable(KoloraError):
    """A hub did not answer after every retry."""

    code = 69


class DeviceUnusable(KoloraError):
    """The device is missing, unfit or out of memory."""

    code = 71


class OutputUnwritable(KoloraError):
    """The output or the cache cannot be written, or the disk is full."""

    code = 73


class Stopped(KoloraError):
    """Asked to stop; the state is saved and the same command continues."""

    code = 75


class VerifyDifferent(KoloraError):
    """A submission does not show what it claims."""

    code = 76


class SchemaTooNew(KoloraError):
    """The story, the lock or report.json is written by a later kolora."""

    code = 78
