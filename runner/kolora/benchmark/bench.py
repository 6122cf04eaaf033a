"""Measures both ways in one run: training and rendering, by the notebook's steps and by kolora's own."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from kolora.benchmark import notebook
from kolora.benchmark.clock import forget, matrix_rate, moment, peak, seconds
from kolora.benchmark.networks import Configs, configs_of, random_network
from kolora.configs import latent_shape
from kolora.device import cpu_name
from kolora.models.architecture import build_unet
from kolora.models.checkpoint import make_deterministic, size_ids
from kolora.models.predictor import Predictor
from kolora.models.prompt_embeds import PromptEmbeds
from kolora.models.schedule import NoiseSchedule
from kolora.models.tokenizer import Tokenizer
from kolora.rendering.denoise import denoise
from kolora.spec.sections.lora import Lora
from kolora.training.config import TrainingConfig
from kolora.training.examples import Bucket, Examples
from kolora.training.loop import train

_PROMPTS = ("二次元，一个紫色短发小女孩，在家中沙发上坐着，双手托着腮", "丑陋，变形，嘈杂，模糊，低对比度")
STORY_SAMPLES, STORY_PICTURES = 500, 8
"""The default story: pictures seen in training, and scenes."""
WARM_STEPS = 8
"""Training steps that do not count: the first loads kernels and captures the graph."""

Facts = dict[str, Any]


def bench(
    *,
    device: str,
    checkpoint: Path | None,
    size: int,
    train_steps: int,
    render_steps: int,
    batch_sizes: tuple[int, ...],
    say: Callable[[str], None],
) -> Facts:
    """Measure; returns plain JSON values: seconds, bytes, operations a second, and shares of the matrix rate.

    checkpoint: a folder whose configs give the shapes (None: Kolors). size: side of the pictures, in pixels.
    say: told what is measured now.
    """
    configs = configs_of(checkpoint)
    cuda = device == "cuda"
    # Rendering computes in float16 and training in bfloat16, as Checkpoint does with dtype "auto".
    half = torch.float16 if cuda else torch.float32
    wide = torch.bfloat16 if cuda else torch.float32
    schedule = NoiseSchedule.from_config(configs["scheduler"])
    say("matrix rate")
    rates = {"training": matrix_rate(device=device, dtype=wide), "rendering": matrix_rate(device=device, dtype=half)}
    forward = _operations(configs, size=size)
    facts: Facts = {
        "device": torch.cuda.get_device_name() if cuda else cpu_name(),
        "torch": torch.__version__,
        "checkpoint": "kolors" if checkpoint is None else checkpoint.name,
        "size": size,
        "render_steps": render_steps,
        "matrix_rate": rates,
        "unet_operations": forward,
    }
    say("the notebook's way")
    facts["notebook"] = _notebook(configs, schedule, device, half, size=size, steps=render_steps, repeats=train_steps)
    # Only now: the notebook asks for no repeatable kernels.
    make_deterministic()
    say("kolora's rendering")
    rendering = _rendering(configs, schedule, device, half, size=size, steps=render_steps)
    facts["rendering"] = rendering | {
        # Two rows a step, the guided pair.
        "share": 2 * forward * render_steps / rendering["denoise_seconds"] / rates["rendering"],
        "ratio": facts["notebook"]["picture_seconds"] / rendering["picture_seconds"],
    }
    facts["training"] = []
    for batch_size in batch_sizes:
        say(f"kolora's training, {batch_size} a step")
        found = _training(configs, schedule, device, wide, size=size, batch_size=batch_size, steps=train_steps)
        rate = found["samples_per_second"]
        facts["training"].append(
            found
            | {
                # Forward, and backward through the frozen weights: the LoRA's own share is a hundredth.
                "share": 2 * forward * rate / rates["training"],
                "ratio": rate * facts["notebook"]["step_seconds"],
            }
        )
    return facts | {"story": _story(facts)}


def _notebook(
    configs: Configs,
    schedule: NoiseSchedule,
    device: str,
    dtype: torch.dtype,
    *,
    size: int,
    steps: int,
    repeats: int,
) -> Facts:
    forget(device)
    texts = notebook.Texts(random_network("text_encoder", configs, device=device, dtype=dtype), Tokenizer(), device)
    unet = random_network("unet", configs, device=device, dtype=dtype, as_diffsynth=True)
    decoder = random_network("vae_decoder", configs, device=device, dtype=torch.float32, as_diffsynth=True)

    def draw() -> torch.Tensor:
        return notebook.picture(texts, unet, decoder, schedule, prompts=_PROMPTS, size=size, steps=steps)

    picture_seconds = seconds(draw, device=device, repeats=2, warm_ups=1)
    rendering_peak = peak(device)
    # Frees its memory, although draw still holds it.
    decoder.to("meta")
    forget(device)
    encoder = random_network("vae_encoder", configs, device=device, dtype=dtype, as_diffsynth=True)
    pixels = torch.randn(1, 3, size, size, device=device, dtype=dtype)
    step = notebook.training_step(texts, unet, encoder, schedule, pixels, _PROMPTS[0])
    # A quarter of the repeats: such a step takes 0.5 to 1.1 s on an H200 or H100 (2026-11).
    step_seconds = seconds(step, device=device, repeats=max(3, repeats // 4), warm_ups=2)
    return {
        "step_seconds": step_seconds,
        "picture_seconds": picture_seconds,
        "training_peak": peak(device),
        "rendering_peak": rendering_peak,
    }


def _rendering(
    configs: Configs, schedule: NoiseSchedule, device: str, dtype: torch.dtype, *, size: int, steps: int
) -> Facts:
    forget(device)
    texts = notebook.Texts(random_network("text_encoder", configs, device=device, dtype=dtype), Tokenizer(), device)
    text_seconds = seconds(lambda: [texts(prompt) for prompt in _PROMPTS], device=device, repeats=3, warm_ups=1)
    prompt_embeds, pooled_prompt_embeds = zip(*map(texts, _PROMPTS), strict=True)
    embeds = PromptEmbeds(torch.cat(prompt_embeds), torch.cat(pooled_prompt_embeds))
    texts.encoder.to("meta")
    forget(device)
    decoder = random_network("vae_decoder", configs, device=device, dtype=torch.float32)
    predictor = Predictor(random_network("unet", configs, device=device, dtype=dtype))

    def latents(count: int = steps) -> torch.Tensor:
        return denoise(
            predictor,
            schedule,
            embeds,
            seed=0,
            height=size,
            width=size,
            steps=count,
            guidance_scale=notebook.GUIDANCE,
            tick=lambda *_: None,
        )

    def picture() -> None:
        with torch.inference_mode():
            decoder(latents()).cpu()

    began = moment(device)
    latents(1)
    capture = moment(device) - began
    denoise_seconds = seconds(latents, device=device, repeats=2, warm_ups=0)
    return {
        "picture_seconds": text_seconds + seconds(picture, device=device, repeats=2, warm_ups=1),
        "denoise_seconds": denoise_seconds,
        "text_seconds": text_seconds,
        "recording_seconds": capture,
        "peak": peak(device),
    }


def _training(
    configs: Configs,
    schedule: NoiseSchedule,
    device: str,
    dtype: torch.dtype,
    *,
    size: int,
    batch_size: int,
    steps: int,
) -> Facts:
    forget(device)
    width = configs["unet"]["encoder_hid_dim"]
    examples = Examples(
        PromptEmbeds(torch.randn(1, 256, width, dtype=dtype), torch.randn(1, width, dtype=dtype)),
        (Bucket(torch.randn(8, 1, *latent_shape(size, size)), torch.zeros(8, dtype=torch.long)),),
    )
    total = WARM_STEPS + steps
    settings = Lora(
        rank=notebook.RANK,
        alpha=notebook.ALPHA,
        learning_rate=notebook.RATE,
        steps=total,
        batch_size=batch_size,
        resolution=size,
    )
    moments = {0: math.nan}

    def tick(done: int, _total: int) -> None:
        if done in (WARM_STEPS, total):
            moments[done] = moment(device)

    unet = random_network("unet", configs, device=device, dtype=dtype)
    with tempfile.TemporaryDirectory() as folder:
        moments[0] = moment(device)
        config = TrainingConfig.of(settings)
        trained = train(unet, schedule, examples, config, state=Path(folder), tick=tick)
    return {
        "batch_size": batch_size,
        "samples_per_second": steps * batch_size / (moments[total] - moments[WARM_STEPS]),
        "warm_up_seconds": moments[WARM_STEPS] - moments[0],
        "parameters": trained.parameters,
        "peak": peak(device),
    }


def _story(facts: Facts) -> Facts:
    """Compute the default story from the rates: 500 samples and eight pictures, loading and filtering apart."""
    theirs = STORY_SAMPLES * facts["notebook"]["step_seconds"] + STORY_PICTURES * facts["notebook"]["picture_seconds"]
    (first, *_) = facts["training"]
    ours = STORY_SAMPLES / first["samples_per_second"] + STORY_PICTURES * facts["rendering"]["picture_seconds"]
    ours += first["warm_up_seconds"] + facts["rendering"]["recording_seconds"]
    return {"notebook_seconds": theirs, "kolora_seconds": ours, "ratio": theirs / ours}


def _operations(configs: Configs, *, size: int) -> int:
    """Count the operations of the U-Net's forward on one row, on tensors without storage."""
    with torch.device("meta"):
        unet = build_unet(configs["unet"])
    width = configs["unet"]["encoder_hid_dim"]
    with torch.device("meta"), FlopCounterMode(display=False) as counter, torch.no_grad():
        unet(
            torch.empty(1, *latent_shape(size, size)),
            torch.empty(1),
            encoder_hidden_states=torch.empty(1, 256, width),
            add_time_id=size_ids(size, size).to("meta"),
            add_text_embeds=torch.empty(1, width),
        )
    return int(counter.get_total_flops())
