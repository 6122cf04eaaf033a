"""The seam gives what DiffSynth's own Kolors pipeline gives, loaded by DiffSynth's own converters from the same files.

Measured on the tiny checkpoint, as a share of the largest value: 0 for embeds, 1.2e-6 for latents, 0 for pixels,
1.5e-6 for the noise of both rows at once, 1e-7 for the loss, 7e-7 after 20 guided steps, where two texts exchanged
would make 5e-3. Pictures differ by at most one level, because DiffSynth rounds down.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from kolora.models.checkpoint import Checkpoint, size_ids
from kolora.models.pixels import to_picture, to_pixels
from kolora.models.prompt_embeds import PromptEmbeds
from kolora.rendering.denoise import denoise
from kolora.spec.sections.lora import Lora
from kolora.training.config import TrainingConfig
from kolora.training.draws import draw
from kolora.training.examples import Bucket, Examples
from kolora.training.loop import train
from PIL import Image
from torch import nn

from tests.reference import read_pipeline
from tests.tensors import difference

PROMPT = "一个紫色短发小女孩，坐在家中沙发上，双手托着腮，很无聊，粉色连衣裙"
NEGATIVE = "丑陋、变形、嘈杂、模糊、低对比度"
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def pipeline(tiny_checkpoint: Path) -> Any:
    """DiffSynth's pipeline with the tiny checkpoint in it."""
    return read_pipeline(tiny_checkpoint, device="cpu", dtype=torch.float32)


@pytest.fixture(autouse=True)
def _no_gradients() -> Iterator[None]:
    """The pipeline's parts are called as the pipeline calls them."""
    with torch.no_grad():
        yield


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    """A picture with something at every frequency."""
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 128, 3), dtype=np.uint8))


@pytest.mark.parametrize("text", [PROMPT, NEGATIVE, "", "a knight on an old bridge, " * 60])
def test_conditioning(pipeline: Any, tiny_kolors: Checkpoint, text: str) -> None:
    theirs = pipeline.encode_prompt(text)
    ours = tiny_kolors.encode_prompt([text])
    assert difference(ours.prompt_embeds, theirs["encoder_hidden_states"]) < TOLERANCE
    assert difference(ours.pooled_prompt_embeds, theirs["add_text_embeds"]) < TOLERANCE


def test_latents(pipeline: Any, tiny_kolors: Checkpoint, photo: Image.Image) -> None:
    theirs = pipeline.encode_image(pipeline.preprocess_image(photo))
    assert difference(tiny_kolors.encode(to_pixels(photo)), theirs) < TOLERANCE


def test_pixels(pipeline: Any, tiny_kolors: Checkpoint) -> None:
    latents = torch.randn(1, 4, 8, 16, generator=torch.Generator().manual_seed(0))
    assert difference(tiny_kolors.decode(latents), pipeline.vae_decoder(latents)) < TOLERANCE


def test_predicted_noise(pipeline: Any, tiny_kolors: Checkpoint) -> None:
    """Two rows of ours at once are two calls of theirs."""
    latents = torch.randn(1, 4, 8, 16, generator=torch.Generator().manual_seed(0))
    timestep = torch.tensor([731.0])
    embeds = tiny_kolors.encode_prompt([PROMPT, NEGATIVE])
    ours = tiny_kolors.unet()(
        latents.expand(2, -1, -1, -1),
        timestep,
        encoder_hidden_states=embeds.prompt_embeds,
        add_time_id=size_ids(64, 128).repeat(2),
        add_text_embeds=embeds.pooled_prompt_embeds,
    )
    extra = pipeline.prepare_extra_input(latents)
    theirs = [pipeline.unet(latents, timestep, **extra, **pipeline.encode_prompt(text)) for text in (PROMPT, NEGATIVE)]
    assert difference(ours, torch.cat(theirs)) < TOLERANCE


def test_training_loss(pipeline: Any, tiny_kolors: Checkpoint, photo: Image.Image, tmp_path: Path) -> None:
    """The first step's loss: adapters begin without effect, so it is that of the checkpoint."""
    config = TrainingConfig.of(Lora(steps=1, rank=2, seed=3))
    embeds = tiny_kolors.encode_prompt([PROMPT])
    examples = Examples(
        PromptEmbeds(embeds.prompt_embeds.clone(), embeds.pooled_prompt_embeds.clone()),
        (Bucket(tiny_kolors.encode(to_pixels(photo)).clone()[None], torch.tensor([0])),),
    )
    with torch.enable_grad():
        trained = train(
            tiny_kolors.training_unet(),
            tiny_kolors.schedule(),
            examples,
            config,
            state=tmp_path,
            tick=lambda *_: None,
        )

    drawn = draw(seed=3, step=0, batch_size=1, examples=1, variants=1, num_train_timesteps=1100, shape=(4, 8, 16))
    latents = pipeline.encode_image(pipeline.preprocess_image(photo))
    predicted = pipeline.unet(
        pipeline.scheduler.add_noise(latents, drawn.noise, drawn.timesteps),
        drawn.timesteps.float(),
        **pipeline.prepare_extra_input(latents),
        **pipeline.encode_prompt(PROMPT),
    )
    theirs = nn.functional.mse_loss(
        predicted, pipeline.scheduler.training_target(latents, drawn.noise, drawn.timesteps)
    )
    assert trained.losses[0] == pytest.approx(float(theirs), rel=TOLERANCE)


@pytest.mark.parametrize(
    ("steps", "guidance_scale", "height", "width"),
    [(20, 4.0, 64, 64), (20, 4.0, 64, 128), (5, 1.0, 64, 64), (1, 4.0, 64, 64)],
)
def test_picture(
    pipeline: Any,
    tiny_kolors: Checkpoint,
    monkeypatch: pytest.MonkeyPatch,
    steps: int,
    guidance_scale: float,
    height: int,
    width: int,
) -> None:
    decode = pipeline.decode_image
    monkeypatch.setattr(pipeline, "decode_image", lambda latents, **_: latents)
    theirs = pipeline(
        prompt=PROMPT,
        negative_prompt=NEGATIVE,
        cfg_scale=guidance_scale,
        num_inference_steps=steps,
        height=height,
        width=width,
        seed=7,
        progress_bar_cmd=iter,
    )
    latents = denoise(
        tiny_kolors.unet(),
        tiny_kolors.schedule(),
        tiny_kolors.encode_prompt([PROMPT, NEGATIVE]),
        seed=7,
        height=height,
        width=width,
        steps=steps,
        guidance_scale=guidance_scale,
        tick=lambda *_: None,
    )
    assert difference(latents, theirs) < TOLERANCE
    ours, levels = (np.asarray(each, dtype=int) for each in (to_picture(tiny_kolors.decode(latents)), decode(theirs)))
    assert ours.shape == (height, width, 3)
    assert np.abs(ours - levels).max() <= 1
