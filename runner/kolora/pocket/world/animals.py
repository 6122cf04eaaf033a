"""Animals of the little world, each about a hundred units tall with its feet at the origin, facing right."""

from __future__ import annotations

from kolora.pocket.world.pen import Colour, Pen, dark, light
from kolora.pocket.world.people import COLOURS, INK
from kolora.pocket.world.scene import Figure

COATS: dict[str, Colour] = {
    **COLOURS,
    "orange": (244, 158, 76),
    "black": (62, 58, 72),
    "white": (250, 248, 244),
    "brown": (156, 100, 64),
    "red": (220, 66, 60),
    "green": (82, 172, 96),
    "blue": (70, 130, 216),
    "purple": (150, 96, 204),
}


def draw_animal(pen: Pen, figure: Figure, action: str) -> None:
    """Draw a cat, a dragon or a horse."""
    {"cat": _cat, "dragon": _dragon, "horse": _horse}[figure.character](pen, COATS[figure.colour], action)


def _shut_eye(pen: Pen, x: float, y: float, w: float) -> None:
    pen.line([(x - w, y - 1), (x - w * 0.4, y + 1.4), (x + w * 0.4, y + 1.4), (x + w, y - 1)], 1.7, INK)


def _zs(pen: Pen, x: float, y: float) -> None:
    for k, s in ((0, 1.0), (1, 0.75)):
        pen.at(x + 13 * k, y - 13 * k, scale=s).line([(-5, -5), (5, -5), (-5, 5), (5, 5)], 2.6, (150, 150, 220))


def _cat(pen: Pen, fur: Colour, action: str) -> None:
    deep = dark(fur, 0.2) if fur != COATS["black"] else light(fur, 0.22)
    pale = light(fur, 0.55)
    if action == "sleep":
        pen.oval(4, -24, 46, 25, fur)
        pen.limb([(44, -20), (34, -3), (-6, -4)], 12, deep)
        _cat_head(pen.at(-26, -30), fur, deep, pale, asleep=True)
        _zs(pen, 6, -72)
        return
    if action == "walk":
        pen.limb([(-34, -42), (-52, -60), (-46, -84)], 10, deep)
        for x in (-26, -12, 16, 28):
            pen.limb([(x, -30), (x + 4 * (1 if x in (-12, 28) else -1), -4)], 11, deep if x in (-26, 16) else fur)
        pen.oval(0, -38, 40, 21, fur)
        _cat_head(pen.at(36, -62), fur, deep, pale, asleep=False)
        return
    pen.limb([(22, -10), (44, -14), (48, -42), (38, -54)], 11, deep)
    pen.blob([(-12, -62), (12, -62), (25, -30), (27, -6), (0, 0), (-27, -6), (-25, -30)], fur)
    pen.oval(0, -32, 12, 17, pale, outlined=False)
    for s in (-1, 1):
        pen.oval(s * 12, -4, 9.5, 6.5, fur)
    _cat_head(pen.at(0, -72), fur, deep, pale, asleep=False)


def _cat_head(pen: Pen, fur: Colour, deep: Colour, pale: Colour, *, asleep: bool) -> None:
    for s in (-1, 1):
        pen.area([(s * 27, -6), (s * 25, -37), (s * 5, -20)], fur)
        pen.area([(s * 22.5, -14), (s * 21.5, -29), (s * 11, -20)], (250, 170, 180), outlined=False)
    pen.oval(0, 0, 29, 24, fur)
    for x in (-7, 0, 7):
        pen.line([(x, -22), (x * 0.8, -14)], 3, deep)
    pen.oval(0, 9, 13, 9.5, pale, outlined=False)
    for s in (-1, 1):
        if asleep:
            _shut_eye(pen, s * 12, -2, 6)
        else:
            pen.oval(s * 12, -3, 6, 7, (104, 190, 110), outlined=False)
            pen.oval(s * 12, -3, 3.2, 6, INK, outlined=False)
            pen.oval(s * 12 - 1.6, -6, 1.7, 1.9, (255, 255, 255), outlined=False)
        for dy in (6, 11):
            pen.line([(s * 15, dy), (s * 33, dy - 3 + (dy - 6))], 1.0, dark(pale, 0.35))
    pen.area([(-4, 4), (4, 4), (0, 8.4)], (240, 120, 140), outlined=False)
    pen.line([(-6, 12), (-3, 14), (0, 11), (3, 14), (6, 12)], 1.4, INK)


def _dragon(pen: Pen, skin: Colour, action: str) -> None:
    deep, belly = dark(skin, 0.22), (252, 228, 164)
    horn: Colour = (255, 240, 210)
    if action == "sleep":
        pen.limb([(-40, -14), (-66, -10), (-74, -26)], 13, skin)
        _wing(pen.at(-4, -44, turn=-46, scale=0.8), deep, horn)
        pen.oval(-4, -26, 50, 27, skin)
        _dragon_head(pen.at(50, -20), skin, deep, horn, asleep=True, fire=False)
        _zs(pen, 44, -62)
        return
    flying = action in ("fly", "ride")
    up = pen.at(0, -22) if action == "fly" else pen
    _wing(up.at(-6, -62, turn=14), dark(skin, 0.4), horn)
    tail = [(-18, -14), (-48, -6), (-66, -24), (-60, -46)]
    up.limb(tail, 14, skin)
    up.area([(-66, -44), (-53, -46), (-62, -64)], deep)
    if flying:
        for x in (-12, 16):
            up.limb([(x, -14), (x - 8, 2)], 13, deep)
    up.blob([(-6, -70), (16, -76), (32, -44), (30, -10), (4, -1), (-26, -8), (-28, -40)], skin)
    up.blob([(8, -62), (24, -60), (31, -38), (28, -12), (12, -6), (6, -34)], belly, outlined=False)
    for y in (-48, -34, -20):
        up.line([(9, y), (30, y + 1)], 1.6, dark(belly, 0.2))
    if not flying:
        for x in (-14, 18):
            up.oval(x, -5, 14, 7, deep)
    up.limb([(20, -44), (36, -36)], 9, deep)
    for x, y in ((-12, -72), (-24, -54), (-31, -34)):
        up.area([(x - 5, y + 8), (x - 13, y - 6), (x + 5, y - 4)], deep)
    _wing(up.at(-2, -56, turn=-8), deep, horn)
    _dragon_head(up.at(20, -86), skin, deep, horn, asleep=False, fire=action in ("fire", "fight"))


def _wing(pen: Pen, skin: Colour, horn: Colour) -> None:
    pen.area([(0, 0), (-16, -44), (-66, -58), (-58, -38), (-62, -20), (-44, -20), (-38, -4), (-22, -10)], skin)
    pen.line([(0, 0), (-16, -44), (-66, -58)], 3, light(skin, 0.3))
    for x, y in ((-58, -38), (-44, -20), (-22, -10)):
        pen.line([(-16, -44), (x, y)], 1.5, light(skin, 0.3))


def _dragon_head(pen: Pen, skin: Colour, deep: Colour, horn: Colour, *, asleep: bool, fire: bool) -> None:
    if fire:
        for w, c in ((1.0, (240, 84, 40)), (0.68, (255, 160, 50)), (0.36, (255, 236, 130))):
            pen.blob(
                [(36, 8), (50, 8 - 15 * w), (60 + 26 * w, 10 - 8 * w), (56 + 20 * w, 12 + 6 * w), (50, 10 + 13 * w)],
                c,
                outlined=False,
            )
    for x, lean in ((-10, -14), (4, -6)):
        pen.area([(x - 5, -18), (x + lean, -42), (x + 6, -20)], horn)
    with pen.together() as head:
        head.oval(0, 0, 26, 22, skin)
        head.oval(24, 7, 17, 13, skin)
    pen.oval(33, 2, 2.2, 2.8, dark(deep, 0.4), outlined=False)
    if asleep:
        _shut_eye(pen, 7, -3, 7)
    else:
        pen.oval(7, -5, 7.6, 8.6, (255, 250, 224), outlined=False)
        pen.oval(9, -4.6, 4.2, 6.6, INK, outlined=False)
        pen.oval(7.6, -8, 1.8, 2, (255, 255, 255), outlined=False)
    pen.line([(16, 14), (26, 16), (38, 12)], 1.8, dark(deep, 0.4))
    if not fire:
        pen.area([(29, 14), (34, 13.4), (32, 19)], (255, 255, 250), outlined=False)
    pen.oval(-9, 8, 4.6, 3.2, light(skin, 0.4), outlined=False)


def _horse(pen: Pen, coat: Colour, action: str) -> None:
    mane = (86, 56, 48) if coat != COATS["black"] and coat != COATS["white"] else dark(coat, 0.35)
    if coat == COATS["white"]:
        mane = (200, 196, 206)
    deep = dark(coat, 0.18)
    hoof = (84, 66, 66)
    pen.blob([(-34, -62), (-52, -58), (-60, -34), (-52, -16), (-46, -34)], mane)
    reach = {"run": ((-22, 16), (20, 16)), "ride": ((-12, 6), (10, 8))}.get(action, ((0, 0), (0, 0)))
    legs = ((-26, reach[0][0], deep), (24, reach[1][0], deep), (-18, reach[0][1], coat), (32, reach[1][1], coat))
    for x, swing, c in legs:
        pen.limb([(x, -36), (x + swing * 0.6, -20), (x + swing, -5)], 10, c)
        pen.box(x + swing - 6, -7, 12, 7.5, hoof, round_=2)
    with pen.together() as body:
        body.oval(0, -48, 42, 21, coat)
        body.blob([(18, -58), (36, -96), (52, -96), (46, -64), (38, -40)], coat)
    head = pen.at(48, -98, turn=24)
    for x in (-7, 3):
        head.area([(x - 4, -10), (x, -26), (x + 5, -10)], coat)
    with head.together() as skull:
        skull.oval(0, 0, 16, 13.5, coat)
        skull.oval(20, 4, 14, 10, coat)
    head.oval(25, 5, 9, 8, light(coat, 0.45), outlined=False)
    head.oval(28, 2, 1.6, 2.2, INK, outlined=False)
    head.oval(3, -3, 3.8, 4.8, INK, outlined=False)
    head.oval(2, -5, 1.4, 1.6, (255, 255, 255), outlined=False)
    head.line([(18, 11), (26, 12)], 1.5, INK)
    pen.blob([(46, -116), (34, -114), (24, -92), (12, -66), (20, -60), (34, -80), (42, -100)], mane)
    if action == "ride":
        pen.blob([(-16, -70), (12, -70), (16, -50), (-20, -50)], (150, 74, 66))
        head.line([(-6, 8), (12, 10), (12, -6)], 1.8, (120, 60, 56))
        pen.line([(56, -90), (24, -76)], 1.8, (120, 60, 56))
