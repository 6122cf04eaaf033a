"""What a step saves to be resumed from: bytes below the digest of what they are, and of what they are a state of."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from kolora.errors import OutputUnwritable
from kolora.files import write_bytes
from kolora.reads import discard, read_own

SAVED = ".saved"
"""How the name of a saved file ends: below its digest it is no longer what the bytes are alone."""
_MARK = b"kolora saved this: "
_HEAD = len(_MARK) + 64 + 1


class StateDamaged(OutputUnwritable):
    """What a step saved is not what it saved, or is of another step: nothing of it is used."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(
            f"the saved state {path} {reason}", hint="run the same command again: the step begins from its start"
        )
        self.reason = reason


def write_saved(path: Path, content: bytes, *, of: str) -> None:
    """Save bytes, whole or not at all; of: the digest of the step that they are a state of."""
    write_bytes(path, _MARK + _digest(path, content, of) + b"\n" + content)


def read_saved(path: Path, *, of: str) -> bytes | None:
    """Read what ``write_saved`` saved for this step under this name, None where nothing is; raises StateDamaged."""
    if not os.path.lexists(path):
        return None
    try:
        whole = read_own(path)
    except OSError as problem:
        raise StateDamaged(path, f"cannot be read: {problem.strerror}") from problem
    head, content = whole[:_HEAD], whole[_HEAD:]
    if not head.startswith(_MARK):
        raise StateDamaged(path, "has no digest, or is of an earlier kolora")
    if head != _MARK + _digest(path, content, of) + b"\n":
        raise StateDamaged(path, "is damaged, or of another step")
    return content


def clear_saved(folder: Path) -> None:
    """Remove all that a step saved."""
    for path in list(folder.iterdir()):
        discard(path)


def _digest(path: Path, content: bytes, of: str) -> bytes:
    # The name too: two pictures of one step must not change places.
    digest = hashlib.sha256(f"{of}\n{path.name}\n".encode())
    digest.update(content)
    return digest.hexdigest().encode()
