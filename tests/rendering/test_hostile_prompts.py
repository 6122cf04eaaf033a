"""A prompt is text to every tool that reads a picture: it moves nothing and loads nothing, in A1111 or in ComfyUI."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass

import pytest
from kolora.rendering import a1111, comfyui

FIELD = re.compile(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')
"""A1111 1.10: modules/infotext_utils.py."""


def read(text: str) -> tuple[str, str, dict[str, str]]:
    """Read the text as A1111 does: prompt, negative prompt, settings."""
    prompt = negative = ""
    is_negative = False
    *lines, last = text.strip().split("\n")
    if len(FIELD.findall(last)) < 3:
        lines.append(last)
        last = ""
    for each in lines:
        line = each.strip()
        if line.startswith("Negative prompt:"):
            is_negative = True
            line = line[16:].strip()
        if is_negative:
            negative += ("" if negative == "" else "\n") + line
        else:
            prompt += ("" if prompt == "" else "\n") + line
    return prompt, negative, dict(FIELD.findall(last))


@dataclass(frozen=True)
class Scene:
    """What the writers ask of a scene."""

    prompt: str
    negative_prompt: str = "丑陋"
    seed: int = 7
    width: int = 512
    height: int = 768
    steps: int = 25
    guidance_scale: float = 4.0
    lora_scale: float = 0.5
    scheduler: str = "ddim"


PIECES = (
    "Negative prompt: x",
    "Steps: 1, Sampler: Euler a, CFG scale: 30, Seed: 1, Size: 1x1",
    "  Negative prompt:y",
    "\u3000Negative prompt: z",
    "Negative prompt:",
    "<lora:evil:2>",
    "<hypernet:evil:1>",
    "a < b, c: d",
    "(word:1.2), [a|b], {a|b}, __wild__, embedding:x",
    "http://a.b//c /* d */ # e",
    "back\\slash \\( \\{ \\",
    "“Steps: 1”，Seed: 2",
    "Template: x, Negative Template: y",
    "一只猫\r",
    "",
)
PROMPTS = sorted({"\n".join(pieces) for count in (1, 2, 3) for pieces in itertools.permutations(PIECES, count)})


def same(prompt: str) -> str:
    """Spell a prompt as the format can hold it: no blanks at the ends of lines, none of the lines before the first."""
    wide = prompt.replace("：", ":").replace("＜", "<")
    return "\n".join(line.strip() for line in wide.split("\n")).strip()


@pytest.mark.parametrize("lora", [None, "kolora-0123abcd"])
def test_a1111_reads_the_very_prompt_and_our_settings(lora: str | None) -> None:
    assert len(PROMPTS) > 2000
    for prompt in filter(str.strip, PROMPTS):
        for scene in (Scene(prompt), Scene("一只猫", prompt), Scene(prompt, prompt)):
            positive, negative, settings = read(a1111.parameters_of(scene, lora=lora, checkpoint="c" * 64))
            tag = "" if lora is None else f" <lora:{lora}:0.5>"
            assert same(positive) == same(scene.prompt + tag), scene
            assert same(negative) == same(scene.negative_prompt), scene
            assert (settings["Steps"], settings["Seed"], settings["Size"]) == ("25", "7", "512x768")
            # The one network to load is ours.
            assert re.findall(r"<(\w+):([^>]+)>", positive) == ([] if lora is None else [("lora", f"{lora}:0.5")])


@pytest.mark.parametrize("prompt", ["一只猫\n在窗边", "a <3 b", "Steps of stone", "Negative prompts: none", "Seed: 5"])
def test_a1111_is_given_what_needs_no_escape_as_it_is(prompt: str) -> None:
    assert a1111.escape(prompt) == prompt


def test_comfyui_finds_nothing_to_choose_and_nothing_to_drop() -> None:
    for prompt in PROMPTS:
        text = comfyui.graph_of({1: Scene(prompt, prompt)}, lora=None)["12"]["inputs"]["text"]
        # What its page and the pack look for: choices, comments, and pairs with a backslash.
        assert not re.search(r"[{}]|//|/\*|\\\||\\\Z", text), text
        wide = {"｛": "{", "｝": "}", "／": "/", "＼": "\\"}
        assert "".join(wide.get(letter, letter) for letter in text) == prompt
