"""The full state of a training run on disk: a kill at any moment costs only the steps since the last save."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from kolora.files import write_bytes


@dataclass(frozen=True)
class State:
    """What the next step depends on, besides the story: tensors and numbers by name, and the losses so far."""

    step: int
    tensors: dict[str, torch.Tensor]
    numbers: dict[str, float]
    losses: tuple[float, ...]


def write_state(folder: Path, state: State) -> None:
    """Write the state so that a reader finds the old one or the new one, whole."""
    metadata = {
        "step": str(state.step),
        "numbers": json.dumps(state.numbers),
        "losses": json.dumps(state.losses),
    }
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.tensors.items()}
    write_bytes(folder / "state.safetensors", save(tensors, metadata))


def read_state(folder: Path) -> State | None:
    """Read the state, or None where there is none; a torn one counts as none."""
    path = folder / "state.safetensors"
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - the file object is no dict
    except SafetensorError:
        return None
    numbers, losses = (json.loads(metadata[name]) for name in ("numbers", "losses"))
    return State(int(metadata["step"]), tensors, numbers, tuple(losses))
