"""Checkpoints and scorers: where each lies on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from runner.errors import InputAbsent

POCKET = Path(__file__).parents[1] / "pocket" / "checkpoint"


@dataclass(frozen=True)
class Published:
    """A checkpoint or scorer the catalogue knows: its id, the same on both hubs unless said otherwise, and licence."""

    id: str
    licence: str


KOLORS = Published("Kwai-Kolors/Kolors", "Apache-2.0 for research, registration for commercial use")
CLIP = Published("openai/clip-vit-large-patch14", "MIT")
AESTHETICS = Published("shunk031/aesthetics-predictor-v2-sac-logos-ava1-l14-linearMSE", "Apache-2.0")


def find_checkpoint(name: str, *, cache: Path) -> Path:
    """Find the folder of ``kolors``, ``pocket`` or a path; raises InputAbsent with where to put it."""
    if name == "pocket":
        return POCKET
    if name == "kolors":
        return _cached(KOLORS, cache, key="model.checkpoint")
    folder = Path(name)
    if not folder.is_dir():
        raise InputAbsent(
            f"model.checkpoint is {name!r}, and there is no such folder",
            hint="give kolors, pocket, or a folder in the layout of Kwai-Kolors/Kolors",
        )
    return folder


def find_scorer(name: str, *, kind: str, checkpoint: Path, cache: Path) -> Path | None:
    """Find the folder of a scorer; None where it is off.

    kind: "aesthetics" or "clip". "auto" takes the one inside the checkpoint's folder, else the catalogue's.
    """
    if name == "off":
        return None
    if name != "auto":
        folder = Path(name)
        if not folder.is_dir():
            raise InputAbsent(
                f"scores.{kind} is {name!r}, and there is no such folder", hint="give auto, off, or a folder"
            )
        return folder
    own = checkpoint / kind
    published = {"clip": CLIP, "aesthetics": AESTHETICS}[kind]
    return own if own.is_dir() else _cached(published, cache, key=f"scores.{kind}")


def _cached(published: Published, cache: Path, *, key: str) -> Path:
    folder = cache / "models" / published.id
    if not folder.is_dir():
        off = " (scores can be off)" if key.startswith("scores") else ""
        raise InputAbsent(
            f"{published.id} is not in the cache, and this kolora cannot download yet: {folder} is absent",
            hint=f"download it into that folder, or set {key} to the folder it is in{off}",
        )
    return folder
