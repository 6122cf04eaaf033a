"""What makes report.md a model card: the front matter that hubs read, and how to use the LoRA."""

from __future__ import annotations

from typing import Any

from kolora.report.data import ReportData

KOLORS = "Kwai-Kolors/Kolors"
"""The name of the published checkpoint, the same on both hubs."""
TEXT_LETTERS = 300


def usage(data: ReportData) -> str | None:
    """Return the few lines of Python that draw the first scene with the LoRA; None where Kolors did not draw it."""
    scene = next((scene for scene in data.scenes if scene.image and scene.prompt), None)
    if not (is_kolors(data) and data.again.lora and scene):
        return None
    folder, _, name = data.again.lora.rpartition("/")
    settings = {
        "negative_prompt": scene.negative_prompt,
        "num_inference_steps": scene.settings.steps,
        "guidance_scale": scene.settings.guidance_scale,
        "width": scene.settings.width,
        "height": scene.settings.height,
    }
    told = "".join(f"    {key}={value!r},\n" for key, value in settings.items() if value is not None)
    return f"""import torch
from diffusers import KolorsPipeline

pipe = KolorsPipeline.from_pretrained("{KOLORS}-diffusers", torch_dtype=torch.float16, variant="fp16").to("cuda")
pipe.load_lora_weights({folder!r}, weight_name={name!r}, adapter_name="story")
pipe.set_adapters("story", {scene.settings.lora_scale})
image = pipe(
    {scene.prompt!r},
{told}    generator=torch.Generator().manual_seed({scene.seed}),
).images[0]"""


def is_kolors(data: ReportData) -> bool:
    """Say whether a checkpoint of that name drew the pictures."""
    return bool(data.checkpoint and data.checkpoint.name.lower().startswith("kolors"))


def card_metadata(data: ReportData) -> dict[str, Any]:
    """Return what Hugging Face (base_model, widget, ...) and ModelScope (frameworks, tasks) read of a model card.

    A licence is not among it: that is for whoever owns the pictures to say.
    """
    drawn_by_kolors = is_kolors(data)
    base = {"base_model": KOLORS, "base_model_relation": "adapter"} if drawn_by_kolors else {}
    pictures = [
        {"text": " ".join((scene.prompt or "").split())[:TEXT_LETTERS], "output": {"url": scene.image}}
        for scene in data.scenes
        if scene.image
    ]
    return {
        "language": [data.language],
        **base,
        "library_name": "diffusers",
        "pipeline_tag": "text-to-image",
        "tags": [
            "text-to-image",
            "lora",
            "diffusers",
            *(["kolors", "template:diffusion-lora"] if drawn_by_kolors else []),
        ],
        "frameworks": ["Pytorch"],
        "tasks": ["text-to-image-synthesis"],
        **({"widget": pictures} if pictures else {}),
    }
