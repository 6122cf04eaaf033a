"""The front matter of report.md: what model hubs read of a model card."""

from __future__ import annotations

from typing import Any

from runner.report.data import ReportData

KOLORS = "Kwai-Kolors/Kolors"
"""The name of the published checkpoint, the same on both hubs."""
TEXT_LETTERS = 300


def card_metadata(data: ReportData) -> dict[str, Any]:
    """Return what Hugging Face (base_model, widget, ...) and ModelScope (frameworks, tasks) read of a model card.

    A licence is not among it: that is for whoever owns the pictures to say.
    """
    name = data.checkpoint.name if data.checkpoint else ""
    is_kolors = name.lower().startswith("kolors")
    base = {"base_model": KOLORS, "base_model_relation": "adapter"} if is_kolors else {}
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
        "tags": ["text-to-image", "lora", "diffusers", *(["kolors", "template:diffusion-lora"] if is_kolors else [])],
        "frameworks": ["Pytorch"],
        "tasks": ["text-to-image-synthesis"],
        **({"widget": pictures} if pictures else {}),
    }
