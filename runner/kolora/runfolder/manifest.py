"""manifest.sha256: the promise that a folder is complete, as ``sha256sum -c`` reads it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from kolora.files import sha256_of, write_text
from kolora.runfolder.layout import MANIFEST, NOT_IN_MANIFEST


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
    """Read a manifest's text as the sha256 of each name."""
    listed = {}
    for line in text.splitlines():
        digest, _, name = line.partition("  ")
        listed[name] = digest
    return listed
