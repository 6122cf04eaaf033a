"""A scene as A1111 writes its settings into a picture."""

from __future__ import annotations

from kolora.rendering.comfyui import SceneSettings
from kolora.samplers import SAMPLERS


def parameters_of(scene: SceneSettings, *, lora: str | None, checkpoint: str) -> str:
    """Tell prompt, negative prompt and settings in A1111's three-part text.

    lora: name of the LoRA without its ending. checkpoint: sha256, of which ten digits are told.
    """
    # A1111 reads a LoRA and its strength from the prompt's own text.
    prompt = scene.prompt if lora is None else f"{scene.prompt} <lora:{lora}:{scene.lora_scale:g}>"
    sampler = SAMPLERS[scene.scheduler].a1111
    settings = (
        f"Steps: {scene.steps}, Sampler: {sampler}, CFG scale: {scene.guidance_scale:g}, Seed: {scene.seed}, "
        f"Size: {scene.width}x{scene.height}, Model hash: {checkpoint[:10]}, Model: Kolors"
    )
    return "\n".join([prompt, f"Negative prompt: {scene.negative_prompt}", settings])
