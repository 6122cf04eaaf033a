"""The section `scenes`: one picture of the story, as it is written, as it is drawn, and as training samples it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from kolora.spec.types import Frozen, Guidance, Prompt, Seed, Side, Steps, Strength, Text, Title


class Scene(Frozen):
    """One picture of the story."""

    prompt: Prompt
    """What the picture shows."""

    title: Title = ""
    """Caption in the report."""

    negative_prompt: Text | None = None
    """What this picture should not be; none means as in `render`."""

    seed: Seed | None = None
    """Seed of this picture's first noise; none means as in `render`."""

    width: Side | None = None
    """Width in pixels; none means as in `render`."""

    height: Side | None = None
    """Height in pixels; none means as in `render`."""

    steps: Steps | None = None
    """Denoising steps; none means as in `render`."""

    guidance_scale: Guidance | None = None
    """How hard the prompt pulls; none means as in `render`."""

    lora_scale: Strength | None = None
    """Strength of the LoRA; none means as in `render`."""


class ResolvedScene(Frozen):
    """One picture with every value filled in: the scene's own, else that of `render`."""

    number: Annotated[int, Field(ge=1)]
    """The scene's place in the story, from 1."""

    title: str
    """Caption in the report."""

    prompt: str
    """What the picture shows."""

    negative_prompt: str
    """What it should not be."""

    seed: int
    """Seed of the first noise."""

    width: int
    """Width in pixels."""

    height: int
    """Height in pixels."""

    steps: int
    """Denoising steps."""

    guidance_scale: float
    """How hard the prompt pulls."""

    lora_scale: float
    """Strength of the LoRA."""

    scheduler: str
    """Sampler."""


class SampleScene(Frozen):
    """What a sample picture needs of its scene; its prompts come as prompt embeddings."""

    number: int
    """The scene's place in the story, from 1."""

    seed: int
    """Seed of the first noise."""

    width: int
    """Width in pixels."""

    height: int
    """Height in pixels."""

    steps: int
    """Denoising steps."""

    guidance_scale: float
    """How hard the prompt pulls."""

    scheduler: str = "ddim"
    """Sampler."""

    @classmethod
    def of(cls, scene: ResolvedScene) -> SampleScene:
        """Take from a scene what its sample pictures need."""
        return cls(**scene.model_dump(include=set(cls.model_fields)))
