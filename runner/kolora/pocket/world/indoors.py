"""Places with walls: rooms, the stage and its crowd."""

from __future__ import annotations

import random

from kolora.pocket.world.pen import Colour, Pen, dark, light
from kolora.pocket.world.scenery import WHITE, floor, frame, note, sky


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
