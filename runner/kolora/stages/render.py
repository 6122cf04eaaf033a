"""Render: one scene, from its prompt embeddings and the LoRA, or without one to compare."""

from __future__ import annotations

import json

from kolora.inputs import LoraFile
from kolora.spec.story import Frozen
from kolora.stages import Facts, Job
from kolora.stages.convert import lora_file, lora_name

VERSION = 4


class Part(Frozen):
    """What rendering may see: neither the scene's place in the story nor its title, which change no pixel."""

    checkpoint: str
    dtype: str
    prompt: str
    negative_prompt: str
    seed: int
    width: int
    height: int
    steps: int
    guidance_scale: float
    lora_scale: float
    scheduler: str
    lora: LoraFile | None = None


def run(part: Part, job: Job) -> Facts:
    """Denoise and decode the scene; the PNG says in its text chunks what it shows and how it was made.

    It says so to kolora's own reader, and to ComfyUI (``prompt``) and A1111 (``parameters``) in their words.
    """
    from kolora.models.pixels import to_picture
    from kolora.models.prompt_embeds import read_prompt_embeds
    from kolora.rendering.a1111 import parameters_of
    from kolora.rendering.comfyui import graph_of
    from kolora.rendering.denoise import denoise
    from kolora.rendering.pictures import png_bytes

    checkpoint = job.checkpoint()
    (condition,) = (folder for name, folder in job.inputs.items() if name.startswith("condition"))
    lora = lora_file(part.lora, job)
    latents = denoise(
        checkpoint.predictor(lora=lora, strength=part.lora_scale),
        checkpoint.schedule(),
        read_prompt_embeds(condition / "prompt_embeds.safetensors", device=checkpoint.device),
        seed=part.seed,
        height=part.height,
        width=part.width,
        steps=part.steps,
        guidance_scale=part.guidance_scale,
        tick=job.tick,
    )
    name = lora_name(part.lora, lora) if lora else None
    facts = part.model_dump(mode="json", exclude={"dtype", "lora"}) | {"lora": name}
    texts = {f"kolora.{key}": str(value) for key, value in facts.items() if value is not None}
    graph = graph_of({1: part}, lora=name and f"{name}.safetensors")
    plain = {"prompt": json.dumps(graph), "parameters": parameters_of(part, lora=name, checkpoint=part.checkpoint)}
    (job.folder / "image.png").write_bytes(png_bytes(to_picture(checkpoint.decode(latents)), texts, plain=plain))
    return facts
