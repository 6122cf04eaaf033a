"""The places of the little world: each paints what lies behind the figures, some also what lies before them."""

from __future__ import annotations

import random
from collections.abc import Callable

from PIL import Image

from kolora.pocket.world.pen import ENLARGE, Colour, Pen, dark, light, mixed

SIZE = 256
GROUND = 226
"""Where feet stand, in picture pixels from the top."""

Painter = Callable[[Pen, random.Random], None]
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


def sofa(pen: Pen, rng: random.Random) -> None:
    sky(pen, (252, 232, 198), (247, 218, 176))
    floor(pen, 196, (205, 160, 118), boards=6)
    pen.oval(128, 236, 118, 18, (238, 190, 150), outlined=False)
    frame(pen, 26 + rng.randint(-6, 6), 26, 62, 54, (176, 218, 240), (255, 250, 240))
    pen.line([(57, 28), (57, 78)], 3, (255, 250, 240))
    x = 208 + rng.randint(-6, 4)
    pen.line([(x, 98), (x, 196)], 4, (130, 96, 70))
    pen.area([(x - 13, 64), (x + 13, 64), (x + 24, 100), (x - 24, 100)], (255, 214, 110))
    teal: Colour = (62, 142, 146)
    pen.box(34, 118, 188, 92, dark(teal, 0.12), round_=24)
    for k in (0, 1):
        pen.box(52 + 76 * k, 152, 76, 48, light(teal, 0.12), round_=9)
    pen.box(22, 142, 38, 72, teal, round_=17)
    pen.box(196, 142, 38, 72, teal, round_=17)
    pen.box(62, 134, 32, 30, (246, 196, 84), round_=7)


def balcony(pen: Pen, rng: random.Random) -> None:
    sky(pen, (104, 120, 146), (168, 182, 198))
    x = -8
    while x < 256:
        w, h = rng.randint(30, 46), rng.randint(60, 120)
        pen.plain().box(x, 176 - h, w, h + 20, (126, 140, 164))
        for k in range(3):
            pen.plain().box(
                x + 8, 184 - h + k * 18, w - 18, 7, (246, 220, 140) if rng.random() < 0.4 else (146, 160, 184)
            )
        x += w + 3
    for x in range(4, 256, 21):
        pen.box(x, 150, 6, 64, (84, 90, 110))
    pen.box(-4, 140, 264, 12, (72, 78, 98))
    floor(pen, 208, (150, 152, 166))


def rain(pen: Pen, rng: random.Random) -> None:
    for _ in range(58):
        x, y = rng.uniform(-4, 262), rng.uniform(-12, 256)
        pen.line([(x, y), (x - 5, y + 15)], 1.3, (222, 234, 250), alpha=190)


def lights(pen: Pen, rng: random.Random, colours: tuple[Colour, ...]) -> None:
    for k, x in enumerate((38, 84, 128, 172, 218)):
        lean = rng.randint(-26, 26)
        pen.area([(x - 4, -2), (x + 4, -2), (x + 30 + lean, 206), (x - 30 + lean, 206)], colours[k % 3], alpha=74)
        pen.oval(x, 3, 8, 6, colours[k % 3], outlined=False)


def crowd(pen: Pen, rng: random.Random) -> None:
    sky(pen, (34, 20, 72), (120, 44, 128))
    pen.box(26, 92, 204, 62, (74, 40, 112), round_=4)
    lights(pen, rng, ((255, 110, 190), (100, 214, 255), (255, 226, 110)))
    floor(pen, 150, (52, 30, 84))
    _heads(pen, rng, 176, 9, (66, 38, 98))
    _heads(pen, rng, 206, 12, (44, 26, 72))


def crowd_front(pen: Pen, rng: random.Random) -> None:
    _heads(pen, rng, 252, 15, (24, 14, 44))


def _heads(pen: Pen, rng: random.Random, y: float, r: float, colour: Colour) -> None:
    x = rng.uniform(-6, 6)
    while x < 262:
        top = y + rng.uniform(-4, 4)
        if rng.random() < 0.5:
            up = x + rng.uniform(-3, 8)
            pen.line([(x + 3, top + r), (up, top - r * 1.7)], r * 0.4, colour)
            stick: Colour = rng.choice(((255, 120, 190), (110, 230, 255), (255, 236, 130)))
            pen.line([(up, top - r * 1.6), (up + 1.5, top - r * 2.7)], r * 0.32, stick)
        pen.oval(x, top, r, r, colour, outlined=False)
        pen.oval(x, top + r * 2.1, r * 1.6, r * 1.4, colour, outlined=False)
        x += r * rng.uniform(2.1, 2.6)


def stage(pen: Pen, rng: random.Random) -> None:
    sky(pen, (92, 22, 44), (128, 34, 56))
    for k in range(9):
        pen.plain().box(8 + k * 29, 0, 11, 186, (112, 28, 50))
    floor(pen, 182, (206, 148, 92), boards=7)
    pen.area([(112, -2), (144, -2), (214, 232), (42, 232)], (255, 244, 190), alpha=84)
    pen.oval(128, 230, 88, 17, (255, 240, 190), alpha=140)
    for side in (0, 1):
        edge = pen if side == 0 else pen.at(256, 0, mirrored=True)
        edge.blob([(-12, -12), (58, -12), (52, 60), (30, 120), (34, 214), (-12, 220)], (204, 44, 58))
        edge.line([(30, 0), (26, 70), (12, 200)], 2, (150, 26, 46))
        edge.box(-4, 120, 36, 8, (248, 204, 84), round_=3)
    pen.box(-6, -6, 268, 22, (176, 32, 50))
    for k in range(9):
        pen.oval(14 + k * 29, 18, 16, 12, (204, 44, 58))


def practice(pen: Pen, rng: random.Random) -> None:
    sky(pen, (206, 236, 222), (190, 226, 212))
    floor(pen, 190, (222, 178, 124), boards=7)
    frame(pen, 22, 34, 150, 150, (222, 240, 248), (160, 116, 80))
    for x in (40, 66):
        pen.line([(x, 172), (x + 46, 48)], 5, (242, 250, 255))
    pen.box(-4, 112, 264, 5, (172, 126, 88), outlined=False)
    x = 190 + rng.randint(-3, 6)
    pen.box(x, 108, 50, 96, (64, 62, 78), round_=5)
    for cy, r in ((132, 12), (174, 19)):
        pen.oval(x + 25, cy, r, r, (110, 110, 130))
        pen.oval(x + 25, cy, r * 0.45, r * 0.45, (44, 42, 56), outlined=False)
    for nx, ny in ((206, 44), (228, 62), (190, 74)):
        note(pen, nx + rng.randint(-5, 5), ny, (236, 116, 96))


def note(pen: Pen, x: float, y: float, colour: Colour) -> None:
    pen.line([(x + 4, y), (x + 4, y - 17), (x + 11, y - 13)], 2.4, colour)
    pen.oval(x, y, 5, 3.8, colour, outlined=False)


def dressing(pen: Pen, rng: random.Random) -> None:
    sky(pen, (255, 206, 222), (250, 188, 208))
    floor(pen, 200, (226, 190, 178))
    pen.box(38, 22, 180, 134, (255, 250, 244), round_=12)
    pen.box(52, 36, 152, 108, (196, 224, 242), round_=6)
    pen.area([(70, 140), (118, 38), (140, 38), (92, 140)], (226, 242, 252), outlined=False)
    for k in range(6):
        for y in (29, 150):
            pen.oval(50 + k * 31, y, 6, 6, (255, 226, 110))
    for y in (62, 92, 122):
        pen.oval(45, y, 6, 6, (255, 226, 110))
        pen.oval(211, y, 6, 6, (255, 226, 110))
    pen.box(14, 166, 228, 16, (248, 238, 232), round_=4)
    pen.box(24, 182, 54, 60, (238, 222, 218), round_=3)
    pen.box(178, 182, 54, 60, (238, 222, 218), round_=3)
    x = 24 + rng.randint(0, 6)
    for k, c in enumerate(((232, 88, 120), (120, 180, 220), (170, 120, 210))):
        pen.box(x + k * 13, 148 + 4 * (k % 2), 9, 18 - 4 * (k % 2), c, round_=3)
    pen.limb([(222, 166), (226, 140)], 4, (220, 170, 90))
    pen.oval(227, 136, 8, 8, (248, 150, 180))


def classroom(pen: Pen, rng: random.Random) -> None:
    sky(pen, (250, 244, 216), (244, 232, 196))
    floor(pen, 198, (214, 178, 128), boards=5)
    frame(pen, 30, 26, 196, 104, (44, 108, 84), (170, 118, 72))
    for k in range(3):
        y = 50 + k * 22
        pen.line([(48, y), (48 + rng.randint(40, 96), y)], 2.4, (214, 236, 220))
    pen.oval(188, 72, 17, 17, (214, 236, 220), outlined=False)
    pen.oval(188, 72, 14, 14, (44, 108, 84), outlined=False)
    pen.box(98, 130, 60, 5, (200, 150, 100))
    for x in (10, 186):
        pen.line([(x + 8, 182), (x + 6, 226)], 4, (126, 118, 124))
        pen.line([(x + 52, 182), (x + 54, 226)], 4, (126, 118, 124))
        pen.box(x, 170, 60, 12, (226, 170, 104), round_=3)
    pen.box(20, 160, 24, 10, (226, 92, 84), round_=2)
    pen.box(204, 158, 22, 12, (92, 142, 214), round_=2)


def tree(pen: Pen, x: float, y: float, s: float, leaves: Colour, trunk: Colour) -> None:
    pen.area([(x - 5 * s, y), (x + 5 * s, y), (x + 3.5 * s, y - 60 * s), (x - 3.5 * s, y - 60 * s)], trunk)
    with pen.together() as crown:
        for dx, dy, r in ((-17, -60, 18), (17, -60, 18), (0, -84, 22), (0, -60, 20)):
            crown.oval(x + dx * s, y + dy * s, r * s, r * s * 0.9, leaves)


def forest(pen: Pen, rng: random.Random) -> None:
    sky(pen, (206, 228, 214), (160, 202, 178))
    for k in range(6):
        pen.plain().box(10 + k * 46 + rng.randint(-10, 10), 0, 11, 190, (150, 186, 166))
    pen.oval(128, 150, 190, 24, (226, 240, 230), alpha=150)
    floor(pen, 196, (104, 158, 98))
    for x, w in ((14, 24), (66, 18), (200, 18), (244, 26)):
        x += rng.randint(-7, 7)
        pen.area([(x - w * 0.4, -4), (x + w * 0.4, -4), (x + w * 0.6, 214), (x - w * 0.6, 214)], (98, 84, 74))
    for x, y, size in ((6, 10, 46), (62, -4, 44), (128, -14, 40), (194, -4, 44), (250, 12, 46)):
        pen.oval(x + rng.randint(-6, 6), y, size, size * 0.8, (66, 128, 84))
    for y in (112, 150, 184):
        for x in (40, 130, 226):
            for r in (1.0, 0.72, 0.45):
                pen.oval(x + rng.randint(-12, 12), y + rng.randint(-6, 6), 74 * r, 17 * r, (240, 247, 242), alpha=70)
    for x in (30, 96, 166, 232):
        pen.area([(x - 10, 218), (x - 6, 202), (x, 216), (x + 5, 200), (x + 10, 218)], (70, 132, 76), outlined=False)


def village(pen: Pen, rng: random.Random) -> None:
    sky(pen, (255, 168, 116), (255, 232, 178), until=200)
    x = rng.choice((60, 196)) + rng.randint(-12, 12)
    pen.oval(x, 126, 46, 46, (255, 220, 150), alpha=120)
    pen.oval(x, 126, 30, 30, (255, 112, 72), outlined=False)
    hill(pen, 60, 176, 120, 44, (196, 150, 128))
    hill(pen, 214, 176, 110, 34, (206, 162, 132))
    floor(pen, 176, (172, 190, 100))
    for x, s in ((44, 1.0), (216, 1.05)):
        x += rng.randint(-8, 8)
        pen.box(x - 29 * s, 138, 58 * s, 54, (250, 230, 194))
        pen.area([(x - 38 * s, 140), (x, 100), (x + 38 * s, 140)], (190, 74, 58))
        pen.box(x - 8, 162, 16, 30, (142, 92, 62), round_=2)
        pen.box(x - 24 * s, 150, 12, 12, (255, 206, 96))
    pen.area([(108, 256), (150, 256), (136, 190), (122, 190)], (232, 208, 156), outlined=False)


def cave(pen: Pen, rng: random.Random) -> None:
    sky(pen, (54, 34, 44), (92, 52, 46))
    x, y = rng.choice((52, 204)) + rng.randint(-6, 6), 216
    for r, a in ((130, 50), (90, 60), (56, 80)):
        pen.oval(x, y - 24, r, r * 0.9, (255, 140, 50), alpha=a)
    floor(pen, 204, (98, 66, 58))
    for k in range(8):
        cx, h = -6 + k * 38 + rng.randint(-6, 6), rng.randint(26, 76)
        pen.area([(cx - 20, -4), (cx + 20, -4), (cx + rng.randint(-4, 4), h)], (62, 42, 52))
    for side in (0, 1):
        edge = pen if side == 0 else pen.at(256, 0, mirrored=True)
        edge.blob([(-20, 20), (16, 60), (10, 120), (22, 180), (8, 260), (-20, 260)], (56, 38, 48))
    pen.limb([(x - 22, y + 4), (x + 20, y - 4)], 8, (120, 78, 52))
    pen.limb([(x - 20, y - 4), (x + 22, y + 4)], 8, (104, 66, 46))
    for w, h, c in ((24, 66, (240, 82, 36)), (17, 48, (255, 152, 46)), (9, 28, (255, 230, 120))):
        pen.blob(
            [(x - w, y - 4), (x - w * 0.6, y - h * 0.5), (x, y - h), (x + w * 0.7, y - h * 0.45), (x + w, y - 4)],
            c,
            outlined=False,
        )


def bridge(pen: Pen, rng: random.Random) -> None:
    sky(pen, (166, 212, 240), (232, 242, 236))
    cloud(pen, 60 + rng.randint(-20, 20), 42, 1.2)
    cloud(pen, 196 + rng.randint(-20, 20), 30, 1.0)
    hill(pen, 56, 150, 100, 74, (138, 178, 168))
    hill(pen, 206, 150, 106, 90, (116, 160, 156))
    pen.plain().box(-4, 146, 264, 120, (92, 168, 198))
    for _ in range(7):
        x, y = rng.uniform(0, 250), rng.uniform(156, 200)
        pen.line([(x, y), (x + 22, y)], 1.8, (190, 226, 238))
    stone: Colour = (186, 176, 160)
    pen.area([(-8, 212), (60, 194), (128, 188), (196, 194), (264, 212), (264, 262), (-8, 262)], stone)
    pen.line([(-8, 236), (60, 219), (128, 213), (196, 219), (264, 236)], 2, dark(stone, 0.22))
    for x in range(10, 256, 34):
        pen.line([(x, 240), (x + (x - 128) * 0.06, 256)], 2, dark(stone, 0.18))
    for x in range(14, 256, 38):
        rise = 212 - 24 * (1 - ((x - 128) / 134) ** 2)
        pen.box(x - 4, rise - 36, 9, 38, light(stone, 0.2))
    rail = [(x, 212 - 24 * (1 - ((x - 128) / 134) ** 2) - 36) for x in range(-6, 264, 12)]
    pen.limb(rail, 9, stone)


def blossom(pen: Pen, rng: random.Random) -> None:
    sky(pen, (150, 208, 246), (224, 240, 246))
    hill(pen, 44, 176, 120, 92, (140, 190, 140))
    hill(pen, 214, 176, 116, 110, (118, 174, 130))
    floor(pen, 172, (146, 198, 112))
    pen.blob(
        [
            (70, 262),
            (186, 262),
            (150, 226),
            (112, 206),
            (150, 186),
            (140, 172),
            (128, 172),
            (124, 186),
            (78, 210),
            (84, 236),
        ],
        (240, 216, 168),
        outlined=False,
    )
    for x, s in ((28, 1.5), (232, 1.45)):
        tree(pen, x + rng.randint(-5, 5), 206, s, (252, 168, 196), (128, 90, 78))
    for _ in range(22):
        pen.oval(rng.uniform(0, 256), rng.uniform(10, 250), 2.6, 1.9, (255, 196, 216), outlined=False)


def bedroom(pen: Pen, rng: random.Random) -> None:
    sky(pen, (206, 196, 236), (192, 180, 226))
    floor(pen, 198, (176, 142, 128))
    x = 160 + rng.randint(-8, 12)
    frame(pen, x, 24, 66, 74, (48, 58, 116), WHITE)
    pen.oval(x + 44, 48, 10, 10, (255, 240, 170), outlined=False)
    pen.line([(x + 33, 26), (x + 33, 96)], 3, WHITE)
    pen.line([(x + 2, 62), (x + 64, 62)], 3, WHITE)
    pen.box(18, 96, 18, 130, (160, 106, 76), round_=5)
    pen.box(222, 150, 16, 80, (160, 106, 76), round_=5)
    pen.box(28, 160, 202, 28, (250, 246, 240), round_=9)
    pen.box(34, 138, 62, 32, (255, 255, 252), round_=13)
    pen.box(28, 178, 202, 46, (104, 140, 212), round_=9)
    for k in range(4):
        pen.oval(60 + k * 46, 202, 6, 6, (160, 190, 240), outlined=False)


def stars(pen: Pen, rng: random.Random) -> None:
    sky(pen, (14, 20, 66), (66, 76, 150))
    pen.area([(20, 200), (90, 200), (236, -4), (160, -4)], (120, 126, 200), alpha=46)
    for _ in range(46):
        x, y, r = rng.uniform(0, 256), rng.uniform(0, 180), rng.choice((0.9, 1.3, 2.0))
        pen.oval(x, y, r, r, (255, 250, 214), outlined=False)
    x, y = rng.choice((70, 170)) + rng.randint(-16, 16), 44
    pen.area([(x - 62, y - 26), (x, y - 3), (x - 2, y + 4)], (255, 250, 220), alpha=170)
    star(pen, x, y, 9, (255, 244, 170))
    x = 226 if x < 128 else 34
    pen.oval(x, 40, 19, 19, (255, 244, 198), outlined=False)
    pen.oval(x + 8, 36, 16, 16, (24, 30, 80), outlined=False)
    pen.blob([(-20, 262), (-20, 206), (60, 190), (150, 200), (276, 186), (276, 262)], (34, 60, 82))


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


def beach(pen: Pen, rng: random.Random) -> None:
    sky(pen, (112, 200, 246), (206, 238, 250))
    pen.oval(208 + rng.randint(-10, 10), 40, 22, 22, (255, 226, 92), outlined=False)
    cloud(pen, 66 + rng.randint(-16, 16), 46, 1.3)
    pen.plain().box(-4, 118, 264, 90, (54, 150, 210))
    for k in range(3):
        y = 132 + k * 17
        for x in range(-10 + 18 * (k % 2), 260, 44):
            pen.line([(x, y), (x + 9, y - 4), (x + 20, y)], 2, (190, 230, 246))
    pen.blob([(-20, 270), (-20, 194), (70, 184), (160, 192), (276, 182), (276, 270)], (250, 226, 166))
    pen.line([(-4, 192), (70, 182), (160, 190), (262, 180)], 4, WHITE)
    pen.limb([(30, 194), (26, 130), (36, 78)], 8, (158, 112, 72))
    with pen.together() as palm:
        for ax, ay in ((-34, 4), (-22, -22), (14, -30), (42, -10), (38, 14)):
            palm.blob(
                [(36, 76), (36 + ax * 0.5, 70 + ay * 0.9), (36 + ax, 80 + ay), (36 + ax * 0.5, 80 + ay * 0.5)],
                (64, 154, 84),
            )
    star(pen, 222, 240, 9, (240, 120, 92))


def snow(pen: Pen, rng: random.Random) -> None:
    sky(pen, (176, 200, 226), (228, 236, 246))
    pen.area([(-10, 180), (60, 84), (120, 180)], (196, 212, 232))
    pen.area([(90, 180), (190, 66), (286, 180)], (182, 202, 226))
    pen.area([(160, 101), (190, 66), (220, 101), (204, 96), (190, 108), (176, 96)], WHITE, outlined=False)
    pen.blob([(-20, 270), (-20, 186), (70, 176), (170, 186), (276, 174), (276, 270)], (246, 249, 253))
    for x, s in ((30, 1.1), (226, 1.25)):
        x += rng.randint(-6, 6)
        pen.box(x - 5, 190, 10, 16, (120, 84, 66))
        for k in range(3):
            y, w = 194 - k * 24 * s, (30 - 6 * k) * s
            pen.area([(x - w, y), (x, y - 40 * s), (x + w, y)], (62, 124, 112))
            pen.area([(x - w * 0.45, y - 22 * s), (x, y - 40 * s), (x + w * 0.45, y - 22 * s)], WHITE, outlined=False)


def snowfall(pen: Pen, rng: random.Random) -> None:
    for _ in range(30):
        r = rng.choice((1.6, 2.2, 2.8))
        pen.oval(rng.uniform(0, 256), rng.uniform(0, 256), r, r, (255, 255, 255), outlined=False)


def castle(pen: Pen, rng: random.Random) -> None:
    sky(pen, (138, 196, 244), (236, 238, 224))
    cloud(pen, 30 + rng.randint(-12, 12), 50, 1.0)
    cloud(pen, 226 + rng.randint(-12, 12), 70, 1.0)
    wall: Colour = (206, 200, 214)
    for x, w, top, roof in ((46, 40, 84, (86, 112, 190)), (210, 40, 84, (86, 112, 190)), (128, 54, 58, (206, 84, 106))):
        pen.box(x - w / 2, top, w, 130, wall)
        pen.area([(x - w / 2 - 7, top), (x, top - 50), (x + w / 2 + 7, top)], roof)
        pen.line([(x, top - 50), (x, top - 62)], 2, (110, 90, 90))
        pen.area([(x, top - 63), (x + 16, top - 58), (x, top - 52)], (250, 200, 70), outlined=False)
        pen.box(x - 7, top + 16, 14, 22, (92, 84, 120), round_=7)
    for k in range(9):
        pen.box(22 + k * 24, 122, 14, 14, wall)
    pen.box(16, 132, 224, 76, light(wall, 0.2))
    pen.box(104, 152, 48, 66, (132, 92, 70), round_=24)
    floor(pen, 202, (146, 190, 104))
    pen.area([(86, 260), (170, 260), (146, 202), (110, 202)], (232, 212, 170), outlined=False)


def library(pen: Pen, rng: random.Random) -> None:
    sky(pen, (150, 106, 76), (132, 92, 66))
    books: tuple[Colour, ...] = (
        (196, 76, 70),
        (76, 124, 170),
        (226, 184, 92),
        (96, 150, 108),
        (158, 110, 168),
        (236, 222, 196),
    )
    for y in (8, 58, 108, 158):
        pen.plain().box(6, y, 244, 42, (92, 60, 46))
        x = 10.0
        while x < 240:
            w, h = rng.randint(9, 15), rng.randint(28, 38)
            pen.plain().box(x, y + 42 - h, min(w, 246 - x), h, rng.choice(books))
            x += w + 1.5
        pen.box(2, y + 42, 252, 7, (178, 130, 90))
    floor(pen, 204, (196, 152, 112), boards=5)
    pen.oval(128, 240, 110, 15, (178, 84, 84), outlined=False)


def ground_shadow(pen: Pen, x: float, y: float, width: float) -> None:
    """Lay the soft shadow under a figure."""
    pen.oval(x, y, width, width * 0.16, (40, 30, 60), alpha=46)
    pen.oval(x, y, width * 0.74, width * 0.11, (40, 30, 60), alpha=46)


BEHIND: dict[str, Painter] = {
    "sofa": sofa,
    "balcony": balcony,
    "crowd": crowd,
    "stage": stage,
    "practice": practice,
    "dressing": dressing,
    "classroom": classroom,
    "forest": forest,
    "village": village,
    "cave": cave,
    "bridge": bridge,
    "blossom": blossom,
    "bedroom": bedroom,
    "stars": stars,
    "beach": beach,
    "snow": snow,
    "castle": castle,
    "library": library,
}
BEFORE: dict[str, Painter] = {"balcony": rain, "crowd": crowd_front, "snow": snowfall}

__all__ = ["BEFORE", "BEHIND", "GROUND", "SIZE", "ground_shadow", "mixed", "note", "star"]
