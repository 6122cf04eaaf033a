"""A scene of the little world: what it may show, and how one is drawn by lot."""

from __future__ import annotations

import random
from dataclasses import dataclass

STYLES = ("anime", "watercolor", "crayon", "papercut", "pixel", "neon", "pencil", "vintage")
HELD_OUT = ("ink", "porcelain")
"""Styles that base training never sees, so that a LoRA has something to teach."""

PEOPLE = ("girl", "boy", "knight", "princess")
ANIMALS = ("cat", "dragon", "horse")
CHARACTERS = PEOPLE + ANIMALS

PLACES = (
    "sofa",
    "balcony",
    "crowd",
    "stage",
    "practice",
    "dressing",
    "classroom",
    "forest",
    "village",
    "cave",
    "bridge",
    "blossom",
    "bedroom",
    "stars",
    "beach",
    "snow",
    "castle",
    "library",
)
HAIR_COLOURS = ("black", "brown", "golden", "red", "purple", "pink", "blue", "silver")
CLOTHES_COLOURS = ("red", "pink", "purple", "blue", "green", "yellow", "white", "black")
COATS = {
    "cat": ("orange", "black", "white", "grey"),
    "dragon": ("red", "green", "blue", "purple"),
    "horse": ("brown", "white", "black"),
}
GARMENTS = {
    "girl": ("dress", "sweater", "coat"),
    "boy": ("shirt", "sweater", "coat"),
    "knight": ("cape",),
    "princess": ("gown",),
}
EXPRESSIONS = ("smile", "sad", "angry", "surprised")
FRAMINGS = ("full", "half")
DEGRADATIONS = ("ugly", "deformed", "noisy", "blurry", "low_contrast")

ALONE = {
    "girl": ("stand", "wave", "cheer", "sit", "sing", "guitar", "read", "wish", "sleep", "walk"),
    "boy": ("stand", "wave", "cheer", "sit", "sing", "guitar", "read", "wish", "sleep", "walk"),
    "knight": ("stand", "wave", "sit", "sleep", "walk", "fight"),
    "princess": ("stand", "wave", "sit", "sing", "read", "wish", "sleep", "walk"),
    "cat": ("sit", "walk", "sleep"),
    "dragon": ("sit", "fly", "sleep", "fire"),
    "horse": ("stand", "run"),
}
"""What each character does by itself."""

TOGETHER = {
    "hug": ("cat", "dragon", "girl", "boy"),
    "feed": ("cat", "dragon", "horse"),
    "ride": ("horse", "dragon"),
    "fight": ("dragon",),
    "stand": ("cat", "dragon", "horse", "girl", "boy", "knight", "princess"),
}
"""What people do with a companion, and with whom."""

FACED = frozenset(("stand", "wave", "walk", "hug", "feed", "ride"))
"""Actions that leave the face free to show an expression; the others bring their own."""


@dataclass(frozen=True)
class Figure:
    """One character: its hair and clothes where it has them, else the colour of its coat."""

    character: str
    colour: str
    garment: str | None = None
    hair: str | None = None
    hair_colour: str | None = None


@dataclass(frozen=True)
class WorldScene:
    """One picture: who, with whom, doing what, where, seen how, drawn in which style, spoilt how much."""

    style: str
    place: str
    figure: Figure
    action: str
    expression: str = "smile"
    framing: str = "full"
    companion: Figure | None = None
    spoilt: tuple[tuple[str, float], ...] = ()
    """Degradations with their amounts, 0 to 1; empty for a clean picture."""


def sample_figure(rng: random.Random, character: str) -> Figure:
    """Return a character of random looks."""
    if character in ANIMALS:
        return Figure(character, rng.choice(COATS[character]))
    colour, garment = rng.choice(CLOTHES_COLOURS), rng.choice(GARMENTS[character])
    if character == "knight":
        return Figure(character, colour, garment)
    often_long = {"girl": 0.5, "boy": 0.12, "princess": 0.85}[character]
    hair = "long" if rng.random() < often_long else "short"
    return Figure(character, colour, garment, hair, rng.choice(HAIR_COLOURS))


def sample_scene(rng: random.Random, *, style: str | None = None, spoilt: bool = False) -> WorldScene:
    """Return a random scene; its style is one of the base styles unless one is named."""
    style = style or rng.choice(STYLES)
    character = rng.choices(CHARACTERS, weights=(30, 14, 14, 14, 11, 10, 7))[0]
    figure = sample_figure(rng, character)
    action, companion = rng.choice(ALONE[character]), None
    if character in PEOPLE and rng.random() < 0.27:
        action = rng.choice([a for a in TOGETHER if a != "fight" or character == "knight" or rng.random() < 0.3])
        companion = sample_figure(rng, rng.choice([c for c in TOGETHER[action] if c != character]))
    expression = "smile"
    if character in PEOPLE and action in FACED and rng.random() < 0.45:
        expression = rng.choice(EXPRESSIONS)
    framing = "half" if rng.random() < (0.4 if companion is None else 0.0) else "full"
    return WorldScene(
        style=style,
        place=rng.choice(PLACES),
        figure=figure,
        action=action,
        expression=expression,
        framing=framing,
        companion=companion,
        spoilt=sample_spoiling(rng) if spoilt else (),
    )


def sample_spoiling(rng: random.Random) -> tuple[tuple[str, float], ...]:
    """Return one to all of the degradations with their amounts."""
    count = rng.choices((1, 2, 3, 5), weights=(6, 2, 1, 2))[0]
    return tuple((d, round(rng.uniform(0.35, 1.0), 2)) for d in sorted(rng.sample(DEGRADATIONS, count)))
