"""The places of the little world: each paints what lies behind the figures, some also what lies before them."""

from __future__ import annotations

import random
from collections.abc import Callable

import kolora.pocket.world.indoors as indoors
import kolora.pocket.world.outdoors as outdoors
from kolora.pocket.world.pen import Pen

Painter = Callable[[Pen, random.Random], None]

BACKGROUNDS: dict[str, Painter] = {
    "sofa": indoors.sofa,
    "balcony": outdoors.balcony,
    "crowd": indoors.crowd,
    "stage": indoors.stage,
    "practice": indoors.practice,
    "dressing": indoors.dressing,
    "classroom": indoors.classroom,
    "forest": outdoors.forest,
    "village": outdoors.village,
    "cave": outdoors.cave,
    "bridge": outdoors.bridge,
    "blossom": outdoors.blossom,
    "bedroom": indoors.bedroom,
    "stars": outdoors.stars,
    "beach": outdoors.beach,
    "snow": outdoors.snow,
    "castle": outdoors.castle,
    "library": indoors.library,
}
"""What lies behind the figures, by place; it covers the whole canvas."""

FOREGROUNDS: dict[str, Painter] = {"balcony": outdoors.rain, "crowd": indoors.crowd_front, "snow": outdoors.snowfall}
"""What lies before the figures, for the few places that have such."""
