"""A run's LoRA, and its scenes as graphs, in a folder laid out as the tool that loads them expects."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from kolora.errors import StoryInvalid
from kolora.export.finished import FinishedRun
from kolora.files import replacing, write_text
from kolora.rendering.comfyui import graph_of

TOOLS = ("diffusers", "kohya", "diffsynth", "comfyui")


def export_for(tool: str, run: FinishedRun, *, into: Path) -> tuple[Path, ...]:
    """Write what ``tool`` loads into a folder; returns the files' paths.

    diffusers: the file that ``load_lora_weights(folder)`` finds. kohya, diffsynth: one file named after the story.
    comfyui: the LoRA where ComfyUI looks for it, and a graph for each scene and for the whole story, in the API form.
    """
    lora = run.root / "lora"
    if tool == "diffusers":
        name = "pytorch_lora_weights.safetensors"
        return (_copy(lora / name, into / name),)
    if tool != "comfyui":
        return (_copy(lora / f"{tool}.safetensors", into / f"{run.story.name}.safetensors"),)
    if run.lora is None:
        raise StoryInvalid(
            f"the pictures in {run.root} were drawn without a LoRA, or their record cannot be read",
            hint=f"kolora run {run.root / 'story.yaml'} -o {run.root} --fresh",
        )
    name = f"{run.lora}.safetensors"
    scenes = {scene.number: scene for scene in run.scenes}
    graphs = {f"{number:02d}.json": {number: scene} for number, scene in scenes.items()} | {"story.json": scenes}
    for path, drawn in graphs.items():
        text = json.dumps(graph_of(drawn, lora=name), ensure_ascii=False, indent=1) + "\n"
        write_text(into / path, text)
    return (_copy(lora / "kohya.safetensors", into / "models" / "loras" / name), *(into / path for path in graphs))


def _copy(source: Path, target: Path) -> Path:
    with replacing(target) as temporary:
        shutil.copyfile(source, temporary)
    return target
