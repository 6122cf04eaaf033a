"""What a submission says of itself, held against itself: manifest, lock, story, pictures' text chunks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from PIL import Image

from kolora.runfolder.layout import MANIFEST
from kolora.runfolder.lock import Lock
from kolora.runfolder.manifest import parse_manifest
from kolora.spec import ResolvedScene, Story
from kolora.spec.canonical import canonical
from kolora.spec.flat import flatten
from kolora.verification.pack import Pack
from kolora.verification.words import Finding, excerpt

# numpy's and joblib's files may hold pickled objects too.
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".npy", ".joblib")
DECISIVE = re.compile(r"story\.(lock\.)?yaml|report\.json|grid\.png|images/[^/]+\.png|lora/[^/]+\.safetensors")
"""Files whose digest decides: what else is wrong in the manifest is only told."""
LORA_SUFFIX = ".safetensors"
MAX_MANIFEST = 8 * 2**20
STATED_KEYS = (
    "prompt",
    "negative_prompt",
    "seed",
    "width",
    "height",
    "steps",
    "guidance_scale",
    "lora_scale",
    "scheduler",
)
"""What a picture's text chunks say of its scene."""


def digests(pack: Pack, lock: Lock) -> Iterator[Finding]:
    """Hold every file against the manifest, and the results against the lock."""
    listed = _manifest(pack)
    if not listed:
        yield Finding("no_manifest", verdict="note")
    # Files that neither promises are not read: a pack may hold gigabytes of anything else.
    actual = {name: pack.sha256(name) for name in sorted(pack.sizes) if name in listed or name in lock.results}
    for name, digest in listed.items():
        if actual.get(name) != digest:
            key = "absent" if name not in actual else "not_as_listed"
            yield Finding(key, (name,), "different" if DECISIVE.fullmatch(name) else "note")
    for name, digest in lock.results.items():
        if name in actual and actual[name] != digest:
            yield Finding("not_as_locked", (name,))
    known = {digest for name, digest in lock.results.items() if name.endswith(LORA_SUFFIX)}
    for name in pack.sizes:
        # A submission gives one of them the contest's name.
        if name.endswith(LORA_SUFFIX) and name not in lock.results and pack.sha256(name) not in known:
            yield Finding("lora_not_in_lock", (name,))
        if name.lower().endswith(PICKLES):
            yield Finding("pickle", (name,), "note")


def story_against_lock(story: Story, lock: Lock) -> Iterator[Finding]:
    """Name every key in which the story is not the one that the lock was made of."""
    written, locked = flatten(canonical(story)), flatten(lock.story)
    for key in sorted(written.keys() | locked.keys()):
        if written.get(key) != locked.get(key):
            yield Finding("story", (key, excerpt(written.get(key)), excerpt(locked.get(key))))


def picture_claims(path: Path, scene: ResolvedScene, *, checkpoint: str, name: str) -> Iterator[Finding]:
    """Hold a picture's text chunks against its scene. Raises OSError where it is no sound PNG: see `picture_fault`."""
    # PNG alone: else a stranger's bytes would choose which of Pillow's many decoders reads them.
    with Image.open(path, formats=("PNG",)) as picture:
        picture.load()
        texts: Mapping[str, str] = picture.text  # type: ignore[attr-defined]
    expected = {key: str(getattr(scene, key)) for key in STATED_KEYS} | {"checkpoint": checkpoint}
    for key, value in expected.items():
        given = texts.get(f"kolora.{key}")
        # Only a note: a picture that states nothing states nothing false, and many services strip the chunks.
        if given is None:
            yield Finding("not_stated", (name, key), "note")
        elif given != value:
            yield Finding("stated_otherwise", (name, key, excerpt(given), excerpt(value)))


def picture_fault(path: Path, size: tuple[int, int], *, name: str) -> Finding | None:
    """Say why a picture is not to be compared; one of another size is never decoded."""
    try:
        with Image.open(path, formats=("PNG",)) as picture:
            if picture.size != size:
                return Finding("size", (name, *map(str, (*picture.size, *size))))
            picture.load()
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as problem:
        return Finding("unreadable", (name, str(problem)))
    return None


def _manifest(pack: Pack) -> dict[str, str]:
    if MANIFEST not in pack.sizes:
        return {}
    return parse_manifest(pack.read(MANIFEST, most=MAX_MANIFEST).decode("utf-8", errors="replace"))
