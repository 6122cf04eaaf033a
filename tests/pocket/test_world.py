"""The little world: equal seeds draw equal pictures, captions say what is drawn, held-out styles stay out."""

import random
from dataclasses import replace

import numpy as np
import pytest
from kolora.pocket.world import HELD_OUT, STYLES, WorldScene, caption, draw, draw_set, sample_scene
from kolora.pocket.world.places import BACKGROUNDS
from kolora.pocket.world.scene import (
    ALONE,
    CHARACTERS,
    CLOTHES_COLOURS,
    DEGRADATIONS,
    FRAMINGS,
    PEOPLE,
    PLACES,
    TOGETHER,
    Figure,
    sample_figure,
)
from kolora.pocket.world.spoil import spoil
from kolora.pocket.world.styles import FINISHES, LOOKS
from kolora.pocket.world.words import ACTION, CHARACTER, COLOUR, FAULT, GARMENT, HAIR, PLACE, STYLE

GIRL = Figure("girl", "pink", "dress", "long", "purple")
SINGER = WorldScene("anime", "stage", GIRL, "sing")


def dice(seed=0):
    return random.Random(seed)


def pixels(picture):
    return np.asarray(picture).astype(int)


def distance(a, b):
    return np.abs(pixels(a) - pixels(b)).mean()


def test_equal_seeds_draw_equal_pictures_whatever_was_drawn_before():
    first = draw(SINGER, seed=5)
    random.seed(99)
    np.random.seed(99)
    draw(replace(SINGER, style="crayon"), seed=1)
    again = draw(SINGER, seed=5)
    assert first.tobytes() == again.tobytes()
    assert first.size == (256, 256)
    assert first.mode == "RGB"


def test_another_seed_draws_the_same_scene_otherwise():
    assert 0 < distance(draw(SINGER, seed=5), draw(SINGER, seed=6)) < 60


def test_a_picture_can_be_had_in_another_size():
    assert draw(SINGER, seed=0, size=64).size == (64, 64)


def test_a_set_is_a_function_of_its_seed_and_captions_name_the_style():
    one, same = (list(draw_set(style="ink", count=3, seed=4, language="zh")) for _ in range(2))
    other = list(draw_set(style="ink", count=3, seed=5, language="zh"))
    assert [p.tobytes() for p, _ in one] == [p.tobytes() for p, _ in same]
    assert [text for _, text in one] == [text for _, text in same]
    assert [text for _, text in one] != [text for _, text in other]
    assert all("水墨" in text for _, text in one)
    assert all("ink wash" in text for _, text in draw_set(style="ink", count=3, seed=4, language="en"))


def test_a_longer_set_begins_with_the_shorter_one():
    short, long = (list(draw_set(style="anime", count=n, seed=0, language="en")) for n in (2, 4))
    assert [text for _, text in long[:2]] == [text for _, text in short]


def test_an_unknown_style_is_refused_by_name():
    with pytest.raises(ValueError, match="'oil' is none of anime, watercolor"):
        next(draw_set(style="oil", count=1, seed=0, language="zh"))


def test_held_out_styles_and_their_words_never_reach_base_training():
    words = [w for language in STYLE.values() for style in HELD_OUT for w in language[style]]
    rng = dice(1)
    for _ in range(1500):
        scene = sample_scene(rng, spoilt=rng.random() < 0.2)
        assert scene.style in STYLES
        for language in ("zh", "en"):
            text = caption(scene, rng, language)
            assert not any(word in text for word in words), text


def test_the_world_is_as_large_as_promised():
    assert set(CHARACTERS) >= {"girl", "boy", "cat", "knight", "princess", "dragon", "horse"}
    assert len(PLACES) >= 14
    assert set(PLACES) == set(BACKGROUNDS)
    assert len(STYLES) + len(HELD_OUT) >= 5
    assert "ink" in HELD_OUT
    assert set(STYLES + HELD_OUT) == set(LOOKS) == set(FINISHES)


@pytest.mark.parametrize("place", PLACES)
def test_every_place_is_drawn_and_looks_like_no_other(place):
    here = draw(replace(SINGER, place=place), seed=3)
    others = [distance(here, draw(replace(SINGER, place=p), seed=3)) for p in PLACES if p != place]
    assert min(others) > 12


@pytest.mark.parametrize("style", STYLES + HELD_OUT)
def test_every_style_shows(style):
    there = draw(replace(SINGER, style=style), seed=3)
    assert all(distance(there, draw(replace(SINGER, style=s), seed=3)) > 2.5 for s in STYLES + HELD_OUT if s != style)


@pytest.mark.parametrize("character", CHARACTERS)
def test_every_deed_of_every_character_is_drawn(character):
    rng = dice(2)
    figure = sample_figure(rng, character)
    scenes = [WorldScene("anime", "beach", figure, deed, framing=f) for deed in ALONE[character] for f in FRAMINGS]
    if character in PEOPLE:
        scenes += [
            WorldScene("anime", "beach", figure, deed, companion=sample_figure(rng, other))
            for deed, others in TOGETHER.items()
            for other in others
        ]
    shown = {draw(scene, seed=1).tobytes() for scene in scenes}
    assert len(shown) == len(scenes)


def test_the_colour_of_the_clothes_is_seen():
    shown = [draw(replace(SINGER, figure=replace(GIRL, colour=c)), seed=2) for c in CLOTHES_COLOURS]
    for k, one in enumerate(shown):
        assert all((np.abs(pixels(one) - pixels(other)).sum(axis=2) > 60).mean() > 0.01 for other in shown[k + 1 :])


@pytest.mark.parametrize("fault", DEGRADATIONS)
def test_more_of_a_fault_is_further_from_the_clean_picture(fault):
    clean = draw(SINGER, seed=8)
    little, much = (distance(clean, spoil(clean, fault, amount, dice(3))) for amount in (0.35, 1.0))
    assert 2 < little < much


@pytest.mark.parametrize("language", ["zh", "en"])
def test_a_complete_caption_names_all_that_is_drawn(language):
    rng = dice(4)
    for _ in range(300):
        scene = sample_scene(rng)
        figure = scene.figure
        text = caption(scene, rng, language, complete=True)
        named = [
            STYLE[language][scene.style],
            CHARACTER[language][figure.character],
            COLOUR[language][figure.colour],
            PLACE[language][scene.place]
            if language == "zh"
            else tuple(p.split(",")[0] for p in PLACE["en"][scene.place]),
        ]
        if figure.garment is not None:
            named.append(GARMENT[language][figure.garment])
        if figure.hair is not None:
            named += [HAIR[language][figure.hair], COLOUR[language][figure.hair_colour]]
        if scene.companion is None:
            named.append(ACTION[language][scene.action])
        else:
            named.append(CHARACTER[language][scene.companion.character])
        for words in named:
            pieces = [piece for word in words for piece in word.replace("，", ",").split(",")]
            assert any(piece.strip() in text for piece in pieces), (words, text)


@pytest.mark.parametrize("language", ["zh", "en"])
def test_captions_of_spoilt_pictures_say_so_and_of_clean_ones_do_not(language):
    rng = dice(5)
    faults = [word for words in FAULT[language].values() for word in words]
    for _ in range(200):
        spoilt = sample_scene(rng, spoilt=True)
        said = caption(spoilt, rng, language)
        assert all(any(word in said for word in FAULT[language][fault]) for fault, _ in spoilt.spoilt)
        assert not any(word in caption(sample_scene(rng), rng, language) for word in faults)


def test_captions_are_worded_in_many_ways():
    assert len({caption(SINGER, dice(seed), "zh") for seed in range(200)}) > 150
    assert len({caption(SINGER, dice(seed), "en") for seed in range(200)}) > 120
