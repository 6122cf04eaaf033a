"""manifest.sha256: the promise that a folder is complete, as ``sha256sum -c`` reads it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from kolora.errors import StoryInvalid
from kolora.files import sha256_of, write_text
from kolora.names import checked_name, is_sha256, printable
from kolora.runfolder.layout import MANIFEST, NOT_IN_MANIFEST

_HINT = "run the story again: that writes another manifest"


def write_manifest(root: Path) -> None:
    """List a folder's files with their sha256, less those that are nobody's result."""
    digests = {}
    for path in root.rglob("*"):
        name = path.relative_to(root)
        if path.is_file() and name.parts[0] not in NOT_IN_MANIFEST:
            digests[name.as_posix()] = sha256_of(path)
    write_text(root / MANIFEST, manifest_text(digests))


def manifest_text(digests: Mapping[str, str]) -> str:
    """Write a manifest's text from the sha256 of each name."""
    # Sorted, so that two equal folders have one manifest, byte for byte.
    return "".join(f"{digests[name]}  {name}\n" for name in sorted(digests, key=lambda name: name.split("/")))


def parse_manifest(text: str) -> dict[str, str]:
    """Read a manifest's text as the sha256 of each name.

    Raises StoryInvalid for a line that kolora cannot have written: its names lead to files here.
    """
    listed: dict[str, str] = {}
    # Not splitlines(): a name may hold what that takes for the end of a line, and be cut in two.
    for line in text.removesuffix("\n").split("\n") if text else ():
        digest, _, name = line.partition("  ")
        checked_name(name, source=MANIFEST, error=StoryInvalid, hint=_HINT)
        if not is_sha256(digest) or name in listed:
            raise StoryInvalid(f"{MANIFEST} lists '{printable(name)}' twice, or without its sha256", hint=_HINT)
        listed[name] = digest
    return listed
