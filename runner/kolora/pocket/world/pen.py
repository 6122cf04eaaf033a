"""A pen: smooth shapes on a large canvas, under a movable frame, in the colours and outlines of a style."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache

from PIL import Image, ImageDraw

Colour = tuple[int, int, int]
Point = tuple[float, float]

ENLARGE = 3
"""Shapes are drawn this much larger than the picture and averaged down, which smooths their edges."""


@dataclass(frozen=True)
class Look:
    """What a style decides while shapes are drawn.

    tint: the colour a fill becomes. edge: the outline of a fill, None for none. width: outline in picture pixels.
    border, shadow: a paper rim around each part and the offset of the shadow it throws.
    """

    tint: Callable[[Colour], Colour]
    edge: Callable[[Colour], Colour] | None
    width: float = 1.2
    border: Colour | None = None
    shadow: float = 0.0
    far: Callable[[Colour], Colour] | None = None
    """What a fill becomes behind the figures; None: the same as ``tint``."""


@dataclass(frozen=True)
class Pen:
    """Draw in units of the frame: origin, scale, turn (degrees, clockwise) and mirroring are set by ``at``."""

    canvas: Image.Image
    look: Look
    x: float = 0.0
    y: float = 0.0
    scale: float = 1.0
    turn: float = 0.0
    mirrored: bool = False
    outlined: bool = True
    held: list[tuple[list[Point], Colour, int, bool]] | None = field(default=None, repr=False)

    def at(self, x: float, y: float, *, scale: float = 1.0, turn: float = 0.0, mirrored: bool = False) -> Pen:
        """Return a pen whose origin is (x, y) of this one."""
        px, py = self._place((x, y))
        return replace(
            self,
            x=px,
            y=py,
            scale=self.scale * scale,
            # A mirror turns clockwise into anticlockwise.
            turn=self.turn + (-turn if self.mirrored else turn),
            mirrored=self.mirrored != mirrored,
        )

    def plain(self) -> Pen:
        """Return a pen that draws no outlines."""
        return replace(self, outlined=False)

    @contextmanager
    def together(self) -> Iterator[Pen]:
        """Hold shapes back and draw them as one part: all their outlines first, then all their fills."""
        pen = replace(self, held=[])
        yield pen
        assert pen.held is not None
        self._put(pen.held)

    def area(self, points: Sequence[Point], fill: Colour, *, alpha: int = 255, outlined: bool = True) -> None:
        """Fill the polygon through the points."""
        shape = ([self._place(p) for p in points], fill, alpha, outlined and self.outlined and alpha == 255)
        if self.held is not None:
            self.held.append(shape)
        else:
            self._put([shape])

    def blob(self, points: Sequence[Point], fill: Colour, *, alpha: int = 255, outlined: bool = True) -> None:
        """Fill the smooth closed curve through the points."""
        self.area(smooth(points), fill, alpha=alpha, outlined=outlined)

    def oval(
        self, x: float, y: float, rx: float, ry: float, fill: Colour, *, alpha: int = 255, outlined: bool = True
    ) -> None:
        """Fill an ellipse of the given centre and radii."""
        steps = 14 if rx * self.scale < 6 else 26
        ring = [(x + rx * c, y + ry * s) for c, s in _circle(steps)]
        self.area(ring, fill, alpha=alpha, outlined=outlined)

    def box(
        self,
        x: float,
        y: float,
        w: float,
        h: float,
        fill: Colour,
        *,
        round_: float = 0.0,
        alpha: int = 255,
        outlined: bool = True,
    ) -> None:
        """Fill a rectangle from its upper left corner, its own corners rounded by ``round_``."""
        if round_ <= 0:
            points: list[Point] = [(x, y), (x + w, y), (x + w, y + h), (x, y + h)]
        else:
            r = min(round_, w / 2, h / 2)
            corners = [(x + w - r, y + h - r, 0), (x + r, y + h - r, 90), (x + r, y + r, 180), (x + w - r, y + r, 270)]
            points = []
            for cx, cy, start in corners:
                angles = [math.radians(start + step * 22.5) for step in range(5)]
                points += [(cx + r * math.cos(angle), cy + r * math.sin(angle)) for angle in angles]
        self.area(points, fill, alpha=alpha, outlined=outlined)

    def limb(self, points: Sequence[Point], width: float, fill: Colour, *, outlined: bool = True) -> None:
        """Fill a bent tube with round ends through the points."""
        r = width / 2
        path = smooth(points, closed=False, steps=4) if len(points) > 2 else list(points)
        left, right = [], []
        for i, (x, y) in enumerate(path):
            ax, ay = path[max(0, i - 1)]
            bx, by = path[min(len(path) - 1, i + 1)]
            length = math.hypot(bx - ax, by - ay) or 1.0
            nx, ny = -(by - ay) / length * r, (bx - ax) / length * r
            left.append((x + nx, y + ny))
            right.append((x - nx, y - ny))
        self.area(
            left + _cap(path[-1], left[-1], r) + right[::-1] + _cap(path[0], right[0], r), fill, outlined=outlined
        )

    def line(self, points: Sequence[Point], width: float, fill: Colour, *, alpha: int = 255) -> None:
        """Draw a thin line without an outline."""
        k = ENLARGE
        colour = (*self.look.tint(fill), alpha)
        path = [(p[0] * k, p[1] * k) for p in map(self._place, points)]
        surface = ImageDraw.Draw(self.canvas, "RGBA")
        surface.line(path, fill=colour, width=max(1, round(width * self.scale * k)), joint="curve")

    def _place(self, point: Point) -> Point:
        x, y = point[0] * self.scale, point[1] * self.scale
        if self.mirrored:
            x = -x
        if self.turn:
            c, s = math.cos(math.radians(self.turn)), math.sin(math.radians(self.turn))
            x, y = x * c - y * s, x * s + y * c
        return self.x + x, self.y + y

    def _put(self, shapes: list[tuple[list[Point], Colour, int, bool]]) -> None:
        solid, clear = ImageDraw.Draw(self.canvas), ImageDraw.Draw(self.canvas, "RGBA")
        look, k = self.look, ENLARGE

        def fill(points: list[Point], colour: Colour, *, alpha: int = 255, dx: float = 0.0) -> None:
            path = [((x + dx) * k, (y + dx * 1.2) * k) for x, y in points]
            if alpha == 255:  # blending is three times the work
                solid.polygon(path, fill=colour)
            else:
                clear.polygon(path, fill=(*colour, alpha))

        # An outline is the same shape, grown, beneath its fill.
        rimmed = [s for s in shapes if s[3]]
        if look.shadow:
            for points, _, _, _ in rimmed:
                fill(grown(points, look.width), (30, 24, 40), alpha=70, dx=look.shadow)
        if look.border is not None:
            for points, _, _, _ in rimmed:
                fill(grown(points, look.width), look.border)
        elif look.edge is not None:
            for points, colour, _, _ in rimmed:
                fill(grown(points, look.width), look.edge(colour))
        for points, colour, alpha, _ in shapes:
            fill(points, look.tint(colour), alpha=alpha)


def smooth(points: Sequence[Point], *, closed: bool = True, steps: int = 5) -> list[Point]:
    """Return a Catmull-Rom curve through the points."""
    n = len(points)
    out: list[Point] = []
    for i in range(n if closed else n - 1):
        if closed:
            p0, p1, p2, p3 = points[i - 1], points[i], points[(i + 1) % n], points[(i + 2) % n]
        else:
            p0, p1, p2, p3 = points[max(i - 1, 0)], points[i], points[i + 1], points[min(i + 2, n - 1)]
        for s in range(steps):
            t = s / steps
            a, b = t * t, t * t * t
            w0, w1, w2, w3 = -t + 2 * a - b, 2 - 5 * a + 3 * b, t + 4 * a - 3 * b, b - a
            out.append(
                (
                    (w0 * p0[0] + w1 * p1[0] + w2 * p2[0] + w3 * p3[0]) / 2,
                    (w0 * p0[1] + w1 * p1[1] + w2 * p2[1] + w3 * p3[1]) / 2,
                )
            )
    if not closed:
        out.append(points[-1])
    return out


def grown(points: list[Point], by: float) -> list[Point]:
    """Return the polygon with every corner moved outwards."""
    n = len(points)
    # The shoelace formula: its sign says which way round the corners go, hence where outside is.
    turning = sum(points[i - 1][0] * points[i][1] - points[i][0] * points[i - 1][1] for i in range(n))
    side = by if turning > 0 else -by
    out = []
    for i in range(n):
        (ax, ay), (x, y), (bx, by_) = points[i - 1], points[i], points[(i + 1) % n]
        ux, uy, vx, vy = x - ax, y - ay, bx - x, by_ - y
        lu, lv = math.hypot(ux, uy) or 1e-6, math.hypot(vx, vy) or 1e-6
        nx, ny = uy / lu + vy / lv, -ux / lu - vx / lv
        ln = math.hypot(nx, ny) or 1e-6
        # A mitre, cut at twice the width where a corner is sharp.
        far = side * min(2.0, 2.0 / ln)
        out.append((x + nx / ln * far, y + ny / ln * far))
    return out


def mixed(a: Colour, b: Colour, share: float) -> Colour:
    """Return colour a with this share of b."""
    return (
        round(a[0] + (b[0] - a[0]) * share),
        round(a[1] + (b[1] - a[1]) * share),
        round(a[2] + (b[2] - a[2]) * share),
    )


def dark(colour: Colour, share: float = 0.25) -> Colour:
    """Return a deeper shade, leaning to a cool violet as shadows do in picture books."""
    return mixed(colour, (40, 26, 60), share)


def light(colour: Colour, share: float = 0.35) -> Colour:
    """Return a paler shade, leaning to a warm white."""
    return mixed(colour, (255, 250, 238), share)


@cache
def _circle(steps: int) -> list[Point]:
    return [(math.cos(2 * math.pi * at / steps), math.sin(2 * math.pi * at / steps)) for at in range(steps)]


def _cap(centre: Point, start: Point, r: float) -> list[Point]:
    angle = math.atan2(start[1] - centre[1], start[0] - centre[0])
    return [
        (centre[0] + r * math.cos(angle - math.pi * k / 5), centre[1] + r * math.sin(angle - math.pi * k / 5))
        for k in range(1, 5)
    ]
