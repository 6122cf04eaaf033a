"""What a submission says of itself, held against itself: manifest, lock, story, pictures' text chunks, report."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from runner.lock import Lock
from runner.spec import ResolvedScene, Story
from runner.verifying.pack import Pack
from runner.verifying.verdict import Tolerance

PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".npy", ".joblib")
MATTERS = re.compile(r"story\.(lock\.)?yaml|report\.json|grid\.png|images/[^/]+\.png|lora/[^/]+\.safetensors")
"""Files whose digest decides: what else is wrong in the manifest is only told."""
MOST_MANIFEST = 8 * 2**20
MOST_REPORT = 32 * 2**20
SHOWN_LETTERS = 60
TOLD = ("prompt", "negative_prompt", "seed", "width", "height", "steps", "guidance_scale", "lora_scale", "scheduler")
"""What a picture's text chunks say of its scene."""


@dataclass(frozen=True)
class Finding:
    """One thing found: ``different`` where a claim does not hold, ``note`` where that matters less."""

    what: str
    verdict: str = "different"


def digests(pack: Pack, lock: Lock) -> Iterator[Finding]:
    """Hold every file against the manifest, and the results against the lock."""
    listed = dict(_manifest(pack))
    if not listed:
        yield Finding("there is no manifest.sha256: the submission does not say that it is whole", "note")
    actual = {name: pack.sha256(name) for name in sorted(pack.sizes) if name in listed or name in lock.results}
    for name, digest in listed.items():
        if actual.get(name) != digest:
            told = "is not there" if name not in actual else "has another sha256 than manifest.sha256 says"
            yield Finding(f"{name} {told}", "different" if MATTERS.fullmatch(name) else "note")
    for name, digest in lock.results.items():
        if name in actual and actual[name] != digest:
            yield Finding(f"{name} has another sha256 than story.lock.yaml says")
    for name in pack.sizes:
        if name.lower().endswith(PICKLES):
            yield Finding(f"{name} may be a pickle, which can run code: it was not opened", "note")


def story_against_lock(story: Story, lock: Lock) -> Iterator[Finding]:
    """Name every key in which the story is not the one that the lock was made of."""
    written, locked = _flat(story.model_dump(mode="json")), _flat(lock.story)
    for key in sorted(written.keys() | locked.keys()):
        if written.get(key) != locked.get(key):
            pair = [_shown(values.get(key)) for values in (written, locked)]
            yield Finding(f"story.yaml: {key} is {pair[0]}, story.lock.yaml has {pair[1]}")


def picture_claims(path: Path, scene: ResolvedScene, *, checkpoint: str, name: str) -> Iterator[Finding]:
    """Hold a picture's size and text chunks against its scene, before its pixels are decoded.

    A picture that cannot be read, or has another size, yields a finding whose words begin with the name and "is".
    """
    try:
        with Image.open(path, formats=("PNG",)) as picture:
            size = picture.size
            if size != (scene.width, scene.height):
                yield Finding(f"{name} is {size[0]} x {size[1]}, the story asks for {scene.width} x {scene.height}")
                return
            picture.load()
            texts: Mapping[str, str] = picture.text  # type: ignore[attr-defined]
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as problem:
        yield Finding(f"{name} is no sound PNG: {problem}")
        return
    told = {key: str(getattr(scene, key)) for key in TOLD} | {"checkpoint": checkpoint}
    for key, value in told.items():
        given = texts.get(f"kolora.{key}")
        if given is None:
            yield Finding(f"{name} does not tell its {key}", "note")
        elif given != value:
            yield Finding(f"{name} tells {key} {_shown(given)}, the story says {_shown(value)}")


def reported_scores(pack: Pack, judged: Sequence[Mapping[str, Any]], tolerance: Tolerance) -> Iterator[Finding]:
    """Hold the scores that report.json tells against those that the submitted pictures have here."""
    if "report.json" not in pack.sizes:
        yield Finding("there is no report.json", "note")
        return
    try:
        report = json.loads(pack.read("report.json", most=MOST_REPORT))
        scenes = {int(scene["number"]): scene for scene in report["scenes"]}
        means = {kind: report["verdict"][f"{kind}_mean"] for kind in ("aesthetics", "clip")}
    except (ValueError, LookupError, TypeError, RecursionError) as problem:
        yield Finding(f"report.json cannot be read: {type(problem).__name__}")
        return
    for kind in ("aesthetics", "clip"):
        allowed = getattr(tolerance, kind)
        here = {each["number"]: each[kind]["submitted"] for each in judged}
        known = [score for score in here.values() if score is not None]
        told = {f"scene {number}'s {kind}": (scenes.get(number, {}).get(kind), score) for number, score in here.items()}
        told[f"the mean {kind}"] = (means[kind], sum(known) / len(known) if known else None)
        for what, (claimed, score) in told.items():
            if isinstance(claimed, int | float) and score is not None and not abs(claimed - score) <= allowed:
                yield Finding(f"report.json tells {what} as {claimed:.3f}, here it is {score:.3f}")


def _manifest(pack: Pack) -> Iterator[tuple[str, str]]:
    if "manifest.sha256" in pack.sizes:
        text = pack.read("manifest.sha256", most=MOST_MANIFEST).decode("utf-8", errors="replace")
        for line in text.splitlines():
            digest, _, name = line.partition("  ")
            yield name, digest


def _flat(value: Any, path: str = "") -> dict[str, Any]:
    if isinstance(value, dict):
        items = [(f"{path}.{key}" if path else str(key), each) for key, each in value.items()]
    elif isinstance(value, list):
        items = [(f"{path}[{number}]", each) for number, each in enumerate(value, 1)]
    else:
        return {path: value}
    return {key: leaf for name, each in items for key, leaf in _flat(each, name).items()}


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= SHOWN_LETTERS else f"{text[:SHOWN_LETTERS]}…"
