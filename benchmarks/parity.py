"""Ours beside DiffSynth's own pipeline, in one process."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch
from kolora.configs import latent_shape
from kolora.device import find_device
from kolora.models.checkpoint import Checkpoint, size_ids
from kolora.models.pixels import to_picture, to_pixels
from kolora.models.prompt_embeds import PromptEmbeds
from kolora.rendering.denoise import denoise
from kolora.training.config import TrainingConfig
from kolora.training.draws import draw
from kolora.training.examples import Bucket, Examples
from kolora.training.loop import train

from benchmarks.meter import psnr
from benchmarks.story import Size, photo, quiet
from tests.reference import read_pipeline


def compare(size: Size) -> dict[str, Any]:
    """Compare with DiffSynth's pipeline in one process: tensors, one training loss, and a picture."""
    story = size.story()
    device, pixels, scene = find_device(), size.pixels, story.resolved_scenes()[0]
    dtype = torch.float16 if device == "cuda" else torch.float32
    checkpoint = Checkpoint(size.checkpoint, device=device)
    theirs = read_pipeline(size.checkpoint, device=device, dtype=dtype)
    found: dict[str, Any] = {}

    def note(name: str, ours: torch.Tensor, reference: torch.Tensor) -> None:
        peak = float(reference.double().abs().max())
        ratio, most = psnr(ours.double().cpu(), reference.double().cpu(), peak)
        found[name] = {"psnr": ratio, "largest difference": most / peak}
        print(f"{name:<24} PSNR {ratio:.1f} dB, largest difference {most / peak:.1e} of the largest value", flush=True)

    texts = (scene.prompt, scene.negative_prompt)
    with torch.inference_mode():
        embeds = checkpoint.encode_prompt(texts)
        checkpoint.release("text_encoder")
        spoken = [theirs.encode_prompt(text) for text in texts]
        note("prompt_embeds", embeds.prompt_embeds, torch.cat([each["encoder_hidden_states"] for each in spoken]))
        note(
            "pooled_prompt_embeds",
            embeds.pooled_prompt_embeds,
            torch.cat([each["add_text_embeds"] for each in spoken]),
        )
        theirs.text_encoder_kolors = None
        given = to_pixels(photo(0, pixels))
        latents = theirs.vae_encoder(given.to(device))
        note("latents", checkpoint.encode(given), latents)
        note("pixels", checkpoint.decode(latents), theirs.vae_decoder(latents))
        extra = theirs.prepare_extra_input(latents.to(dtype))
        timestep = torch.tensor([731.0], device=device)
        predict = checkpoint.predictor().prepare(embeds, latents, size_ids(pixels, pixels).repeat(2))
        noise = torch.cat([theirs.unet(latents.to(dtype), timestep, **extra, **each) for each in spoken])
        note("noise prediction", predict(latents, 731), noise)
        drawn = denoise(
            checkpoint.predictor(),
            checkpoint.schedule(),
            embeds,
            seed=scene.seed,
            height=pixels,
            width=pixels,
            steps=scene.steps,
            guidance_scale=scene.guidance_scale,
            tick=quiet,
        )
        picture = to_picture(checkpoint.decode(drawn))
        reference = reference_latents(theirs, spoken, scene, pixels).float()
        note("latents of the picture", drawn, reference)
        expected = to_picture(theirs.vae_decoder(reference))
    ratio, most = psnr(picture, expected, 255)
    found["picture"] = {"psnr": ratio, "largest difference": most}
    print(f"{'picture':<24} PSNR {ratio:.1f} dB, largest difference {most:.0f} of 255 levels", flush=True)
    checkpoint.release()
    config = TrainingConfig.of(story.lora).model_copy(update={"steps": 1, "batch_size": 1})
    known = PromptEmbeds(embeds.prompt_embeds[:1].cpu().clone(), embeds.pooled_prompt_embeds[:1].cpu().clone())
    only = Examples(known, (Bucket(latents.cpu().clone()[None], torch.tensor([0])),))
    with tempfile.TemporaryDirectory() as state:
        ours = train(
            checkpoint.training_unet(), checkpoint.schedule(), only, config, state=Path(state), tick=quiet
        ).losses[0]
    random_draw = draw(
        seed=config.seed,
        step=0,
        batch_size=1,
        examples=1,
        variants=1,
        num_train_timesteps=1100,
        shape=tuple(latents.shape[1:]),
    )
    with torch.inference_mode():
        noisy = theirs.scheduler.add_noise(latents.cpu(), random_draw.noise, random_draw.timesteps).to(device, dtype)
        predicted = theirs.unet(noisy, random_draw.timesteps.float().to(device), **extra, **spoken[0])
        loss = float(torch.nn.functional.mse_loss(predicted.float().cpu(), random_draw.noise))
    found["training loss"] = {"ours": ours, "theirs": loss, "difference": abs(ours - loss) / loss}
    print(f"{'training loss':<24} ours {ours:.6f}, theirs {loss:.6f}: {abs(ours - loss) / loss:.1e} apart", flush=True)
    return found


def reference_latents(theirs: Any, spoken: list[Any], scene: Any, pixels: int) -> torch.Tensor:
    """Denoise as DiffSynth's pipeline does, from our noise: it would draw its own in half precision."""
    latents = torch.randn((1, *latent_shape(pixels, pixels)), generator=torch.Generator().manual_seed(scene.seed))
    latents = latents.to(theirs.device, theirs.torch_dtype)
    extra = theirs.prepare_extra_input(latents)
    theirs.scheduler.set_timesteps(scene.steps, 1.0)
    for timestep in theirs.scheduler.timesteps:
        at = timestep.unsqueeze(0).to(theirs.device)
        wanted, unwanted = (theirs.unet(latents, at, **extra, **each) for each in spoken)
        noise = unwanted + scene.guidance_scale * (wanted - unwanted)
        latents = theirs.scheduler.step(noise, timestep, latents)
    return latents
