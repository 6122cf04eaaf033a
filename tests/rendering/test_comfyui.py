"""ComfyUI's graph by ComfyUI's own rules: nodes known, inputs there and in range, links of the right type."""

from __future__ import annotations

import json
import random
import re
from typing import Any

import pytest
from kolora.rendering.comfyui import TEXT_ENCODER, UNET, VAE, Graph, escape, graph_of
from kolora.spec import load_story

LORA = "kolora-0123abcd.safetensors"
SAMPLERS = ["euler", "euler_ancestral", "dpmpp_2m", "ddim", "uni_pc"]
SCHEDULERS = ["normal", "karras", "exponential", "sgm_uniform", "simple", "ddim_uniform", "beta"]
SIDE = ("INT", {"min": 16, "max": 16384})
NODES: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "MZ_KolorsUNETLoaderV2": ({"unet_name": ([UNET], {})}, ("MODEL",)),
    "MZ_ChatGLM3Loader": ({"chatglm3_checkpoint": ([TEXT_ENCODER], {})}, ("CHATGLM3MODEL",)),
    "MZ_ChatGLM3_V2": ({"chatglm3_model": ("CHATGLM3MODEL", {}), "text": ("STRING", {})}, ("EMBEDS",)),
    "VAELoader": ({"vae_name": ([VAE], {})}, ("VAE",)),
    "LoraLoaderModelOnly": (
        {"model": ("MODEL", {}), "lora_name": ([LORA], {}), "strength_model": ("FLOAT", {"min": -20.0, "max": 20.0})},
        ("MODEL",),
    ),
    "EmptyLatentImage": ({"width": SIDE, "height": SIDE, "batch_size": ("INT", {"min": 1, "max": 4096})}, ("LATENT",)),
    "KSampler": (
        {
            "model": ("MODEL", {}),
            "seed": ("INT", {"min": 0, "max": 2**64 - 1}),
            "steps": ("INT", {"min": 1, "max": 10000}),
            "cfg": ("FLOAT", {"min": 0.0, "max": 100.0}),
            "sampler_name": (SAMPLERS, {}),
            "scheduler": (SCHEDULERS, {}),
            "positive": ("EMBEDS", {}),
            "negative": ("EMBEDS", {}),
            "latent_image": ("LATENT", {}),
            "denoise": ("FLOAT", {"min": 0.0, "max": 1.0}),
        },
        ("LATENT",),
    ),
    "VAEDecode": ({"samples": ("LATENT", {}), "vae": ("VAE", {})}, ("IMAGE",)),
    "SaveImage": ({"images": ("IMAGE", {}), "filename_prefix": ("STRING", {})}, ()),
}
"""What each node takes and gives; of lists only what matters here."""
TYPES = {"INT": int, "FLOAT": float, "STRING": str}


def faults(graph: Graph) -> list[str]:
    """Say what ComfyUI would refuse, as it checks a prompt before it queues it."""
    found = [] if any(node["class_type"] == "SaveImage" for node in graph.values()) else ["no output node"]
    for place, node in graph.items():
        if node["class_type"] not in NODES:
            found.append(f"{place}: unknown node {node['class_type']}")
            continue
        wanted, _ = NODES[node["class_type"]]
        for name, (kind, limits) in wanted.items():
            if name not in node["inputs"]:
                found.append(f"{place}: lacks {name}")
                continue
            fault = _fault(graph, node["inputs"][name], kind, limits)
            found += [f"{place}: {name} {fault}"] if fault else []
    return found


def _fault(graph: Graph, value: Any, kind: Any, limits: dict[str, Any]) -> str | None:
    if isinstance(value, list):
        source, slot = value
        gives = NODES[graph[source]["class_type"]][1]
        return None if gives[slot] == kind else f"is linked to {gives[slot]}"
    if isinstance(kind, list):
        return None if value in kind else f"is not in the list: {value}"
    if kind not in TYPES or type(value) is not TYPES[kind]:
        return f"is no {kind}"
    if value < limits.get("min", value) or value > limits.get("max", value):
        return "is out of range"
    return None


def scenes(text: str = "", *, count: int = 2) -> dict[int, Any]:
    listed = "".join(f"  - {{prompt: 第{number}幕, seed: {number}}}\n" for number in range(1, count + 1))
    story = load_story(f"dataset: {{source: pocket}}\n{text}scenes:\n{listed}")
    return {scene.number: scene for scene in story.resolved_scenes()}


@pytest.mark.parametrize("count", [1, 8, 64])
@pytest.mark.parametrize("lora", [None, LORA])
def test_comfyui_takes_the_graph(count: int, lora: str | None) -> None:
    graph = graph_of(scenes("render: {guidance_scale: 4, lora_scale: 1}\n", count=count), lora=lora)
    assert faults(graph) == []
    assert json.loads(json.dumps(graph)) == graph
    assert sum(node["class_type"] == "SaveImage" for node in graph.values()) == count
    assert sum(node["class_type"] == "LoraLoaderModelOnly" for node in graph.values()) == (count if lora else 0)


def test_a_graph_says_what_the_story_says() -> None:
    graph = graph_of(scenes("render: {steps: 25, lora_scale: 0.5, negative_prompt: 丑}\n"), lora=LORA)
    (sampler,) = (node for node in graph.values() if node["inputs"].get("seed") == 2)
    inputs = sampler["inputs"]
    assert (inputs["steps"], inputs["sampler_name"], inputs["scheduler"]) == (25, "euler", "ddim_uniform")
    assert graph[inputs["positive"][0]]["inputs"]["text"] == "第2幕"
    assert graph[inputs["negative"][0]]["inputs"]["text"] == "丑"
    lora = graph[inputs["model"][0]]["inputs"]
    assert (lora["lora_name"], lora["strength_model"]) == (LORA, 0.5)
    assert graph[lora["model"][0]]["class_type"] == "MZ_KolorsUNETLoaderV2"


@pytest.mark.parametrize(
    ("place", "name", "value", "fault"),
    [
        ("14", "width", 8, "out of range"),
        ("15", "model", ["12", 0], "linked to EMBEDS"),
        ("15", "cfg", "4", "no FLOAT"),
        ("11", "lora_name", "other", "not in the list"),
        ("16", "vae", None, "no VAE"),
    ],
)
def test_the_rules_find_a_planted_fault(place: str, name: str, value: Any, fault: str) -> None:
    graph = graph_of(scenes(), lora=LORA)
    graph[place]["inputs"][name] = value
    assert [each for each in faults(graph) if each.startswith(f"{place}: {name}") and fault in each]
    del graph[place]["inputs"][name]
    assert f"{place}: lacks {name}" in faults(graph)


def read_by_comfyui(text: str) -> str:
    """Read a prompt as ComfyUI's page and then the pack's node do: comments out, choices made, escapes resolved."""
    text = re.sub(r"/\*[\s\S]*?\*/|//.*", "", text)
    text = re.sub(r"(?<!\\)\{([^{}]*)\}", lambda found: random.choice(found[1].split("|")), text)
    text = re.sub(r"\\([{}|])", r"\1", text)
    return re.sub(r"\{([^{}]*)\}", lambda found: random.choice(found[1].split("|")), text)


@pytest.mark.parametrize(
    "prompt",
    [
        "{a|b}",
        "a | b",
        r"\{a\}",
        "{{a|b}|c}",
        "see https://a.b/c",
        "a /* b */ c",
        r"a \| b",
        "a\\",
        "｛已是全角｝",
        "{",
    ],
)
def test_no_prompt_is_read_as_anything_but_text(prompt: str) -> None:
    escaped = escape(prompt)
    assert read_by_comfyui(escaped) == escaped
    assert escape(escaped) == escaped
    wide = str.maketrans("{}/\\", "｛｝／＼")
    assert escaped.translate(wide) == prompt.translate(wide)


def test_an_ordinary_prompt_stays_as_it_is() -> None:
    prompt = "二次元，一个紫色短发的小女孩 (masterpiece:1.2), 50/50 \\n"
    assert escape(prompt) == prompt
