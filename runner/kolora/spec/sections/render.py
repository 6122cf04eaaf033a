"""The section `render`: how all scenes are drawn."""

from __future__ import annotations

from kolora.spec.types import Frozen, Guidance, PathOrName, SamplerName, Seed, Side, Steps, Strength, Text

_NEGATIVE_PROMPT = "丑陋，变形，嘈杂，模糊，低对比度"
"""Ugly, deformed, noisy, blurry, low contrast: the one that contestants' notebook uses."""


class Render(Frozen):
    """How the scenes are drawn; each scene may say otherwise."""

    width: Side = 1024
    """Width of a picture, in pixels."""

    height: Side = 1024
    """Height of a picture, in pixels."""

    steps: Steps = 50
    """Denoising steps."""

    guidance_scale: Guidance = 4.0
    """How hard the prompt pulls; 1 means no guidance."""

    negative_prompt: Text = _NEGATIVE_PROMPT
    """What the pictures should not be."""

    seed: Seed = 0
    """Seed of the first noise, for scenes without their own."""

    lora_scale: Strength = 1.0
    """Strength of the LoRA: 0 is none of it, 1 is as trained."""

    scheduler: SamplerName = "ddim"
    """Sampler: `ddim` is DiffSynth's own, evenly spaced from the last training timestep to 0."""

    lora: PathOrName | None = None
    """A LoRA file to draw with (DiffSynth's, diffusers' or kohya's safetensors); then nothing is trained here."""
