"""manifest.sha256: the promise that a folder is complete, as ``sha256sum -c`` reads it."""

from __future__ import annotations

from pathlib import Path

from kolora.files import sha256_of, write_text
from kolora.runfolder.layout import MANIFEST, NOT_IN_MANIFEST


def write_manifest(root: Path) -> None:
    """List a folder's files with their sha256, less those that are nobody's result."""
    lines = []
    # Sorted, so that two equal folders have one manifest, byte for byte.
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root)
        if path.is_file() and name.parts[0] not in NOT_IN_MANIFEST:
            lines.append(f"{sha256_of(path)}  {name.as_posix()}\n")
    write_text(root / MANIFEST, "".join(lines))


def parse_manifest(text: str) -> dict[str, str]:
    """Read a manifest's text as the sha256 of each name."""
    listed = {}
    for line in text.splitlines():
        digest, _, name = line.partition("  ")
        listed[name] = digest
    return listed
