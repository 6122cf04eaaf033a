"""People of the little world: large heads, clear clothes, one set of joints a pose."""

from __future__ import annotations

from dataclasses import dataclass

from kolora.pocket.world.pen import Colour, Pen, Point, dark, light
from kolora.pocket.world.scene import Figure
from kolora.pocket.world.scenery import note, star

COLOURS: dict[str, Colour] = {
    "red": (222, 58, 62),
    "pink": (250, 150, 188),
    "purple": (146, 86, 200),
    "blue": (60, 116, 218),
    "green": (70, 166, 92),
    "yellow": (250, 206, 66),
    "white": (250, 248, 244),
    "black": (54, 50, 64),
    "brown": (134, 86, 56),
    "golden": (244, 200, 96),
    "silver": (214, 218, 230),
    "orange": (240, 150, 70),
    "grey": (158, 160, 172),
}
HAIR: dict[str, Colour] = {
    **COLOURS,
    "black": (48, 42, 58),
    "red": (200, 66, 48),
    "purple": (136, 88, 196),
    "pink": (252, 160, 196),
    "blue": (74, 128, 220),
}
SKIN: Colour = (255, 222, 196)
STEEL: Colour = (192, 200, 216)
INK: Colour = (58, 38, 52)


@dataclass(frozen=True)
class Arms:
    """Elbow and hand of the left arm, then of the right, in figure units."""

    left: tuple[Point, Point] = ((-17, -41), (-20, -30))
    right: tuple[Point, Point] = ((17, -41), (20, -30))


ARMS: dict[str, Arms] = {
    "wave": Arms(right=((22, -56), (31, -73))),
    "cheer": Arms(left=((-23, -58), (-29, -78)), right=((23, -58), (29, -78))),
    "sit": Arms(left=((-17, -40), (-12, -57)), right=((17, -40), (12, -57))),
    "sing": Arms(left=((-23, -48), (-34, -55)), right=((20, -44), (9, -52))),
    "guitar": Arms(left=((-24, -43), (-31, -46)), right=((19, -40), (6, -34))),
    "read": Arms(left=((-18, -40), (-13, -36)), right=((18, -40), (13, -36))),
    "wish": Arms(left=((-17, -42), (-2, -48)), right=((17, -42), (2, -48))),
    "walk": Arms(left=((-19, -44), (-25, -36)), right=((17, -40), (12, -32))),
    "fight": Arms(left=((-19, -44), (-25, -42)), right=((22, -52), (32, -58))),
    "hug": Arms(right=((24, -46), (38, -42))),
    "feed": Arms(right=((22, -42), (36, -38))),
    "ride": Arms(left=((-4, -38), (16, -36)), right=((16, -40), (24, -36))),
}


def draw_person(pen: Pen, figure: Figure, action: str, expression: str) -> None:
    """Draw a person whose feet stand at the origin and who is 100 units tall; a sleeper lies across it."""
    if action == "sleep":
        _sleeper(pen, figure)
        return
    seated = action == "sit"
    if action != "ride":
        _legs(pen, figure, action)
    upper = pen.at(0, 15) if seated else pen
    cloth = COLOURS[figure.colour]
    if figure.character == "knight":
        upper.blob([(-12, -56), (12, -56), (25, -12), (14, -6), (-14, -6), (-25, -12)], cloth)
    _back_hair(upper, figure)
    arms = ARMS.get(action, Arms())
    _body(upper, figure, action)
    if action == "guitar":
        _guitar(upper)
    _arm(upper, figure, (-11, -51), arms.left)
    _arm(upper, figure, (11, -51), arms.right)
    if action == "read":
        _book(upper)
    head = upper.at(0, 0)
    _head(head, figure, action, expression)
    _held_things(upper, figure, action, arms)


def _legs(pen: Pen, figure: Figure, action: str) -> None:
    trousers = figure.character == "boy"
    leg = STEEL if figure.character == "knight" else (66, 74, 108) if trousers else SKIN
    shoe = dark(STEEL, 0.3) if figure.character == "knight" else (120, 70, 60)
    if action == "sit":
        for s in (-1, 1):
            pen.limb([(s * 8, -12), (s * 17, -5)], 11, leg)
            pen.oval(s * 21, -4, 6.5, 5.5, shoe)
        return
    stride = {"walk": (-8, 9), "fight": (-6, 8)}.get(action, (0, 0))
    for s, lift in ((-1, stride[0]), (1, stride[1])):
        pen.limb([(s * 6.5, -26), (s * 7 + lift, -5)], 9.5, leg)
        pen.oval(s * 8.5 + lift * 1.1, -3, 7, 4.2, shoe)


def _body(pen: Pen, figure: Figure, action: str) -> None:
    cloth, garment = COLOURS[figure.colour], figure.garment
    if garment == "cape":
        pen.blob([(-12, -56), (12, -56), (15, -40), (14, -21), (-14, -21), (-15, -40)], STEEL)
        pen.area([(-8, -55), (8, -55), (10, -22), (0, -16), (-10, -22)], cloth)
        pen.box(-14.5, -34, 29, 5, (150, 108, 72), outlined=False)
    elif garment == "gown":
        low = -8 if action == "sit" else -4
        pen.blob(
            [(-9, -55), (9, -55), (11, -40), (27, low - 3), (20, low), (-20, low), (-27, low - 3), (-11, -40)], cloth
        )
        pen.blob([(-3, -38), (3, -38), (11, low), (-11, low)], light(cloth, 0.45), outlined=False)
        pen.box(-11, -41, 22, 4, (250, 208, 84), outlined=False)
    elif garment == "dress":
        low = -18
        pen.blob(
            [(-8, -55), (8, -55), (11, -42), (23, low - 2), (17, low + 2), (-17, low + 2), (-23, low - 2), (-11, -42)],
            cloth,
        )
        pen.line([(-11.5, -40), (0, -38.6), (11.5, -40)], 3.2, light(cloth, 0.6))
    elif garment == "coat":
        pen.blob([(-11, -56), (11, -56), (15, -42), (18, -15), (-18, -15), (-15, -42)], cloth)
        pen.area([(-4, -56), (4, -56), (0, -44)], WHITE_COLLAR, outlined=False)
        pen.line([(0, -45), (0, -15)], 1.2, dark(cloth, 0.4))
        for y in (-38, -29, -20):
            pen.oval(3.6, y, 1.6, 1.6, (255, 240, 200), outlined=False)
    elif garment == "sweater":
        if figure.character == "girl":
            pen.area([(-11, -30), (11, -30), (18, -17), (-18, -17)], (112, 104, 140))
        pen.blob([(-11, -56), (11, -56), (15, -44), (15.5, -26), (-15.5, -26), (-15, -44)], cloth)
        pen.box(-15, -29.5, 30, 4.5, dark(cloth, 0.22), outlined=False)
        pen.box(-7, -57, 14, 5, dark(cloth, 0.22), round_=2.4, outlined=False)
    else:
        pen.blob([(-11, -56), (11, -56), (14, -44), (14, -24), (-14, -24), (-14, -44)], cloth)
        pen.area([(-5, -56), (5, -56), (0, -50)], WHITE_COLLAR, outlined=False)


WHITE_COLLAR: Colour = (255, 252, 246)


def _arm(pen: Pen, figure: Figure, shoulder: Point, joints: tuple[Point, Point]) -> None:
    elbow, hand = joints
    cloth = COLOURS[figure.colour]
    if figure.garment == "cape":
        pen.limb([shoulder, elbow, hand], 8.5, STEEL)
    elif figure.garment in ("sweater", "coat"):
        pen.limb([shoulder, elbow, hand], 8.8, dark(cloth, 0.1))
    else:
        pen.limb([shoulder, elbow, hand], 7, SKIN)
        pen.limb([shoulder, ((shoulder[0] + elbow[0]) / 2, (shoulder[1] + elbow[1]) / 2)], 9, cloth)
    pen.oval(hand[0], hand[1], 4.4, 4.4, SKIN)


def _back_hair(pen: Pen, figure: Figure) -> None:
    if figure.hair is None or figure.hair_colour is None:
        return
    hair = dark(HAIR[figure.hair_colour], 0.12)
    if figure.hair == "long":
        pen.blob(
            [
                (-18, -92),
                (18, -92),
                (26, -72),
                (27, -48),
                (22, -28),
                (9, -34),
                (-9, -34),
                (-22, -28),
                (-27, -48),
                (-26, -72),
            ],
            hair,
        )
    elif figure.character != "boy":
        pen.blob([(-18, -92), (18, -92), (25, -74), (23, -55), (10, -52), (-10, -52), (-23, -55), (-25, -74)], hair)


def _head(pen: Pen, figure: Figure, action: str, expression: str) -> None:
    if figure.character == "knight":
        _helmet(pen, figure, action, expression)
        return
    assert figure.hair_colour is not None
    hair = HAIR[figure.hair_colour]
    for s in (-1, 1):
        pen.oval(s * 20.5, -70, 3.6, 4.6, SKIN)
    pen.oval(0, -72.5, 21.5, 19.5, SKIN)
    _face(pen, action, expression, lashes=figure.character in ("girl", "princess"))
    if figure.character == "boy" and figure.hair == "short":
        pen.area(
            [
                (-23, -71),
                (-25, -84),
                (-20, -92),
                (-22, -99),
                (-11, -97),
                (-5, -104),
                (3, -98),
                (12, -103),
                (15, -96),
                (23, -95),
                (22, -86),
                (25, -78),
                (22.5, -70),
                (18, -80),
                (12, -76),
                (5, -82),
                (-3, -77),
                (-10, -82),
                (-17, -75),
            ],
            hair,
        )
    else:
        pen.blob(
            [
                (-22.5, -68),
                (-25, -78),
                (-20, -91),
                (-8, -98.5),
                (8, -98.5),
                (20, -91),
                (25, -78),
                (22.5, -68),
                (17, -78),
                (9, -84),
                (0, -79),
                (-9, -84),
                (-17, -78),
            ],
            hair,
        )
        pen.blob([(-12, -92), (0, -95.5), (12, -92), (0, -93)], light(hair, 0.4), outlined=False)
        if figure.hair == "short" and figure.character != "boy":
            for s in (-1, 1):
                pen.blob([(s * 24, -78), (s * 25.5, -64), (s * 20, -55), (s * 19, -66)], hair)
        if figure.hair == "long":
            for s in (-1, 1):
                pen.blob([(s * 23, -80), (s * 27, -60), (s * 23, -38), (s * 18.5, -52), (s * 20.5, -66)], hair)
    if figure.character == "princess":
        pen.area([(-15, -93), (-18, -110), (-8, -101), (0, -114), (8, -101), (18, -110), (15, -93)], (252, 208, 70))
        pen.oval(0, -99, 2.6, 2.6, (226, 70, 90), outlined=False)
    elif figure.character == "girl":
        bow = COLOURS[figure.colour]
        pen.area([(15, -92), (24, -100), (25, -88)], bow)
        pen.area([(15, -92), (8, -101), (7, -90)], bow)
        pen.oval(15, -93, 2.6, 2.6, dark(bow, 0.2), outlined=False)


def _helmet(pen: Pen, figure: Figure, action: str, expression: str) -> None:
    plume = COLOURS[figure.colour]
    pen.blob([(-2, -94), (-8, -112), (-24, -112), (-31, -98), (-22, -92), (-14, -98)], plume)
    pen.oval(0, -73, 24, 23, STEEL)
    pen.oval(0, -69.5, 17.5, 15, SKIN)
    _face(pen.at(0, 2), action, expression, lashes=False)
    pen.area([(-20, -80), (20, -80), (17, -86), (-17, -86)], dark(STEEL, 0.22))
    pen.box(-2.2, -97, 4.4, 16, dark(STEEL, 0.12), outlined=False)
    for s in (-1, 1):
        pen.oval(s * 21.5, -74, 3, 3, dark(STEEL, 0.35), outlined=False)


def _face(pen: Pen, action: str, expression: str, *, lashes: bool) -> None:
    closed = action in ("wish", "hug", "sing")
    bored = action == "sit"
    for s in (-1, 1):
        pen.oval(s * 13.5, -63.5, 4, 2.5, (250, 150, 150), alpha=150)
        x = s * 8.6
        if closed:
            pen.line([(x - 4.6, -69.5), (x - 2, -67), (x + 2, -67), (x + 4.6, -69.5)], 1.7, INK)
        elif bored:
            pen.oval(x, -68.5, 3.8, 3.6, INK, outlined=False)
            pen.box(x - 5, -74, 10, 4.6, SKIN, outlined=False)
            pen.line([(x - 4.8, -69.6), (x + 4.8, -69.6)], 1.9, INK)
        else:
            tall = 6.6 if expression == "surprised" else 5.4
            pen.oval(x, -69, 4.1, tall, INK, outlined=False)
            pen.oval(x - 1.3, -71.4, 1.6, 1.9, (255, 255, 255), outlined=False)
            pen.oval(x + 1.4, -66.6, 0.9, 1.0, (216, 200, 230), outlined=False)
            if lashes:
                pen.line([(x + s * 3.6, -72.4), (x + s * 6.4, -74.2)], 1.4, INK)
        if expression == "angry" and not closed:
            pen.line([(s * 3.6, -75.4), (s * 13, -80)], 2, INK)
        elif expression == "sad" and not closed:
            pen.line([(s * 4.4, -79.4), (s * 13, -76)], 1.6, INK)
            pen.oval(s * 12, -60.5, 2.2, 4, (110, 180, 246), outlined=False)
    red: Colour = (198, 62, 74)
    if action == "sing":
        pen.oval(0, -59.5, 4, 4.4, red, outlined=False)
    elif bored:
        pen.line([(-3.2, -59.4), (3.2, -59.4)], 1.6, INK)
    elif expression == "surprised":
        pen.oval(0, -59, 2.8, 3.6, red, outlined=False)
    elif expression == "sad":
        pen.line([(-3.8, -57.6), (0, -60), (3.8, -57.6)], 1.6, red)
    elif expression == "angry":
        pen.line([(-4, -58.2), (0, -59.4), (4, -58.2)], 1.8, red)
    elif action in ("cheer", "wave", "walk"):
        pen.blob([(-4.6, -61), (4.6, -61), (2.6, -56.4), (-2.6, -56.4)], red, outlined=False)
    else:
        pen.line([(-4.2, -60.8), (-1.6, -58.8), (1.6, -58.8), (4.2, -60.8)], 1.7, red)


def _held_things(pen: Pen, figure: Figure, action: str, arms: Arms) -> None:
    hand = arms.right[1]
    if action == "sing":
        pen.limb([(9, -50), (5, -57)], 3.4, (70, 66, 84))
        pen.oval(4, -58.5, 4.6, 4.6, (120, 122, 140))
        note(pen, 32, -80, (250, 214, 90))
        note(pen, -40, -84, (250, 150, 190))
    elif action == "wish":
        star(pen, -31, -88, 6.5, (255, 226, 100))
        star(pen, 33, -96, 5.5, (255, 226, 100))
        star(pen, 31, -58, 4.5, (255, 236, 150))
    elif action == "feed":
        pen.area([(29, -38), (45, -38), (41, -29), (33, -29)], (240, 130, 90))
        pen.oval(37, -39, 7, 3.4, (250, 226, 160))
    elif action == "cheer":
        for x, y in ((-38, -94), (38, -96), (0, -116)):
            star(pen, x, y, 4.5, (255, 220, 90))
    elif action == "fight" or (figure.character == "knight" and action in ("stand", "wave", "walk")):
        _sword(pen, hand, up=action in ("fight", "wave"))


def _sword(pen: Pen, hand: Point, *, up: bool) -> None:
    blade = pen.at(hand[0], hand[1], turn=24 if up else 12)
    blade.area([(-2.8, -6), (-2.8, -42), (0, -49), (2.8, -42), (2.8, -6)], (232, 238, 248))
    blade.box(-8, -8, 16, 3.6, (246, 200, 76), round_=1.5)
    blade.limb([(0, -5), (0, 5)], 3.4, (130, 84, 60))
    blade.oval(0, 0, 4.2, 4.2, SKIN)


def _guitar(pen: Pen) -> None:
    body = pen.at(4, -33, turn=-22)
    body.box(-40, -2.4, 40, 4.8, (124, 82, 56))
    body.box(-46, -4, 9, 8, (88, 58, 46), round_=1.5)
    with body.together() as wood:
        wood.oval(-2, 0, 9.5, 10, (222, 142, 66))
        wood.oval(11, 0, 11.5, 13, (222, 142, 66))
    body.oval(1, 0, 4, 4, (92, 58, 46), outlined=False)
    body.line([(-38, 0), (16, 0)], 0.9, (250, 236, 200))


def _book(pen: Pen) -> None:
    pen.area([(-17, -49), (0, -45), (17, -49), (17, -32), (0, -28), (-17, -32)], (206, 78, 70))
    pen.area(
        [(-14.5, -49.5), (0, -46), (14.5, -49.5), (14.5, -35), (0, -31), (-14.5, -35)], (255, 252, 238), outlined=False
    )
    pen.line([(0, -46), (0, -31)], 1.2, (190, 170, 150))


def _sleeper(pen: Pen, figure: Figure) -> None:
    cloth = COLOURS[figure.colour]
    pen.box(-66, -20, 46, 21, (255, 253, 248), round_=9)
    lying = pen.at(-44, -30).at(0, 0, turn=-78).at(0, 72.5)
    _back_hair(lying, figure)
    pen.blob([(-24, -26), (0, -33), (34, -29), (60, -20), (66, -3), (58, 1), (-26, 1)], cloth)
    pen.line([(-6, -26), (30, -23), (56, -14)], 1.6, light(cloth, 0.5))
    if figure.character == "knight":
        lying.oval(0, -73, 24, 23, STEEL)
        lying.oval(0, -69.5, 17.5, 15, SKIN)
        lying.area([(-20, -80), (20, -80), (17, -86), (-17, -86)], dark(STEEL, 0.22))
        _face(lying.at(0, 2), "wish", "smile", lashes=False)
    else:
        _head(lying, figure, "wish", "smile")
    for k, s in ((0, 1.0), (1, 0.75)):
        z = pen.at(-12 + 13 * k, -58 - 13 * k, scale=s)
        z.line([(-5, -5), (5, -5), (-5, 5), (5, 5)], 2.6, (150, 150, 220))
