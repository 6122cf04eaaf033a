"""Export LoRA: the story's LoRA, trained here or given, in the files that other tools load."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from kolora.errors import InputAbsent
from kolora.inputs import Inputs, LoraFile
from kolora.names import is_sha256, printable
from kolora.spec import Story
from kolora.spec.types import Frozen
from kolora.stages.contract import Job, StageFacts, Step

if TYPE_CHECKING:
    from kolora.models.lora import Ecosystem

VERSION = 2
"""2: neither the story's title nor its team is in the files, so that two equal stories have one LoRA."""

FILES: dict[Ecosystem, str] = {
    "diffsynth": "diffsynth.safetensors",
    "diffusers": "pytorch_lora_weights.safetensors",
    "kohya": "kohya.safetensors",
}
"""Each ecosystem's file; diffusers looks for this very name in a folder, ComfyUI and A1111 read kohya's."""

_IMPLEMENTATIONS = {"diffsynth": "DiffSynth-Studio", "diffusers": "diffusers", "kohya": "sd-scripts"}


class Config(Frozen):
    """All that decides the files' bytes besides the weights; resolution: of the training pictures, in pixels."""

    checkpoint: str
    lora: LoraFile | None = None
    resolution: int | None = None


class Facts(StageFacts):
    """The LoRA's size, and whether it was given and not trained here."""

    modules: int
    rank: int
    given: bool


def steps(story: Story, inputs: Inputs) -> Iterator[Step]:
    """One step, from the training where there is one."""
    is_trained = story.training_set is not None
    # Of a LoRA that was given nobody here knows at which size it was trained.
    resolution = story.lora.resolution if is_trained else None
    config = Config(checkpoint=inputs.checkpoint, lora=inputs.lora, resolution=resolution)
    yield Step("export_lora", config, needs=(("train", None),) if is_trained else ())


def lora_file(own_lora: LoraFile | None, job: Job) -> Path | None:
    """Find the LoRA a step is to use: the story's own (``render.lora``), else the one that was trained, if any."""
    if own_lora is not None:
        return own_lora.path
    train_folders = job.inputs_of("train")
    return train_folders[0] / "lora.safetensors" if train_folders else None


def lora_name(own_lora: LoraFile | None, path: Path) -> str:
    """Name a LoRA for tools that keep many in one folder, by its content."""
    from kolora.models.lora import HASH, read_metadata

    digest = own_lora.digest if own_lora else read_metadata(path).get(HASH, "").removeprefix("0x")
    if not is_sha256(digest):
        raise InputAbsent(
            f"the header of {path.name} has '{printable(digest)}' for the sha256 of its weights",
            hint="--fresh trains it again",
        )
    return f"kolora-{digest[:8]}"


def run(config: Config, job: Job) -> Facts:
    """Write the LoRA by each ecosystem's conventions, with what it is in the header."""
    from kolora.models.lora import lora_bytes, read_lora, read_metadata

    path = lora_file(config.lora, job)
    assert path is not None
    weights = read_lora(path)
    rank = max(down.shape[0] for down, _ in weights.pairs.values())
    description = _description(config, read_metadata(path))
    for done, (ecosystem, name) in enumerate(FILES.items(), 1):
        metadata = description | {"modelspec.implementation": _IMPLEMENTATIONS[ecosystem]}
        if ecosystem == "kohya":
            # kohya's readers scale by alpha / dim; the scale is in the weights by now, so that the two are equal.
            metadata |= {
                "ss_network_module": "networks.lora",
                "ss_network_dim": str(rank),
                "ss_network_alpha": str(rank),
            }
        (job.folder / name).write_bytes(lora_bytes(weights, metadata=metadata, ecosystem=ecosystem))
        job.tick(done, len(FILES))
    return Facts(modules=len(weights.pairs), rank=rank, given=config.lora is not None)


def _description(config: Config, header: dict[str, str]) -> dict[str, str]:
    """Say in a file's header what it is (modelspec 1.0.0) and how it was trained; header: of the LoRA as it came."""
    if config.lora is not None:
        origin = {"kolora.lora": config.lora.digest}
    else:
        origin = {key: value for key, value in header.items() if key.startswith("kolora.")}
    size = {"modelspec.resolution": f"{config.resolution}x{config.resolution}"} if config.resolution else {}
    return {
        **origin,
        "kolora.checkpoint": config.checkpoint,
        "modelspec.sai_model_spec": "1.0.0",
        "modelspec.architecture": "kolors/lora",
        "modelspec.prediction_type": "epsilon",
        **size,
    }
