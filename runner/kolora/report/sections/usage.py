"""How to load the LoRA: for the model card, which is report.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kolora.report.section import no_picture_groups
from kolora.report.values import ReportModel, Words
from kolora.runfolder.reader import RunReader

if TYPE_CHECKING:
    from kolora.report.data import ReportData

NAME = "usage"
IS_LISTED = False
picture_groups = no_picture_groups
KOLORS_REPO = "Kwai-Kolors/Kolors"
"""The name of the published checkpoint, the same on both hubs."""


class Fields(ReportModel):
    """Nothing of its own: scenes and LoRA say it all."""


def gather(_reader: RunReader) -> Fields:
    """Read nothing."""
    return Fields()


def scope(report: ReportData, _words: Mapping[str, str]) -> Mapping[str, Any]:
    """Give the templates the lines of Python, null where Kolors drew nothing."""
    return {"usage": usage_code(report)}


def usage_code(data: ReportData) -> str | None:
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
    arguments = "".join(f"    {key}={value!r},\n" for key, value in settings.items() if value is not None)
    return f"""import torch
from diffusers import KolorsPipeline

pipe = KolorsPipeline.from_pretrained("{KOLORS_REPO}-diffusers", torch_dtype=torch.float16, variant="fp16").to("cuda")
pipe.load_lora_weights({folder!r}, weight_name={name!r}, adapter_name="story")
pipe.set_adapters("story", {scene.settings.lora_scale})
image = pipe(
    {scene.prompt!r},
{arguments}    generator=torch.Generator().manual_seed({scene.seed}),
).images[0]"""


def is_kolors(data: ReportData) -> bool:
    """Say whether a checkpoint of that name drew the pictures, and not a copy of pocket under it."""
    return bool(data.checkpoint and data.checkpoint.name.lower().startswith("kolors") and not data.practice)


WORDS: Words = {
    "en": {
        "usage": "Use the LoRA",
        "usage_note": "diffusers draws with another noise schedule than kolora, so its pictures differ at the same "
        "seed.",
    },
    "zh": {
        "usage": "使用 LoRA",
        "usage_note": "diffusers 的噪声调度与 kolora 不同，同一种子画出的图会有差别。",
    },
}
