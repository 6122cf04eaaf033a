"""Prior: pictures of a whole class, drawn by the checkpoint itself, so that training does not forget it.

DreamBooth calls this prior preservation, and the pictures class images.
"""

from __future__ import annotations

from collections.abc import Iterator

from kolora.inputs import Inputs
from kolora.spec import Story
from kolora.spec.types import Frozen
from kolora.stages.contract import Job, StageFacts, Step
from kolora.stages.encode_prompt import FILE

VERSION = 2
"""2: kernels that add in another order, so other last bits on a GPU."""
SECTION = "lora"


class Config(Frozen):
    """All that decides the pictures, but for the prompt, which comes encoded. resolution: their side, in pixels."""

    checkpoint: str
    dtype: str
    count: int
    seed: int
    resolution: int
    steps: int
    guidance_scale: float
    scheduler: str = "ddim"


class Facts(StageFacts):
    """How many pictures were drawn, and their side in pixels."""

    pictures: int
    side: int


def steps(story: Story, inputs: Inputs) -> Iterator[Step]:
    """One step where the story trains with a prior."""
    prior = story.lora.prior
    if story.training_set is None or prior is None:
        return
    config = Config(
        checkpoint=inputs.checkpoint,
        dtype=story.model.dtype,
        count=prior.count,
        seed=story.lora.seed,
        resolution=story.lora.resolution,
        steps=story.render.steps,
        guidance_scale=story.render.guidance_scale,
        scheduler=story.render.scheduler,
    )
    yield Step("prior", config, needs=(("encode_prior", None),))


def run(config: Config, job: Job) -> Facts:
    """Draw the pictures, and keep them as a training set of one caption; PNG files show them."""
    import torch

    from kolora.models.pixels import to_picture
    from kolora.models.prompt_embeds import read_prompt_embeds
    from kolora.rendering.pictures import png_bytes
    from kolora.rendering.prior import draw_prior
    from kolora.training.examples import Bucket, Examples, write_examples

    checkpoint = job.checkpoint()
    embeds = read_prompt_embeds(job.input("encode_prior") / FILE, device=checkpoint.device)
    latents = draw_prior(
        checkpoint.predictor(),
        checkpoint.schedule(),
        embeds,
        count=config.count,
        seed=config.seed,
        side=config.resolution,
        steps=config.steps,
        guidance_scale=config.guidance_scale,
        sampler=config.scheduler,
        state=job.state,
        tick=job.tick,
        state_of=job.digest,
        notice=job.notice,
    )
    # All pictures are denoised before the first is decoded, so that U-Net and VAE are never in memory together.
    checkpoint.release("unet")
    folder = job.folder / "pictures"
    folder.mkdir()
    for number, each in enumerate(latents, 1):
        picture = to_picture(checkpoint.decode(each[None]))
        (folder / f"{number:04d}.png").write_bytes(png_bytes(picture, {"kolora.checkpoint": config.checkpoint}))
    # Row 0 alone: the negative prompt of row 1 steers drawing, and nothing is trained on it.
    prompt = embeds.rows(slice(1))
    bucket = Bucket(latents[:, None], torch.zeros(len(latents), dtype=torch.long))
    write_examples(job.folder / "examples.safetensors", Examples(prompt, (bucket,)))
    return Facts(pictures=len(latents), side=config.resolution)
