"""A scene as A1111 writes its settings into a picture."""

from __future__ import annotations

import re

from kolora.rendering.comfyui import SceneSettings
from kolora.samplers import SAMPLERS

# A1111 takes blanks from both ends of a line before it looks how it begins.
_HEADS = re.compile(r"^([^\S\n]*(?:Negative prompt|Steps)):", re.MULTILINE)
_NETWORK = re.compile(r"<(?=\w+:)")


def parameters_of(scene: SceneSettings, *, lora: str | None, checkpoint: str) -> str:
    """Tell prompt, negative prompt and settings in A1111's three-part text.

    lora: name of the LoRA without its ending. checkpoint: sha256, of which ten digits are told.
    """
    # A1111 reads a LoRA and its strength from the prompt's own text.
    prompt = escape(scene.prompt)
    prompt = prompt if lora is None else f"{prompt} <lora:{lora}:{scene.lora_scale:g}>"
    sampler = SAMPLERS[scene.scheduler].a1111
    settings = (
        f"Steps: {scene.steps}, Sampler: {sampler}, CFG scale: {scene.guidance_scale:g}, Seed: {scene.seed}, "
        f"Size: {scene.width}x{scene.height}, Model hash: {checkpoint[:10]}, Model: Kolors"
    )
    return "\n".join([prompt, f"Negative prompt: {escape(scene.negative_prompt)}", settings])


def escape(prompt: str) -> str:
    """Keep A1111 from reading a prompt's own lines as the text's other parts, and its words as networks to load.

    The format has no escape. So a colon after ``Negative prompt`` or ``Steps`` at the beginning of a line, and a ``<``
    as before ``lora:``, get their full-width twins, which mean the same to a reader and to ChatGLM3. Line breaks stay;
    A1111 drops the blanks at both ends of a line, and empty lines at the beginning.
    """
    return _NETWORK.sub("＜", _HEADS.sub(r"\1：", prompt))
