"""Convert: the story's LoRA, trained here or given, in the files that other tools load."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from kolora.inputs import LoraFile
from kolora.spec.story import Frozen
from kolora.stages import Facts, Job

if TYPE_CHECKING:
    from kolora.models.lora import Ecosystem

VERSION = 1

FILES: dict[Ecosystem, str] = {
    "diffsynth": "diffsynth.safetensors",
    "diffusers": "pytorch_lora_weights.safetensors",
    "kohya": "kohya.safetensors",
}
"""Each ecosystem's file; diffusers looks for this very name in a folder, ComfyUI and A1111 read kohya's."""

IMPLEMENTATIONS = {"diffsynth": "DiffSynth-Studio", "diffusers": "diffusers", "kohya": "sd-scripts"}


class Part(Frozen):
    """What converting may see. spec: digest of the step that trained the LoRA, and so of all that it was made of."""

    title: str
    author: str
    checkpoint: str
    lora: LoraFile | None = None
    spec: str | None = None
    resolution: int | None = None


def lora_file(given: LoraFile | None, job: Job) -> Path | None:
    """Find the LoRA a step is to use: the one given, else the one trained, if any."""
    if given is not None:
        return given.path
    trained = job.inputs.get("train")
    return trained / "lora.safetensors" if trained else None


def lora_name(given: LoraFile | None, path: Path) -> str:
    """Name a LoRA for tools that keep many in one folder, by its content."""
    from kolora.models.lora import HASH, read_metadata

    return f"kolora-{given.digest[:8] if given else read_metadata(path)[HASH].removeprefix('0x')[:8]}"


def run(part: Part, job: Job) -> Facts:
    """Write the LoRA by each ecosystem's conventions, with what it is in the header."""
    from kolora.models.lora import lora_bytes, read_lora, read_metadata

    path = lora_file(part.lora, job)
    assert path is not None
    weights = read_lora(path)
    ranks = sorted({down.shape[0] for down, _ in weights.pairs.values()})
    origin = {"kolora.lora": part.lora.digest} if part.lora else {"kolora.spec": str(part.spec)}
    told = {key: value for key, value in read_metadata(path).items() if part.lora is None and key.startswith("kolora.")}
    about = {
        "modelspec.sai_model_spec": "1.0.0",
        "modelspec.architecture": "kolors/lora",
        "modelspec.title": part.title,
        "modelspec.prediction_type": "epsilon",
        **({"modelspec.author": part.author} if part.author else {}),
        **({"modelspec.resolution": f"{part.resolution}x{part.resolution}"} if part.resolution else {}),
    }
    for done, (ecosystem, name) in enumerate(FILES.items(), 1):
        metadata = {**told, **origin, "kolora.checkpoint": part.checkpoint, **about}
        metadata["modelspec.implementation"] = IMPLEMENTATIONS[ecosystem]
        if ecosystem == "kohya":
            rank = str(ranks[-1])
            metadata |= {"ss_network_module": "networks.lora", "ss_network_dim": rank, "ss_network_alpha": rank}
        (job.folder / name).write_bytes(lora_bytes(weights, metadata=metadata, ecosystem=ecosystem))
        job.tick(done, len(FILES))
    return {"modules": len(weights.pairs), "rank": ranks[-1], "given": part.lora is not None}
