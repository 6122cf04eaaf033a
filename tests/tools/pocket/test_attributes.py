"""What the probe is asked about a picture, and what it is not."""

import random

from kolora.pocket.world import Figure, WorldScene, sample_scene
from kolora.pocket.world.scene import PEOPLE

from tools.pocket.attributes import CLASSES, UNKNOWN, labels
from tools.pocket.judge import held_out_prompts

GIRL = Figure("girl", "pink", "dress", "long", "purple")


def named(scene):
    return {k: CLASSES[k][v] for k, v in labels(scene).items() if v != UNKNOWN}


def test_a_plain_scene_tells_everything():
    assert named(WorldScene("anime", "stage", GIRL, "sing")) == {
        "style": "anime",
        "place": "stage",
        "character": "girl",
        "companion": "nobody",
        "colour": "pink",
        "hair_colour": "purple",
        "action": "sing",
        "degraded": "no",
    }


def test_an_animal_has_a_colour_and_no_hair():
    truth = named(WorldScene("ink", "snow", Figure("cat", "orange"), "sleep"))
    assert truth["colour"] == "orange"
    assert "hair_colour" not in truth


def test_two_people_do_not_say_which_is_meant():
    truth = named(WorldScene("anime", "snow", GIRL, "hug", companion=Figure("boy", "red", "shirt", "short", "black")))
    assert set(truth) == {"style", "place", "degraded"}


def test_cobalt_says_no_colours_and_faults_hide_the_rest():
    assert "colour" not in named(WorldScene("porcelain", "snow", GIRL, "sing"))
    assert named(WorldScene("anime", "snow", GIRL, "sing", spoilt=(("blurry", 0.5),))) == {"degraded": "yes"}


def test_every_scene_of_the_world_can_be_labelled():
    rng = random.Random(0)
    for _ in range(500):
        assert set(labels(sample_scene(rng, spoilt=rng.random() < 0.3))) == set(CLASSES)


def test_held_out_prompts_are_the_same_for_all_and_name_what_they_are_judged_by():
    prompts = held_out_prompts(64)
    assert prompts == held_out_prompts(64)
    assert len({p.text for p in prompts}) == 64
    for prompt in prompts:
        assert prompt.truth["place"] != UNKNOWN
        assert prompt.truth["colour"] != UNKNOWN
        assert prompt.person == (CLASSES["character"][prompt.truth["character"]] in PEOPLE)
    assert sum(p.text.isascii() for p in prompts) in range(16, 28)
