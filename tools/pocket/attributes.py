"""What can be read off a picture of the little world, as class numbers: the probe's answers and their truth."""

from __future__ import annotations

from itertools import chain

from kolora.pocket.world.scene import (
    ALONE,
    ANIMALS,
    CHARACTERS,
    CLOTHES_COLOURS,
    COATS,
    HAIR_COLOURS,
    HELD_OUT,
    PEOPLE,
    PLACES,
    STYLES,
    TOGETHER,
    WorldScene,
)

UNKNOWN = -1
"""The class of an attribute that this picture does not show."""

CLASSES: dict[str, tuple[str, ...]] = {
    "style": STYLES + HELD_OUT,
    "place": PLACES,
    "character": CHARACTERS,
    "companion": ("nobody", *ANIMALS),
    "colour": tuple(dict.fromkeys([*CLOTHES_COLOURS, *chain(*COATS.values())])),
    "hair_colour": HAIR_COLOURS,
    "action": tuple(dict.fromkeys([*chain(*ALONE.values()), *TOGETHER])),
    "degraded": ("no", "yes"),
}


def labels(scene: WorldScene) -> dict[str, int]:
    """Return the class of every attribute; UNKNOWN where the picture cannot tell.

    Two people side by side do not say which of them is meant, cobalt on white says no colours, and what a fault has
    spoilt is not asked for.
    """
    known = {"degraded": int(bool(scene.spoilt)), "style": CLASSES["style"].index(scene.style)}
    truth = dict.fromkeys(CLASSES, UNKNOWN) | known
    if scene.spoilt:
        return truth | {"style": UNKNOWN}
    truth["place"] = PLACES.index(scene.place)
    if scene.companion is not None and scene.companion.character in PEOPLE:
        return truth
    truth["character"] = CHARACTERS.index(scene.figure.character)
    truth["companion"] = CLASSES["companion"].index(scene.companion.character if scene.companion else "nobody")
    truth["action"] = CLASSES["action"].index(scene.action)
    if scene.style != "porcelain":
        truth["colour"] = CLASSES["colour"].index(scene.figure.colour)
        if scene.figure.hair_colour is not None:
            truth["hair_colour"] = HAIR_COLOURS.index(scene.figure.hair_colour)
    return truth
