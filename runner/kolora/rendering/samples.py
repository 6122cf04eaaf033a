"""Pictures drawn while a LoRA is trained: the same scenes from the same noise every time, so that they compare."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from kolora.models.pixels import to_picture
from kolora.models.predictor import Predictor
from kolora.models.prompt_embeds import PromptEmbeds
from kolora.models.schedule import NoiseSchedule
from kolora.rendering.denoise import denoise
from kolora.rendering.pictures import png_bytes
from kolora.saved import SAVED, read_saved, write_saved
from kolora.spec.sections.scene import SampleScene


@dataclass(frozen=True)
class SampleRenderer:
    """Draws each scene with the U-Net as it is. What is drawn already is left alone: it would be the same.

    scenes: each with its prompt embeddings, in any dtype, on the device that computes. use_graph: as Predictor has it.
    of: the digest of the step whose state the pictures are, until it is finished.
    """

    schedule: NoiseSchedule
    decode: Callable[[torch.Tensor], torch.Tensor]
    scenes: Sequence[tuple[SampleScene, PromptEmbeds]]
    folder: Path
    use_graph: bool = True
    of: str = ""

    def __call__(self, unet: nn.Module, step: int, tick: Callable[[], None]) -> None:
        """Draw what is not drawn yet; ``tick`` is called after every denoising step and may raise."""
        predictor = Predictor(unet, use_graph=self.use_graph)
        # Of the frozen weights: adapters are trained in float32, whatever the network computes in.
        dtype = next(parameter.dtype for parameter in unet.parameters() if not parameter.requires_grad)
        for scene, embeds in self.scenes:
            path = self.folder / sample_name(step, scene.number)
            if read_saved(path, of=self.of) is not None:
                continue
            latents = denoise(
                predictor,
                self.schedule,
                embeds.to(dtype=dtype),
                seed=scene.seed,
                height=scene.height,
                width=scene.width,
                steps=scene.steps,
                guidance_scale=scene.guidance_scale,
                tick=lambda *_: tick(),
                sampler=scene.scheduler,
            )
            texts = {"kolora.step": str(step), "kolora.scene": str(scene.number), "kolora.seed": str(scene.seed)}
            write_saved(path, png_bytes(to_picture(self.decode(latents)), texts), of=self.of)


def sample_name(step: int, scene: int) -> str:
    """Name the saved picture of a scene after a step: ``0050-01.saved``."""
    return f"{step:04d}-{scene:02d}{SAVED}"
