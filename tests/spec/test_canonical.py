"""The canonical form: without defaults, read back to the same story, untouched by a new optional key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from kolora.spec import Story, read_story
from kolora.spec.canonical import canonical
from kolora.spec.sections.lora import Lora
from kolora.spec.types import Frozen
from pydantic import create_model

SPECS = Path(__file__).parents[2] / "specs"
SMALL: dict[str, Any] = {"dataset": {"source": "pocket"}, "scenes": [{"prompt": "一只猫"}]}


def test_what_equals_its_default_is_left_out():
    assert canonical(Story.model_validate(SMALL)) == SMALL | {"scenes": [{"prompt": "一只猫"}]}
    spelled = SMALL | {"kolora": 1, "lora": {"rank": 16, "alpha": 4, "prior": None}, "grid": {"columns": 4}}
    assert canonical(Story.model_validate(spelled)) == SMALL


@pytest.mark.parametrize("path", sorted(SPECS.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_shipped_story_reads_back_from_its_canonical_form(path: Path):
    story = read_story(path)
    again = Story.model_validate(canonical(story))
    # A filter's parameters are kept as given; those left out are Data-Juicer's own defaults.
    assert again.model_dump(exclude={"filters"}) == story.model_dump(exclude={"filters"})
    assert [each.thresholds for each in again.filters] == [each.thresholds for each in story.filters]
    assert len(str(canonical(story))) < len(str(story.model_dump(mode="json")))


@pytest.mark.parametrize(
    ("lora", "form"),
    [
        ({"preset": "entity"}, {"preset": "entity"}),
        ({"preset": "entity", "rank": 4}, {"preset": "entity"}),
        ({"preset": "entity", "rank": 16}, {"preset": "entity", "rank": 16}),
        ({"preset": "style", "rank": 16}, {"preset": "style"}),
        ({"optimizer": "prodigy"}, {"optimizer": "prodigy"}),
        ({"optimizer": "prodigy", "learning_rate": 1e-4}, {"optimizer": "prodigy", "learning_rate": 1e-4}),
        ({"learning_rate": 1e-4}, {}),
    ],
)
def test_a_default_that_another_key_decides_is_the_one_that_counts(lora: dict[str, Any], form: dict[str, Any]):
    assert canonical(Lora.model_validate(lora)) == form
    assert Lora.model_validate(form) == Lora.model_validate(lora)


def test_parameters_of_a_filter_that_are_data_juicers_own_are_left_out():
    given = SMALL | {"filters": [{"image_shape_filter": {"min_width": 64, "any_or_all": "any"}}, "text_length_filter"]}
    story = Story.model_validate(given)
    assert canonical(story)["filters"] == [{"image_shape_filter": {"min_width": 64}}, {"text_length_filter": {}}]


def test_a_new_optional_key_changes_nothing():
    class Before(Frozen):
        rank: int
        dropout: float = 0.0

    after = create_model("After", __base__=Before, rslora=(bool, False), parts=(tuple[int, ...], ()))
    assert canonical(after(rank=4)) == canonical(Before(rank=4)) == {"rank": 4}
    assert canonical(after(rank=4, rslora=True)) == {"rank": 4, "rslora": True}
