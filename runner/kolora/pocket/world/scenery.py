"""What several places are made of: sky, floor, hills, clouds, trees, and the shadow under a figure."""

from __future__ import annotations

from PIL import Image

from kolora.pocket.world.pen import ENLARGE, Colour, Pen, dark

SIZE = 256
"""Side of a picture, in pixels; the pens draw it ENLARGE times as large."""
GROUND = 226
"""Where feet stand, in picture pixels from the top."""
WHITE: Colour = (250, 248, 242)


def sky(pen: Pen, top: Colour, low: Colour, *, until: int = SIZE) -> None:
    """Paint the canvas from its upper edge with a gradient."""
    column = Image.new("RGB", (1, 2))
    column.putpixel((0, 0), pen.look.tint(top))
    column.putpixel((0, 1), pen.look.tint(low))
    height = until * ENLARGE
    column = column.resize((1, height), Image.Resampling.BILINEAR, box=(0, 0.5, 1, 1.5))
    pen.canvas.paste(column.resize((SIZE * ENLARGE, height), Image.Resampling.NEAREST), (0, 0))


def floor(pen: Pen, y: float, colour: Colour, *, boards: int = 0) -> None:
    pen.box(-4, y, 264, 260 - y, colour)
    for k in range(boards):
        x = 128 + (k - (boards - 1) / 2) * 52
        pen.line([(128 + (x - 128) * 0.72, y), (128 + (x - 128) * 1.5, 256)], 1.2, dark(colour, 0.18))


def frame(pen: Pen, x: float, y: float, w: float, h: float, inside: Colour, rim: Colour) -> None:
    pen.box(x, y, w, h, rim, round_=2)
    pen.box(x + 4, y + 4, w - 8, h - 8, inside, outlined=False)


def hill(pen: Pen, x: float, y: float, w: float, h: float, colour: Colour) -> None:
    pen.blob(
        [(x - w, y + 8), (x - w * 0.5, y - h * 0.55), (x, y - h), (x + w * 0.55, y - h * 0.5), (x + w, y + 8)], colour
    )


def cloud(pen: Pen, x: float, y: float, s: float, colour: Colour = WHITE) -> None:
    for dx, dy, r in ((-13, 2, 9), (0, -4, 13), (14, 2, 9)):
        pen.oval(x + dx * s, y + dy * s, r * s * 1.25, r * s * 0.8, colour, outlined=False)


def note(pen: Pen, x: float, y: float, colour: Colour) -> None:
    pen.line([(x + 4, y), (x + 4, y - 17), (x + 11, y - 13)], 2.4, colour)
    pen.oval(x, y, 5, 3.8, colour, outlined=False)


def tree(pen: Pen, x: float, y: float, s: float, leaves: Colour, trunk: Colour) -> None:
    pen.area([(x - 5 * s, y), (x + 5 * s, y), (x + 3.5 * s, y - 60 * s), (x - 3.5 * s, y - 60 * s)], trunk)
    with pen.together() as crown:
        for dx, dy, r in ((-17, -60, 18), (17, -60, 18), (0, -84, 22), (0, -60, 20)):
            crown.oval(x + dx * s, y + dy * s, r * s, r * s * 0.9, leaves)


def star(pen: Pen, x: float, y: float, r: float, colour: Colour) -> None:
    ring = (
        (0, -1),
        (0.24, -0.32),
        (0.95, -0.31),
        (0.38, 0.12),
        (0.59, 0.81),
        (0, 0.4),
        (-0.59, 0.81),
        (-0.38, 0.12),
        (-0.95, -0.31),
        (-0.24, -0.32),
    )
    pen.area([(x + a * r, y + b * r) for a, b in ring], colour, outlined=False)


def ground_shadow(pen: Pen, x: float, y: float, width: float) -> None:
    """Lay the soft shadow under a figure."""
    pen.oval(x, y, width, width * 0.16, (40, 30, 60), alpha=46)
    pen.oval(x, y, width * 0.74, width * 0.11, (40, 30, 60), alpha=46)
