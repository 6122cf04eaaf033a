"""Checkpoints and scorers: the catalogue of those on hubs, and where each lies on this machine."""

from __future__ import annotations

import fnmatch
import functools
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kolora.errors import InputAbsent, UsageError
from kolora.files import is_folder
from kolora.hubs.hub import HUBS, HubName
from kolora.hubs.identity import identify_model
from kolora.hubs.store import NO_PINS, Pins, RepoRequest, Store

POCKET = Path(__file__).parents[1] / "pocket" / "checkpoint"


@dataclass(frozen=True)
class CatalogueEntry:
    """A checkpoint or scorer on the hubs: its name, the files that are needed, their bytes, the licence.

    ids: what it is called on the hubs where it has another name.
    """

    name: str
    ids: Mapping[HubName, str]
    patterns: tuple[str, ...]
    bytes: int
    licence: str

    def request(self, hub: HubName) -> RepoRequest:
        """Say what to ask of a hub."""
        return RepoRequest(hub, "model", self.ids.get(hub, self.name), patterns=self.patterns, about=self.bytes)


KOLORS = CatalogueEntry(
    "Kwai-Kolors/Kolors",
    {},
    (
        "text_encoder/*.json",
        "text_encoder/pytorch_model-*.bin",
        "text_encoder/tokenizer.model",
        "text_encoder/vocab.txt",
        "unet/config.json",
        "unet/diffusion_pytorch_model.fp16.safetensors",
        "vae/config.json",
        "vae/diffusion_pytorch_model.fp16.safetensors",
        "scheduler/scheduler_config.json",
    ),
    17_820_000_000,
    "Apache-2.0 for research, registration for commercial use",
)
"""The fp16 files: 12.5 GB of text encoder, 5.2 of U-Net, 0.2 of VAE. The same in fp32 would be 7.9 GB more."""
CLIP = CatalogueEntry(
    "openai/clip-vit-large-patch14",
    {"modelscope": "AI-ModelScope/clip-vit-large-patch14"},
    ("*.json", "merges.txt", "model.safetensors"),
    1_713_000_000,
    "MIT",
)
AESTHETICS = CatalogueEntry(
    "shunk031/aesthetics-predictor-v2-sac-logos-ava1-l14-linearMSE",
    {"modelscope": "AI-ModelScope/aesthetics-predictor-v2-sac-logos-ava1-l14-linearMSE"},
    ("*.json", "*.safetensors", "*.bin"),
    1_220_000_000,
    "Apache-2.0",
)
_SCORERS = {"aesthetics": AESTHETICS, "clip": CLIP}


PARTS = ("text_encoder", "unet", "vae", "scheduler")
"""The folders of a checkpoint that are loaded, in both layouts of Kolors: the original's and diffusers'."""


def loaded_files(paths: Iterable[str]) -> list[str]:
    """Choose, of a checkpoint folder's files, those that the loader may read; they alone are its identity.

    fp16 and fp32 weights both count: which are read depends on the machine. Of weights entry twice safetensors
    win, and pickles then do not count.
    """
    loaded = []
    for part, names in _by_folder(paths).items():
        if part in PARTS:
            configs = [name for name in names if name in ("config.json", "scheduler_config.json")]
            tokenizer = [name for name in names if part == "text_encoder" and name == "tokenizer.model"]
            loaded += [f"{part}/{name}" for name in (*configs, *tokenizer, *_weights(names))]
    return sorted(loaded)


def loaded_scorer_files(paths: Iterable[str]) -> list[str]:
    """Choose, of a scorer folder's files, those that the loader may read: configs, vocabulary and weights."""
    names = _by_folder(paths).get("", [])
    configs = [name for name in names if name.endswith((".json", ".txt"))]
    return sorted({*configs, *_weights(names)})


def _by_folder(paths: Iterable[str]) -> dict[str, list[str]]:
    """Group names by the folder that they are in; the folder itself is the empty string."""
    groups: dict[str, list[str]] = {}
    for path in paths:
        folder, _, name = path.rpartition("/")
        groups.setdefault(folder, []).append(name)
    return groups


def _weights(names: Sequence[str]) -> list[str]:
    """Choose a folder's weights and what lists their pieces, by the rules of ``kolora.models.weights``."""
    safe = fnmatch.filter(names, "*.safetensors.index*.json") + fnmatch.filter(names, "*.safetensors")
    # Pieces alone, without their index, are not read.
    if any(name.endswith(".json") or "-of-" not in name for name in safe):
        return safe
    return fnmatch.filter(names, "*.bin.index*.json") + fnmatch.filter(names, "*.bin")


def preferred_hub() -> HubName:
    """Choose the hub of the catalogue's downloads: KOLORA_HUB, else the first. Raises UsageError."""
    named = os.environ.get("KOLORA_HUB") or next(iter(HUBS))
    if named not in HUBS:
        choices = " or ".join(f"KOLORA_HUB={name}" for name in HUBS)
        raise UsageError(f"KOLORA_HUB is {named!r}", hint=choices)
    return HUBS[named].name


def find_in_cache(entry: CatalogueEntry, *, cache: Path, pins: Pins = NO_PINS) -> Path | None:
    """Find the folder of a catalogue entry: put there by hand, or downloaded from any hub; None where absent."""
    # Where machines have no network, the folder is copied here by hand.
    by_hand = cache / "models" / entry.name
    if is_folder(by_hand):
        return by_hand
    preferred = preferred_hub()
    for hub in sorted(HUBS.values(), key=lambda hub: hub.name != preferred):
        snapshot = Store(cache).find(entry.request(hub.name).pinned(pins))
        if snapshot is not None:
            return snapshot.folder
    return None


def entries_used(checkpoint: str, scorers: dict[str, str]) -> Iterator[CatalogueEntry]:
    """Name the catalogue entries that a story uses; scorers: "aesthetics" and "clip", each a name, "auto" or "off"."""
    if checkpoint == "kolors":
        yield KOLORS
    for kind, name in scorers.items():
        has_own = checkpoint == "pocket" or (checkpoint != "kolors" and is_folder(Path(checkpoint) / kind))
        if name == "auto" and not has_own:
            yield _SCORERS[kind]


def find_checkpoint(name: str, *, cache: Path, pins: Pins = NO_PINS) -> Path:
    """Find the folder of ``kolors``, ``pocket`` or a path; raises InputAbsent with where to put it."""
    if name == "pocket":
        return POCKET
    if name == "kolors":
        return _require_in_cache(KOLORS, cache, pins, key="model.checkpoint")
    folder = Path(name)
    if not is_folder(folder):
        raise InputAbsent(
            f"model.checkpoint is {name!r}, and there is no such folder",
            hint="give kolors, pocket, or a folder in the layout of Kwai-Kolors/Kolors",
        )
    return folder


def is_pocket(name: str, digest: str | None = None, files: Mapping[str, str] | None = None) -> bool:
    """Say whether a checkpoint is the small practice one, also as a copy under another name.

    digest: of what is loaded of it; files: the sha256 of each of its files. One with a file of pocket's U-Net is
    pocket, its config among them: training pocket further makes no Kolors of it.
    """
    if name == "pocket":
        return True
    pocket, own_files = _pocket()
    return digest == pocket or not _unet_files(files or {}).isdisjoint(_unet_files(own_files))


@functools.cache
def _pocket() -> tuple[str, Mapping[str, str]]:
    return identify_model(POCKET, parts=PARTS, choose=loaded_files)


def _unet_files(files: Mapping[str, str]) -> set[str]:
    return {sha256 for path, sha256 in files.items() if path.startswith("unet/")}


def refuse_damaged(request: RepoRequest, cache: Path) -> None:
    """Raise InputAbsent where what was downloaded for a request is there, and is no longer what came."""
    damaged = Store(cache).damaged(request)
    if damaged:
        more = f" and {len(damaged) - 1} more" if len(damaged) > 1 else ""
        raise InputAbsent(
            f"{damaged[0]}{more} of {request.id} in the cache {cache} is damaged or gone, and nothing is downloaded "
            "here",
            hint="kolora fetch STORY downloads it again",
        )


def find_scorer(name: str, *, kind: str, checkpoint: Path, cache: Path, pins: Pins = NO_PINS) -> Path | None:
    """Find the folder of a scorer; None where it is off.

    kind: "aesthetics" or "clip". "auto" takes the one inside the checkpoint's folder, else the catalogue's.
    """
    if name == "off":
        return None
    if name != "auto":
        folder = Path(name)
        if not is_folder(folder):
            raise InputAbsent(
                f"scores.{kind} is {name!r}, and there is no such folder", hint="give auto, off, or a folder"
            )
        return folder
    own = checkpoint / kind
    return own if is_folder(own) else _require_in_cache(_SCORERS[kind], cache, pins, key=f"scores.{kind}")


def _require_in_cache(entry: CatalogueEntry, cache: Path, pins: Pins, *, key: str) -> Path:
    folder = find_in_cache(entry, cache=cache, pins=pins)
    if folder is None:
        for request in (entry.request(hub.name).pinned(pins) for hub in HUBS.values()):
            refuse_damaged(request, cache)
        off = ", or to off" if key.startswith("scores") else ""
        raise InputAbsent(
            f"{entry.name} is not in the cache {cache}, and nothing is downloaded here",
            hint=f"kolora fetch STORY downloads it; or set {key} to the folder it is in{off}",
        )
    return folder
