"""The two streams that all words of the command line go through, whoever says them: no secret, no control at work."""

from __future__ import annotations

import io
import re
import sys
from typing import TextIO, cast

from kolora.characters import show
from kolora.redaction import redact

_OTHER_ESCAPE = re.compile("\x1b(?!\\[)")
"""What begins another sequence than rich's: titles, links, the clipboard."""


class GuardedStream(io.TextIOBase):
    """Writes to a stream without secrets, and with characters that act unseen written out.

    It stands for the whole stream, so that what libraries log, warn of, or leave as a traceback goes through it too.
    is_terminal: leave the sequences that rich draws bars and colours with, which begin with ``ESC [``.
    """

    def __init__(self, stream: TextIO, *, is_terminal: bool = False) -> None:
        self._stream = stream
        self._is_terminal = is_terminal

    def write(self, text: str) -> int:
        """Write a text; letters that the stream's encoding lacks are escaped."""
        guarded = redact(text)
        if self._is_terminal:
            guarded = _OTHER_ESCAPE.sub(r"\\u001b", show(guarded, allowed="\n\t\r\x1b"))
        else:
            guarded = show(guarded)
        # Halves of letters and, where the encoding is ASCII, Chinese: a message is worth more than its looks.
        encoding = self.encoding
        self._stream.write(guarded.encode(encoding, "backslashreplace").decode(encoding))
        return len(text)

    def for_terminal(self) -> TextIO:
        """Give the same stream to who draws on a terminal, and shows characters that act unseen by itself."""
        return cast(TextIO, GuardedStream(self._stream, is_terminal=True))

    def flush(self) -> None:
        """Hand on what was written."""
        self._stream.flush()

    def isatty(self) -> bool:
        """Tell whether a person looks."""
        return self._stream.isatty()

    def fileno(self) -> int:
        """Return the descriptor below."""
        return self._stream.fileno()

    def writable(self) -> bool:
        """Say yes."""
        return True

    def close(self) -> None:
        """Leave the stream below open: others write to it after this one."""

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The encoding below."""
        return self._stream.encoding or "utf-8"

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        """How the stream below treats what it cannot write."""
        return self._stream.errors


def guard_streams() -> None:
    """Put guards before stdout and stderr of this process, for good."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is not None and not isinstance(stream, GuardedStream):
            setattr(sys, name, GuardedStream(stream))
