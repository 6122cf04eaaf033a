"""Scenes as a ComfyUI graph in its API form: the nodes of the core and of the pack ComfyUI-Kolors-MZ."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Protocol

from kolora.samplers import SAMPLERS

UNET = "kolors.safetensors"
TEXT_ENCODER = "chatglm3-fp16.safetensors"
VAE = "sdxl_vae.safetensors"
"""What the three parts of Kolors are called in ComfyUI's folders unet/, LLM/ and vae/; a user may choose otherwise."""

Graph = dict[str, dict[str, Any]]


class SceneSettings(Protocol):
    """What a graph needs to know of a scene."""

    @property
    def prompt(self) -> str: ...
    @property
    def negative_prompt(self) -> str: ...
    @property
    def seed(self) -> int: ...
    @property
    def width(self) -> int: ...
    @property
    def height(self) -> int: ...
    @property
    def steps(self) -> int: ...
    @property
    def guidance_scale(self) -> float: ...
    @property
    def lora_scale(self) -> float: ...
    @property
    def scheduler(self) -> str: ...


def graph_of(scenes: Mapping[int, SceneSettings], *, lora: str | None) -> Graph:
    """Draw scenes (by number) as one graph; loaders are shared, and scene 3's nodes are 31 to 37.

    lora: name of the LoRA's file in ComfyUI's folder loras/, kohya's convention. ComfyUI draws the same noise of a
    seed; its sampler visits other timesteps, so its pictures are near (46 to 50 dB) and not the same.
    """
    graph = {
        # The pack's V2 nodes have Kolors' schedule, 1100 steps and beta to 0.014; V1 has SDXL's.
        "1": _node("MZ_KolorsUNETLoaderV2", unet_name=UNET),
        "2": _node("MZ_ChatGLM3Loader", chatglm3_checkpoint=TEXT_ENCODER),
        "3": _node("VAELoader", vae_name=VAE),
    }
    for number, scene in scenes.items():
        # Two digits and more, so that none meets the loaders' 1 to 3.
        names = [f"{number}{place}" for place in range(1, 8)]
        lora_node, positive, negative, empty, sampled, decoded, saved = names
        model = ["1", 0]
        if lora is not None:
            # The core's loader: the text encoder is ChatGLM, which no LoRA of ours changes.
            graph[lora_node] = _node(
                "LoraLoaderModelOnly", model=model, lora_name=lora, strength_model=float(scene.lora_scale)
            )
            model = [lora_node, 0]
        graph[positive] = _node("MZ_ChatGLM3_V2", chatglm3_model=["2", 0], text=escape(scene.prompt))
        graph[negative] = _node("MZ_ChatGLM3_V2", chatglm3_model=["2", 0], text=escape(scene.negative_prompt))
        graph[empty] = _node("EmptyLatentImage", width=scene.width, height=scene.height, batch_size=1)
        sampler, scheduler = SAMPLERS[scene.scheduler].comfyui
        graph[sampled] = _node(
            "KSampler",
            model=model,
            seed=scene.seed,
            steps=scene.steps,
            cfg=float(scene.guidance_scale),
            sampler_name=sampler,
            scheduler=scheduler,
            positive=[positive, 0],
            negative=[negative, 0],
            latent_image=[empty, 0],
            denoise=1.0,
        )
        graph[decoded] = _node("VAEDecode", samples=[sampled, 0], vae=["3", 0])
        graph[saved] = _node("SaveImage", images=[decoded, 0], filename_prefix=f"kolora/{number:02d}")
    return graph


def escape(prompt: str) -> str:
    r"""Keep ComfyUI from reading a prompt as anything but text.

    The pack draws one of ``{a|b}`` at random and knows no escape for it; ComfyUI's page does likewise, drops what looks
    like a comment (``//`` to the end of the line, ``/* */``) and takes ``\`` before brackets and bars away. The
    full-width twins of these characters mean the same to a reader and to ChatGLM3, and nothing to either.
    """
    for narrow, wide in (("{", "｛"), ("}", "｝"), ("//", "／／"), ("/*", "／*"), ("\\|", "＼|")):
        prompt = prompt.replace(narrow, wide)
    # ComfyUI's page takes a backslash and what follows as a pair, and drops one that ends the text with a fault.
    return re.sub(r"\\\Z", "＼", prompt)


def _node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs}
