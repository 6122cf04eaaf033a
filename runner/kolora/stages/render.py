"""Render: one scene, from its prompt embeddings and the LoRA, becomes a picture that says how it was made."""

from __future__ import annotations

import json
from collections.abc import Iterator

from kolora.inputs import Inputs, LoraFile
from kolora.spec import ResolvedScene, Story
from kolora.spec.types import Frozen
from kolora.stages.contract import Job, Key, StageFacts, Step
from kolora.stages.encode_prompt import FILE
from kolora.stages.export_lora import lora_file, lora_name

VERSION = 5
"""2: predictions captured as CUDA graphs.
3: the LoRA's name in the text chunks.
4: kernels that add in another order, so other last bits on a GPU.
5: the checkpoint's digest covers what is loaded of it, and the text chunks say that digest."""
SECTION = "render"
IMAGE = "image.png"
"""The picture, in the step's folder."""
MEMORY_KEYS = "render.width and height"


class Config(Frozen):
    """All that decides the pixels of a scene. Its title and place in the story are not here: they change no pixel."""

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


class Facts(StageFacts):
    """What a picture shows and how it was made; ``lora`` is the name of the LoRA's file, without its ending."""

    checkpoint: str
    prompt: str
    negative_prompt: str
    seed: int
    width: int
    height: int
    steps: int
    guidance_scale: float
    lora_scale: float
    scheduler: str
    lora: str | None = None


def steps(story: Story, inputs: Inputs) -> Iterator[Step]:
    """One step a scene, from its prompt embeddings and, where one is trained, the LoRA."""
    train_keys: tuple[Key, ...] = (("train", None),) if story.training_set is not None else ()
    for scene in story.resolved_scenes():
        config = config_of(scene, checkpoint=inputs.checkpoint, dtype=story.model.dtype, lora=inputs.lora)
        needs = (("encode_prompt", scene.number), *train_keys)
        yield Step("render", config, scene=scene.number, needs=needs)


def config_of(scene: ResolvedScene, *, checkpoint: str, dtype: str, lora: LoraFile | None) -> Config:
    """Return the config of a scene."""
    values = scene.model_dump(include=set(Config.model_fields))
    return Config(checkpoint=checkpoint, dtype=dtype, lora=lora, **values)


def run(config: Config, job: Job) -> Facts:
    """Denoise and decode the scene, write ``image.png``.

    Its text chunks tell kolora's own reader, ComfyUI (``prompt``) and A1111 (``parameters``) how it was made.
    """
    from kolora.models.pixels import to_picture
    from kolora.models.prompt_embeds import read_prompt_embeds
    from kolora.rendering.a1111 import parameters_of
    from kolora.rendering.comfyui import graph_of
    from kolora.rendering.denoise import denoise
    from kolora.rendering.pictures import png_bytes

    checkpoint = job.checkpoint()
    (embeds_folder,) = job.inputs_of("encode_prompt")
    lora = lora_file(config.lora, job)
    latents = denoise(
        checkpoint.predictor(lora=lora, strength=config.lora_scale),
        checkpoint.schedule(),
        read_prompt_embeds(embeds_folder / FILE, device=checkpoint.device),
        seed=config.seed,
        height=config.height,
        width=config.width,
        steps=config.steps,
        guidance_scale=config.guidance_scale,
        tick=job.tick,
        sampler=config.scheduler,
    )
    name = lora_name(config.lora, lora) if lora else None
    facts = Facts(**config.model_dump(exclude={"dtype", "lora"}), lora=name)
    texts = {f"kolora.{key}": str(value) for key, value in facts.model_dump(exclude_none=True).items()}
    graph = graph_of({1: config}, lora=name and f"{name}.safetensors")
    plain_texts = {
        "prompt": json.dumps(graph),
        "parameters": parameters_of(config, lora=name, checkpoint=config.checkpoint),
    }
    (job.folder / IMAGE).write_bytes(png_bytes(to_picture(checkpoint.decode(latents)), texts, plain=plain_texts))
    return facts
