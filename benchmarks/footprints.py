"""What each computation takes beside its weights: the table in ``kolora.memory.plan``."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import torch
from kolora.benchmark.networks import configs_of, random_network
from kolora.configs import KOLORS, latent_shape
from kolora.device import find_device
from kolora.memory.plan import OffloadOption
from kolora.models.checkpoint import size_ids
from kolora.models.pixels import to_pixels
from kolora.models.predictor import Predictor
from kolora.models.prompt_embeds import PromptEmbeds
from kolora.models.schedule import NoiseSchedule
from kolora.models.tiling import decode_tiled, encode_tiled
from kolora.training.config import TrainingConfig
from kolora.training.examples import Bucket, Examples
from kolora.training.loop import train

from benchmarks.meter import Meter, psnr, row_line
from benchmarks.story import Size, photo, quiet


def measure(size: Size) -> dict[str, Any]:
    """Measure what each computation takes, with weights made up: no file of weights is read."""
    device = find_device()
    known, meter, pixels = configs_of(size.checkpoint), Meter(), size.pixels
    half = torch.float16 if device == "cuda" else torch.float32
    schedule = NoiseSchedule.from_config(KOLORS["scheduler"])
    latents = torch.randn(1, *latent_shape(pixels, pixels), device=device)
    with torch.inference_mode():
        for part, tiled in (("vae_decoder", decode_tiled), ("vae_encoder", encode_tiled)):
            given = latents if part == "vae_decoder" else to_pixels(photo(0, pixels)).to(device)
            results = []
            for name in ("whole", "in tiled"):
                # In tiled the weights lie as DiffSynth has them.
                in_strips = name == "in tiled"
                network = random_network(part, known, device=device, dtype=torch.float32, as_diffsynth=in_strips)
                work = partial(tiled, network) if in_strips else network
                with meter(f"{part} {name}, first"):
                    result = work(given)
                results.append(result.cpu())
                del result
                with meter(f"{part} {name}, again"):
                    work(given)
                del network, work
            peak = float(results[0].abs().max())
            ratio, most = psnr(results[1], results[0], peak)
            print(f"{part} in tiled: PSNR {ratio:.1f} dB, largest difference {most / peak:.1e} of the largest value")
        unet = random_network("unet", known, device=device, dtype=half)
        texts = examples(known, pixels=pixels).embeds
        embeds = texts.to(device, half)
        for use_graph in (False, True):
            predictor = Predictor(unet, use_graph=use_graph)
            with meter(f"prediction of 2 rows, {'captured' if use_graph else 'called'}"):
                predict = predictor.prepare(embeds, latents, size_ids(pixels, pixels).repeat(2))
                predict(latents, 500)
            del predictor, predict
        del unet
    for rows, checkpointing in ((1, False), (4, False), (1, True), (4, True), (8, True)):
        config = TrainingConfig.of(size.story().lora).model_copy(update={"steps": 3, "batch_size": rows})
        unet = random_network("unet", known, device=device, dtype=torch.bfloat16 if device == "cuda" else torch.float32)
        name = f"training, {rows} a step, computed {'twice' if checkpointing else 'once'}"
        with tempfile.TemporaryDirectory() as state, meter(name):
            train(
                unet,
                schedule,
                examples(known, pixels=pixels),
                config,
                state=Path(state),
                tick=quiet,
                option=OffloadOption(checkpointing=checkpointing),
            )
        del unet
    for name, row in meter.rows.items():
        print(row_line(name, row), flush=True)
    return meter.rows


def examples(known: Any, *, pixels: int) -> Examples:
    """Make up a training set of four pictures and two captions."""
    rng = torch.Generator().manual_seed(0)
    width = known["unet"]["encoder_hid_dim"]
    embeds = PromptEmbeds(torch.randn(2, 256, width, generator=rng), torch.randn(2, width, generator=rng))
    latents = torch.randn(4, 1, 4, pixels // 8, pixels // 8, generator=rng)
    return Examples(embeds, (Bucket(latents, torch.arange(4) % 2),))
