"""Places under the sky, and the cave."""

from __future__ import annotations

import random

from kolora.pocket.world.pen import Colour, Pen, dark, light
from kolora.pocket.world.scenery import WHITE, cloud, floor, hill, sky, star, tree


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
