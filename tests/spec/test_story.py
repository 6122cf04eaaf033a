"""The story's values: defaults, what is filled in, and that nothing changes them."""

from __future__ import annotations

import pytest
from jsonschema import Draft202012Validator
from kolora.errors import StoryInvalid
from kolora.spec import Filter, Story, load_story, story_json_schema
from kolora.spec.sections.lora import Lora
from pydantic import ValidationError


def story(more: str = "", *, scenes: int = 1) -> Story:
    """Return a small story with ``more`` top-level YAML."""
    return load_story("dataset: {source: pocket}\nscenes:\n" + "  - prompt: 一只猫\n" * scenes + more)


def test_defaults_are_the_ones_a_kolors_story_wants() -> None:
    plain = story()
    assert (plain.kolora, plain.language, plain.model.checkpoint) == (1, "zh", "kolors")
    assert (plain.lora.rank, plain.lora.alpha, plain.lora.steps, plain.lora.learning_rate) == (16, 4.0, 500, 1e-4)
    assert (plain.render.width, plain.render.steps, plain.render.guidance_scale) == (1024, 50, 4.0)
    assert plain.scores.threshold == 6.0
    assert plain.dataset.min_images == 4


def test_a_story_is_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        story().lora.rank = 8  # type: ignore[misc]


def test_scenes_take_from_render_what_they_do_not_say() -> None:
    text = "render: {steps: 30, seed: 5, negative_prompt: 模糊}\n"
    scenes = "scenes:\n  - prompt: 猫\n  - {prompt: 狗, seed: 0, width: 512, lora_scale: 0, negative_prompt: ''}\n"
    first, second = load_story("dataset: {source: pocket}\n" + text + scenes).resolved_scenes()
    assert (first.number, first.prompt, first.seed, first.steps, first.negative_prompt) == (1, "猫", 5, 30, "模糊")
    assert (first.width, first.height, first.lora_scale, first.scheduler) == (1024, 1024, 1.0, "ddim")
    assert (second.number, second.seed, second.width, second.lora_scale, second.negative_prompt) == (2, 0, 512, 0, "")
    assert (second.height, second.steps, second.title) == (1024, 30, "")


def test_a_scene_does_not_depend_on_its_neighbours() -> None:
    alone, together = story().resolved_scenes(), story(scenes=3).resolved_scenes()
    assert together[2].model_copy(update={"number": 1}) == alone[0]


@pytest.mark.parametrize(
    ("scenes", "grid", "expected"),
    [
        (8, "", (4, 2, 2048, 1024)),
        (1, "", (1, 1, 512, 512)),
        (5, "", (4, 2, 2048, 1024)),
        (9, "grid: {columns: 3}", (3, 3, 1536, 1536)),
        (8, "grid: {width: 1024, height: 512}", (4, 2, 1024, 512)),
    ],
)
def test_the_grid_fits_the_number_of_scenes(scenes: int, grid: str, expected: tuple[int, ...]) -> None:
    resolved = story(grid, scenes=scenes).resolved_grid()
    assert (resolved.columns, resolved.rows, resolved.width, resolved.height) == expected


@pytest.mark.parametrize("scenes", [1, 64])
def test_one_to_sixty_four_scenes_are_accepted(scenes: int) -> None:
    assert len(story(scenes=scenes).scenes) == scenes


def test_a_story_survives_json() -> None:
    full = story("filters: [text_length_filter, image_shape_filter: {min_width: 64}]\nlora: {flip: true}\n", scenes=2)
    assert Story.model_validate_json(full.model_dump_json()) == full
    assert full.model_dump(mode="json")["filters"] == [
        {"text_length_filter": {}},
        {"image_shape_filter": {"min_width": 64}},
    ]


def test_a_filter_knows_its_thresholds() -> None:
    shape = Filter({"image_shape_filter": {"min_width": 64, "any_or_all": "all"}})
    assert shape.name == "image_shape_filter"
    assert shape.parameters == {"min_width": 64, "any_or_all": "all"}
    assert shape.thresholds == {"min_width": 64, "max_width": None, "min_height": 1, "max_height": None}


@pytest.mark.parametrize("name", ["story", "我的故事", "team-可图Kolors训练-x", "a.b_c-1"])
def test_names_may_be_chinese(name: str) -> None:
    assert story(f"name: {name}").name == name


def test_a_preset_sets_the_rank_unless_it_is_given() -> None:
    ranks = [Lora.model_validate(each).rank for each in ({"preset": "style"}, {"preset": "entity"}, {})]
    assert ranks == [16, 4, 16]
    assert Lora(preset="entity", rank=8).rank == 8
    assert Lora(optimizer="prodigy").learning_rate == 1.0
    assert Lora(optimizer="prodigy", learning_rate=0.5).learning_rate == 0.5


def test_a_story_learns_from_pictures_or_brings_its_own_lora() -> None:
    scenes = "scenes: [{prompt: a}]\n"
    own = load_story(scenes + "render: {lora: a.safetensors}")
    assert own.training_set is None
    assert load_story(scenes + "dataset: {source: pocket}\nrender: {lora: a}").training_set is None
    for nothing in (scenes, scenes + "dataset: null", scenes + "render: {lora: null}"):
        with pytest.raises(StoryInvalid, match="dataset"):
            load_story(nothing)


def test_the_schema_lets_a_story_do_without_pictures_only_with_a_lora() -> None:
    check = Draft202012Validator(story_json_schema())
    scenes: dict[str, object] = {"scenes": [{"prompt": "a"}]}
    assert check.is_valid(scenes | {"render": {"lora": "a"}})
    assert check.is_valid(scenes | {"dataset": {"source": "pocket"}})
    assert not check.is_valid(scenes)
