"""Teaches the text encoder to read: which colour belongs to the hair, which to the clothes, who does what where.

The U-Net's loss alone teaches this late, because a picture with the two colours swapped is hardly further off. Here
linear heads, thrown away afterwards, read a scene's parts off the states that the U-Net hears: first by themselves,
then beside the U-Net's own lesson.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import chain
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from kolora.models.tokenizer import Tokenizer
from kolora.pocket.world import WorldScene, caption, sample_scene
from kolora.pocket.world.scene import (
    ALONE,
    CHARACTERS,
    CLOTHES_COLOURS,
    COATS,
    EXPRESSIONS,
    FRAMINGS,
    GARMENTS,
    HAIR_COLOURS,
    PLACES,
    STYLES,
    TOGETHER,
)
from torch import nn

from tools.pocket.teaching.course import log, rate, set_rate, step_down

LENGTH = 64
"""Tokens read at once; padding on the left of a text does not change the states of its tokens."""
UNSAID = -1

COLOURS = tuple(dict.fromkeys([*CLOTHES_COLOURS, *chain(*COATS.values())]))
PARTS: dict[str, tuple[str, ...]] = {
    "style": STYLES,
    "place": PLACES,
    "character": CHARACTERS,
    "colour": COLOURS,
    "garment": tuple(dict.fromkeys(chain(*GARMENTS.values()))),
    "hair": ("long", "short"),
    "hair_colour": HAIR_COLOURS,
    "action": tuple(dict.fromkeys([*chain(*ALONE.values()), *TOGETHER])),
    "expression": EXPRESSIONS,
    "framing": FRAMINGS,
    "companion": CHARACTERS,
    "companion_colour": COLOURS,
    "companion_hair": HAIR_COLOURS,
}


def said(scene: WorldScene) -> list[int]:
    """Return the class of each of PARTS, UNSAID where the scene has no such part."""
    figure, other = scene.figure, scene.companion
    named: dict[str, str | None] = {
        "style": scene.style,
        "place": scene.place,
        "character": figure.character,
        "colour": figure.colour,
        "garment": figure.garment,
        "hair": figure.hair,
        "hair_colour": figure.hair_colour,
        "action": scene.action,
        "expression": scene.expression,
        "framing": scene.framing,
        "companion": other.character if other else None,
        "companion_colour": other.colour if other else None,
        "companion_hair": other.hair_colour if other else None,
    }
    return [UNSAID if value is None else PARTS[part].index(value) for part, value in named.items()]


@dataclass(frozen=True)
class Lines:
    """Captions as the text encoder's inputs (N, LENGTH), and what they say (N, parts); int64."""

    input_ids: np.ndarray
    attention_mask: np.ndarray
    position_ids: np.ndarray
    truth: np.ndarray


def lines(first: int, last: int, seed: int) -> Lines:
    """Return captions number first to last, the last one excluded, three in five of them complete."""
    texts, truth = [], []
    for number in range(first, last):
        rng = random.Random(f"{seed} line {number}")  # noqa: S311
        scene = sample_scene(rng)
        texts.append(caption(scene, rng, "zh" if number % 5 < 3 else "en", complete=rng.random() < 0.6))
        truth.append(said(scene))
    tokens = Tokenizer()(texts)
    ids, mask, places = (
        tensor[:, -LENGTH:].numpy() for tensor in (tokens.input_ids, tokens.attention_mask, tokens.position_ids)
    )
    return Lines(ids, mask, places, np.array(truth))


def joined(parts: Sequence[Lines]) -> Lines:
    """Return all lines as one."""
    names = [field.name for field in fields(Lines)]
    arrays = {}
    for name in names:
        arrays[name] = np.concatenate([getattr(part, name) for part in parts])
    return Lines(**arrays)


class Lesson(nn.Module):
    """Lines to read and the linear heads that read them, which pocket does not keep."""

    def __init__(self, taught: Lines, *, width: int, device: torch.device, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self._chance = torch.Generator(device).manual_seed(seed)
        self._truth = torch.from_numpy(taught.truth).to(device)
        self._inputs = {
            name: torch.from_numpy(getattr(taught, name)).to(device)
            for name in ("input_ids", "attention_mask", "position_ids")
        }
        self.sizes = [len(classes) for classes in PARTS.values()]
        self.of_last = nn.Linear(width, sum(self.sizes)).to(device)
        self.of_mean = nn.Linear(width, sum(self.sizes)).to(device)

    def forward(self, encoder: Any, *, batch: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the loss on lines drawn by lot, the answers (B, all classes) off the last token, and the truth."""
        rows = torch.randint(len(self._truth), (batch,), generator=self._chance, device=self._truth.device)
        truth, mask = self._truth[rows], self._inputs["attention_mask"][rows]
        states = encoder(**{name: t[rows] for name, t in self._inputs.items()}, output_hidden_states=True).hidden_states
        heard = states[-2].permute(1, 0, 2)
        mean = (heard * mask[..., None]).sum(dim=1) / mask.sum(dim=1, keepdim=True)
        answer = self.of_last(states[-1][-1])
        return _loss(answer, truth, self.sizes) + _loss(self.of_mean(mean), truth, self.sizes), answer, truth


def teach_reading(encoder: Any, lesson: Lesson, *, steps: int, batch: int) -> dict[str, float]:
    """Teach the encoder in place; returns the share of parts read right over the last steps, off the last token."""
    weights = [*encoder.parameters(), *lesson.parameters()]
    optimizer = torch.optim.AdamW(weights, betas=(0.9, 0.98), weight_decay=0.0, fused=weights[0].is_cuda)
    hits = torch.zeros(len(lesson.sizes), 2)
    encoder.train()
    for step in range(steps):
        set_rate(optimizer, rate(step, steps, peak=2e-3, warm=100))
        loss, answer, truth = lesson(encoder, batch=batch)
        step_down(loss, optimizer, weights)
        if step >= steps - 50:
            hits += _hits(answer.detach(), truth, lesson.sizes)
        if (step + 1) % 250 == 0 or step + 1 == steps:
            log.info("reading %d of %d: loss %.3f", step + 1, steps, float(loss.detach()))
    return {part: float(hits[k, 0] / hits[k, 1].clamp_min(1)) for k, part in enumerate(PARTS)}


def _loss(answer: torch.Tensor, truth: torch.Tensor, sizes: list[int]) -> torch.Tensor:
    losses = [
        F.cross_entropy(part, truth[:, k], ignore_index=UNSAID, reduction="sum")
        / (truth[:, k] != UNSAID).sum().clamp_min(1)
        for k, part in enumerate(torch.split(answer, sizes, dim=1))
    ]
    return torch.stack(losses).sum()


def _hits(answer: torch.Tensor, truth: torch.Tensor, sizes: list[int]) -> torch.Tensor:
    rows = []
    for k, part in enumerate(torch.split(answer, sizes, dim=1)):
        known = truth[:, k] != UNSAID
        rows.append(torch.stack([(part.argmax(dim=1) == truth[:, k])[known].sum(), known.sum()]).float().cpu())
    return torch.stack(rows)
