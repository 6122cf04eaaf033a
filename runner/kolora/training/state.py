"""The full state of a training run on disk: a kill at any moment costs only the steps since the last save."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load, save

from kolora.saved import SAVED, read_saved, write_saved

FILE = f"training{SAVED}"


@dataclass(frozen=True)
class State:
    """What the next step depends on, besides the story: tensors and numbers by name, and the losses so far."""

    step: int
    tensors: dict[str, torch.Tensor]
    numbers: dict[str, float]
    losses: tuple[float, ...]


def write_state(folder: Path, state: State, *, of: str = "") -> None:
    """Write the state so that a reader finds the old one or the new one, whole; of: the digest of the step."""
    metadata = {
        "step": str(state.step),
        "numbers": json.dumps(state.numbers),
        "losses": json.dumps(state.losses),
    }
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.tensors.items()}
    write_saved(folder / FILE, save(tensors, metadata), of=of)


def read_state(folder: Path, *, of: str = "") -> State | None:
    """Read the state of a step, or None where there is none; raises StateDamaged for one that is not what was saved."""
    content = read_saved(folder / FILE, of=of)
    if content is None:
        return None
    metadata = _metadata(content)
    numbers, losses = (json.loads(metadata[name]) for name in ("numbers", "losses"))
    return State(int(metadata["step"]), load(content), numbers, tuple(losses))


def _metadata(content: bytes) -> dict[str, str]:
    """Read the strings in a safetensors file's header; its reader of bytes gives the tensors alone."""
    length = int.from_bytes(content[:8], "little")
    metadata: dict[str, str] = json.loads(content[8 : 8 + length])["__metadata__"]
    return metadata
