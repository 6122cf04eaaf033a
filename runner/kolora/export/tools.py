"""A run's LoRA, and its scenes as graphs, in a folder laid out as the tool that loads them expects."""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path

from kolora.errors import InputAbsent, StoryInvalid
from kolora.export.finished import FinishedRun
from kolora.export.place import ExportFolder, claim_export
from kolora.folders import Folder, NotPlain
from kolora.rendering.comfyui import graph_of
from kolora.runfolder.layout import LORAS, STORY

TOOLS = ("diffusers", "kohya", "diffsynth", "comfyui")


def export_for(tool: str, run: FinishedRun, *, into: Path) -> tuple[Path, ...]:
    """Write what ``tool`` loads into a folder; returns the files' paths.

    diffusers: the file that ``load_lora_weights(folder)`` finds. kohya, diffsynth: one file named after the story.
    comfyui: the LoRA where ComfyUI looks for it, and a graph for each scene and for the whole story, in the API form.
    """
    owned = claim_export(into, run=run.root)
    if tool != "comfyui":
        name = Path(LORAS["diffusers"]).name if tool == "diffusers" else f"{run.story.name}.safetensors"
        return (_copy(run, LORAS[tool], owned, name),)
    if run.lora is None:
        raise StoryInvalid(
            f"the pictures in {run.root} were drawn without a LoRA, or their record cannot be read",
            hint=f"kolora run {run.root / STORY} -o {run.root} --fresh",
        )
    name = f"{run.lora}.safetensors"
    scenes = {scene.number: scene for scene in run.scenes}
    graphs = {f"{number:02d}.json": {number: scene} for number, scene in scenes.items()} | {"story.json": scenes}
    for path, drawn in graphs.items():
        text = json.dumps(graph_of(drawn, lora=name), ensure_ascii=False, indent=1) + "\n"
        owned.write_text(path, text)
    lora = _copy(run, LORAS["kohya"], owned, f"models/loras/{name}")
    return (lora, *(into / path for path in graphs))


def _copy(run: FinishedRun, name: str, owned: ExportFolder, target: str) -> Path:
    """Copy a file of the run's, no link followed: else another file of this machine would be handed on as its LoRA."""
    with contextlib.ExitStack() as opened:
        try:
            source = opened.enter_context(Folder.open(run.root).opened(name))
        except (FileNotFoundError, NotPlain) as problem:
            again = f"kolora run {run.root / STORY} -o {run.root}"
            raise InputAbsent(f"{name} of {run.root} cannot be read: {problem.strerror}", hint=again) from problem
        shutil.copyfileobj(source, opened.enter_context(owned.replacing(target)))
    return owned.folder.path / target
