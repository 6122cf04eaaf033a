"""A1111's settings text, read back as A1111 reads it."""

from __future__ import annotations

import re

from kolora.rendering.a1111 import parameters_of
from kolora.spec import load_story

STORY = """
dataset: {source: pocket}
render: {width: 512, height: 768, steps: 25, guidance_scale: 4, negative_prompt: "丑陋，模糊", lora_scale: 0.5}
scenes: [{prompt: "一只猫\\n在窗边", seed: 7}]
"""


def test_a_scene_comes_back_as_a1111_reads_it() -> None:
    (scene,) = load_story(STORY).resolved_scenes()
    *lines, last = parameters_of(scene, lora="kolora-0123abcd", checkpoint="c" * 64).split("\n")
    pairs = dict(re.findall(r"\s*([\w ]+):\s*([^,]+)(?:,|$)", last))
    assert len(pairs) >= 3, "fewer are taken for a line of the prompt"
    assert pairs == {
        "Steps": "25",
        "Sampler": "DDIM",
        "CFG scale": "4",
        "Seed": "7",
        "Size": "512x768",
        "Model hash": "c" * 10,
        "Model": "Kolors",
    }
    negative = next(index for index, line in enumerate(lines) if line.startswith("Negative prompt:"))
    assert "\n".join(lines[:negative]) == "一只猫\n在窗边 <lora:kolora-0123abcd:0.5>"
    assert lines[negative].removeprefix("Negative prompt:").strip() == "丑陋，模糊"


def test_without_a_lora_none_is_named() -> None:
    (scene,) = load_story(STORY).resolved_scenes()
    assert "<lora" not in parameters_of(scene, lora=None, checkpoint="c" * 64)
