"""Draw a scene: place, figures, what lies before them, the style's finish and the faults, if any."""

from __future__ import annotations

import random
from dataclasses import replace

from PIL import Image

from kolora.pocket.world.animals import draw_animal
from kolora.pocket.world.pen import ENLARGE, Pen
from kolora.pocket.world.people import draw_person
from kolora.pocket.world.places import BACKGROUNDS, FOREGROUNDS
from kolora.pocket.world.scene import ANIMALS, Figure, WorldScene
from kolora.pocket.world.scenery import GROUND, SIZE, ground_shadow
from kolora.pocket.world.spoil import spoil
from kolora.pocket.world.styles import FINISHES, LOOKS


def draw(scene: WorldScene, *, seed: int, size: int = SIZE) -> Image.Image:
    """Return the scene as an RGB picture, ``size`` pixels square; equal seeds give equal pictures."""
    rng = random.Random(seed)  # noqa: S311
    canvas = Image.new("RGB", (SIZE * ENLARGE, SIZE * ENLARGE), (255, 255, 255))
    look = LOOKS[scene.style]
    pen = Pen(canvas, look)
    # One generator for all: another order of drawing changes every picture, and asks for a new WORLD_VERSION.
    BACKGROUNDS[scene.place](Pen(canvas, replace(look, tint=look.far or look.tint)), rng)
    _figures(pen, scene, rng)
    if scene.place in FOREGROUNDS:
        FOREGROUNDS[scene.place](pen, rng)
    picture = FINISHES[scene.style](canvas.reduce(ENLARGE), rng)
    for fault, amount in scene.spoilt:
        picture = spoil(picture, fault, amount, rng)
    return picture if size == SIZE else picture.resize((size, size), Image.Resampling.LANCZOS)


def _figures(pen: Pen, scene: WorldScene, rng: random.Random) -> None:
    mirrored = rng.random() < 0.5
    ground = GROUND + rng.uniform(2, 14)
    if scene.companion is None:
        _alone(pen, scene, rng, ground=ground, mirrored=mirrored)
    elif scene.action == "ride":
        _riding(pen, scene, rng, ground=ground, mirrored=mirrored)
    else:
        _side_by_side(pen, scene, rng, ground=ground, mirrored=mirrored)


def _alone(pen: Pen, scene: WorldScene, rng: random.Random, *, ground: float, mirrored: bool) -> None:
    animal = scene.figure.character in ANIMALS
    lying = scene.action == "sleep"
    x = 128 + rng.uniform(-26, 26)
    if scene.framing == "half":
        scale = rng.uniform(2.15, 2.4) * (0.9 if animal else 1.0)
        x = 128 + rng.uniform(-12, 12)
        ground = 318 if not lying else 246
        if scene.action == "sit" and not animal:
            ground = 296
        if lying:
            scale *= 0.82
            x += (34 if not animal else 0) * (-1 if mirrored else 1)
        elif animal:
            ground = 268 if scene.figure.character == "cat" else 290
            x -= {"cat": 0, "dragon": 22, "horse": 44}[scene.figure.character] * (-1 if mirrored else 1)
            if scene.action == "walk":
                x -= 34 * (-1 if mirrored else 1)
    else:
        scale = rng.uniform(1.42, 1.62)
        if animal:
            scale *= {"cat": 1.05, "dragon": 0.98, "horse": 1.06}[scene.figure.character]
        if lying or (animal and scene.figure.character != "cat"):
            x = 128 + rng.uniform(-10, 10)
        if scene.action == "fire" or (lying and scene.figure.character == "dragon"):
            x -= 22 * (-1 if mirrored else 1)
            scale *= 0.92
        ground_shadow(pen, x, ground + 1, (66 if lying or scene.figure.character == "horse" else 32) * scale)
    _figure(pen.at(x, ground, scale=scale, mirrored=mirrored), scene.figure, scene.action, scene.expression)


def _riding(pen: Pen, scene: WorldScene, rng: random.Random, *, ground: float, mirrored: bool) -> None:
    assert scene.companion is not None
    scale = rng.uniform(1.3, 1.4)
    x = 128 + rng.uniform(-10, 10)
    ground_shadow(pen, x, ground + 1, 62 * scale)
    mount = pen.at(x, ground, scale=scale, mirrored=mirrored)
    dragon = scene.companion.character == "dragon"
    draw_animal(mount.at(0, -8) if dragon else mount, scene.companion, "ride")
    seat = mount.at(-22, -52, scale=0.8) if dragon else mount.at(-3, -44, scale=0.86)
    draw_person(seat, scene.figure, "ride", scene.expression)
    boot = (92, 70, 96)
    seat.limb([(4, -22), (11, -8), (9, 8)], 10, boot)
    seat.oval(12, 10, 7.5, 4.6, (70, 52, 66))


def _side_by_side(pen: Pen, scene: WorldScene, rng: random.Random, *, ground: float, mirrored: bool) -> None:
    assert scene.companion is not None
    other = scene.companion
    scale = rng.uniform(1.22, 1.36)
    near = scene.action == "hug"
    reach = {"cat": 41, "dragon": 60, "horse": 62}.get(other.character, 45) * (0.84 if near else 1.0)
    if scene.action == "fight":
        reach = 72
    flip = -1 if mirrored else 1
    left, right = 128 - reach / 2 * scale * flip * 1.06, 128 + reach / 2 * scale * flip * 1.06
    size = {"cat": 0.8, "dragon": 1.0, "horse": 1.02}.get(other.character, 1.0)
    ground_shadow(pen, left, ground + 1, 30 * scale)
    ground_shadow(pen, right, ground + 1, 34 * scale)
    doing = {"hug": "sit", "feed": "sit", "fight": "fight", "stand": "stand"}[scene.action]
    if other.character == "horse":
        doing = "stand"
    companion = pen.at(right, ground, scale=scale * size, mirrored=not mirrored)
    hero = pen.at(left, ground, scale=scale, mirrored=mirrored)
    if other.character in ANIMALS:
        draw_animal(companion, other, doing)
    else:
        draw_person(companion, other, "hug" if near else "stand", "smile")
    draw_person(hero, scene.figure, scene.action, scene.expression)
    if near:
        _heart(pen, 128, ground - 118 * scale, 9)


def _heart(pen: Pen, x: float, y: float, r: float) -> None:
    pen.blob(
        [
            (x, y - r * 0.45),
            (x + r * 0.6, y - r),
            (x + r * 1.1, y - r * 0.3),
            (x, y + r),
            (x - r * 1.1, y - r * 0.3),
            (x - r * 0.6, y - r),
        ],
        (240, 70, 100),
    )


def _figure(pen: Pen, figure: Figure, action: str, expression: str) -> None:
    if figure.character in ANIMALS:
        draw_animal(pen, figure, action)
    else:
        draw_person(pen, figure, action, expression)
