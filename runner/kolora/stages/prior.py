"""Prior: pictures of a whole class, drawn by the checkpoint itself, so that training does not forget it."""

from __future__ import annotations

from kolora.spec.story import Frozen
from kolora.stages import Facts, Job

VERSION = 2


class Prior(Frozen):
    """The part of ``lora`` that the pictures depend on."""

    count: int
    seed: int
    resolution: int


class Render(Frozen):
    """The part of ``render`` that they depend on."""

    steps: int
    guidance_scale: float
    scheduler: str


class Part(Frozen):
    """What drawing them may see; the prompts come as embeds."""

    checkpoint: str
    dtype: str
    lora: Prior
    render: Render


def run(part: Part, job: Job) -> Facts:
    """Draw the pictures, and keep them as a training set of one caption; PNG files show them."""
    import torch

    from kolora.models.pixels import to_picture
    from kolora.models.prompt_embeds import read_prompt_embeds
    from kolora.rendering.pictures import png_bytes
    from kolora.rendering.prior import draw_prior
    from kolora.training.examples import Bucket, Examples, write_examples

    checkpoint = job.checkpoint()
    (condition,) = job.inputs.values()
    embeds = read_prompt_embeds(condition / "prompt_embeds.safetensors", device=checkpoint.device)
    latents = draw_prior(
        checkpoint.predictor(),
        checkpoint.schedule(),
        embeds,
        count=part.lora.count,
        seed=part.lora.seed,
        side=part.lora.resolution,
        steps=part.render.steps,
        guidance_scale=part.render.guidance_scale,
        state=job.state,
        tick=job.tick,
    )
    checkpoint.release("unet")
    folder = job.folder / "pictures"
    folder.mkdir()
    for number, each in enumerate(latents, 1):
        picture = to_picture(checkpoint.decode(each[None]))
        (folder / f"{number:04d}.png").write_bytes(png_bytes(picture, {"kolora.checkpoint": part.checkpoint}))
    prompt = embeds.rows(slice(1))
    bucket = Bucket(latents[:, None], torch.zeros(len(latents), dtype=torch.long))
    write_examples(job.folder / "examples.safetensors", Examples(prompt, (bucket,)))
    return {"pictures": len(latents), "side": part.lora.resolution}
