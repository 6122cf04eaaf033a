"""Say in words what a scene shows, with varied wording and, at times, with things left out."""

from __future__ import annotations

import random

from kolora.pocket.world.scene import ANIMALS, FACED, HELD_OUT, Figure, WorldScene
from kolora.pocket.world.words import (
    ACTION,
    CHARACTER,
    COLOUR,
    COUNTED,
    EXPRESSION,
    FAULT,
    FRAMING,
    GARMENT,
    HAIR,
    PLACE,
    POOR,
    PRAISE,
    STYLE,
    WITH,
)


def caption(scene: WorldScene, rng: random.Random, language: str, *, complete: bool = False) -> str:
    """Return a caption in ``zh`` or ``en``; a complete one leaves nothing out that can be read off the picture."""
    if scene.spoilt and not complete and rng.random() < 0.4:
        return _joined(_faults(scene, rng, language), rng, language)
    say = rng.random if not complete else (lambda: 0.0)
    who = _who(scene.figure, rng, language, say() < 0.88, say() < 0.9)
    doing = _doing(
        scene, rng, language, keep=say() < (0.5 if scene.action == "stand" and not scene.companion else 0.94)
    )
    where = rng.choice(PLACE[language][scene.place]) if say() < 0.93 else ""
    parts = _sentence(who, doing, where, rng, language)
    faced = scene.figure.character not in ANIMALS and scene.action in FACED
    if faced and rng.random() < (0.35 if scene.expression == "smile" else 0.9):
        parts.append(rng.choice(EXPRESSION[language][scene.expression]))
    if rng.random() < (0.35 if scene.framing == "full" else 0.75):
        parts.append(rng.choice(FRAMING[language][scene.framing]))
    if not scene.spoilt and rng.random() < 0.1:
        parts.append(rng.choice(PRAISE[language]))
    named = {"anime": 0.65}.get(scene.style, 0.96)
    if complete or scene.style in HELD_OUT or rng.random() < named:
        parts.insert(0 if rng.random() < 0.75 else len(parts), rng.choice(STYLE[language][scene.style]))
    parts += _faults(scene, rng, language)
    return _joined(parts, rng, language)


def _sentence(who: str, doing: str, where: str, rng: random.Random, language: str) -> list[str]:
    """Return subject, deed and place as one flowing sentence or as a list in some order."""
    order = rng.random()
    if order > 0.88:
        pieces = [piece for piece in "，".join((who, doing, where)).replace(", ", "，").split("，") if piece]
        rng.shuffle(pieces)
        return pieces
    if language == "zh":
        if order < 0.3 and where and "，" not in where:
            return [f"{who}{where}{doing}"]
        if order < 0.45:
            return [p for p in (where, who, doing) if p]
    elif order < 0.5:
        return [" ".join(p for p in (who, doing, where) if p)]
    elif order < 0.6:
        return [p for p in (where, who, doing) if p]
    return [p for p in (who, doing, where) if p]


def _who(figure: Figure, rng: random.Random, language: str, hair: bool, dressed: bool) -> str:
    name = rng.choice(CHARACTER[language][figure.character])
    colour = rng.choice(COLOUR[language][figure.colour])
    if language == "zh":
        return _who_zh(figure, rng, name, colour, hair=hair, dressed=dressed)
    return _who_en(figure, rng, name, colour, hair=hair, dressed=dressed)


def _who_zh(figure: Figure, rng: random.Random, name: str, colour: str, *, hair: bool, dressed: bool) -> str:
    if figure.character in ANIMALS:
        return f"{COUNTED[figure.character]}{colour}{rng.choice(('', '的'))}{name}"
    locks = ""
    if hair and figure.hair and figure.hair_colour:
        shade = rng.choice([c for c in COLOUR["zh"][figure.hair_colour] if len(c) > 1])
        locks = shade + rng.choice(HAIR["zh"][figure.hair])
    assert figure.garment is not None
    garment = rng.choice(GARMENT["zh"][figure.garment])
    if not dressed:
        return f"一个{locks}{rng.choice(('的', '')) if locks else ''}{name}"
    wearing = ("披着", "身披") if figure.garment == "cape" else ("穿着", "身穿", "穿")
    cloth = f"{rng.choice(wearing)}{colour}{rng.choice(('', '', '的'))}{garment}"
    if figure.garment == "cape" and rng.random() < 0.35:
        cloth += "和盔甲"
    kind = rng.random()
    of = rng.choice(("的", "")) if locks else ""
    if kind < 0.3:
        return f"一个{locks}{of}{name}，{cloth}"
    if kind < 0.6:
        return f"一个{locks}{of}{name}{cloth}"
    if kind < 0.85:
        return f"一个{cloth}的{locks}{of}{name}"
    return f"{name}，{locks + '，' if locks else ''}{colour}{garment}"


def _who_en(figure: Figure, rng: random.Random, name: str, colour: str, *, hair: bool, dressed: bool) -> str:
    if figure.character in ANIMALS:
        return f"{_article(colour)} {colour} {name}"
    locks = ""
    if hair and figure.hair and figure.hair_colour:
        shade = rng.choice(COLOUR["en"][figure.hair_colour])
        locks = f"{rng.choice(HAIR['en'][figure.hair])} {shade} hair"
    assert figure.garment is not None
    garment = rng.choice(GARMENT["en"][figure.garment])
    wear = f"{colour} {garment}" if garment == "clothes" else f"{_article(colour)} {colour} {garment}"
    start = f"{_article(name)} {name}"
    if not dressed:
        return f"{start} with {locks}" if locks else start
    if not locks:
        return f"{start} {rng.choice(('in', 'wearing'))} {wear}"
    kind = rng.random()
    if kind < 0.4:
        return f"{start} with {locks} {rng.choice(('in', 'wearing'))} {wear}"
    if kind < 0.7:
        return f"{start} {rng.choice(('in', 'wearing'))} {wear} with {locks}"
    return f"{start}, {locks}, {colour} {garment}"


def _doing(scene: WorldScene, rng: random.Random, language: str, *, keep: bool) -> str:
    if scene.companion is not None:
        other = (
            _who(scene.companion, rng, language, rng.random() < 0.7, rng.random() < 0.7)
            .replace("，", "")
            .replace(",", "")
        )
        return rng.choice(WITH[language][scene.action]).format(other)
    return rng.choice(ACTION[language][scene.action]) if keep else ""


def _faults(scene: WorldScene, rng: random.Random, language: str) -> list[str]:
    words = [rng.choice(FAULT[language][fault]) for fault, _ in scene.spoilt]
    rng.shuffle(words)
    if words and rng.random() < 0.25:
        words.append(rng.choice(POOR[language]))
    return words


def _joined(parts: list[str], rng: random.Random, language: str) -> str:
    parts = [p for p in parts if p]
    if language == "en":
        return ", ".join(parts)
    return rng.choice(("，", "，", "，", "、")).join(parts)


def _article(word: str) -> str:
    return "an" if word[0].lower() in "aeiou" else "a"
