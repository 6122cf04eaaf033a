"""Render: one scene, from its conditioning and the LoRA, or without one to compare."""

from __future__ import annotations

from runner.spec.story import Frozen
from runner.stages import Facts, Job

VERSION = 2


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


def run(part: Part, job: Job) -> Facts:
    """Denoise and decode the scene; the PNG says in its text chunks what it shows and how it was made."""
    from runner.models.conditioning import read_conditioning
    from runner.models.pixels import to_picture
    from runner.rendering.denoise import denoise
    from runner.rendering.pictures import png_bytes

    parts = job.parts()
    (condition,) = (folder for name, folder in job.inputs.items() if name.startswith("condition"))
    trained = job.inputs.get("train")
    latents = denoise(
        parts.predictor(lora=trained and trained / "lora.safetensors", strength=part.lora_scale),
        parts.schedule(),
        read_conditioning(condition / "conditioning.safetensors", device=parts.device),
        seed=part.seed,
        height=part.height,
        width=part.width,
        steps=part.steps,
        guidance_scale=part.guidance_scale,
        tick=job.tick,
    )
    facts = part.model_dump(mode="json", exclude={"dtype"})
    texts = {f"kolora.{key}": str(value) for key, value in facts.items()}
    (job.folder / "image.png").write_bytes(png_bytes(to_picture(parts.decode(latents)), texts))
    return facts
