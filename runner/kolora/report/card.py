"""What makes report.md a model card: the front matter that hubs read."""

from __future__ import annotations

from typing import Any

from kolora.report.data import ReportData
from kolora.report.sections.usage import KOLORS_REPO, is_kolors

TEXT_LETTERS = 300


def card_metadata(data: ReportData) -> dict[str, Any]:
    """Return what Hugging Face (base_model, widget, ...) and ModelScope (frameworks, tasks) read of a model card.

    A licence is not among it: that is for whoever owns the pictures to say.
    """
    drawn_by_kolors = is_kolors(data)
    base = {"base_model": KOLORS_REPO, "base_model_relation": "adapter"} if drawn_by_kolors else {}
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
            *(["practice"] if data.practice else []),
        ],
        "frameworks": ["Pytorch"],
        "tasks": ["text-to-image-synthesis"],
        **({"widget": pictures} if pictures else {}),
    }
