"""The specs that come with kolora, and the starter: each is a sound story."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
import yaml
from kolora.spec import Story, load_story, new_story, read_story
from kolora.spec.document import read

SPECS = Path(__file__).parents[2] / "specs"
SHIPPED = sorted(SPECS.glob("*.yaml"))
MODELINE = "# yaml-language-server: $schema=story.schema.json\n"


def test_the_folder_was_walked() -> None:
    assert {"quickstart.yaml", "story.yaml", "dragon.yaml"} <= {path.name for path in SHIPPED}
    assert len(SHIPPED) >= 3


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_a_shipped_spec_is_a_whole_story(path: Path) -> None:
    story = read_story(path)
    assert path.read_text(encoding="utf-8").startswith(MODELINE)
    assert (SPECS / "story.schema.json").is_file()
    assert story.name == path.stem
    assert len(story.scenes) == 8
    assert all(scene.title and scene.seed is not None for scene in story.scenes)
    assert len({scene.prompt for scene in story.scenes}) == 8
    assert len({scene.seed for scene in story.scenes}) == 8
    assert [item.name for item in story.filters] == ["image_shape_filter", "image_aspect_ratio_filter"]


@pytest.mark.parametrize("path", [*SHIPPED, "zh", "en"], ids=lambda path: getattr(path, "name", path))
def test_any_yaml_reader_reads_a_shipped_spec_as_kolora_does(path: Path | Literal["zh", "en"]) -> None:
    text = new_story(path) if isinstance(path, str) else path.read_text(encoding="utf-8")
    assert yaml.safe_load(text) == read(text)[0].data


def test_the_quickstart_is_small_and_its_heroine_keeps_her_look() -> None:
    story = read_story(SPECS / "quickstart.yaml")
    assert (story.model.checkpoint, story.language, story.dataset.source) == ("pocket", "zh", "pocket")
    assert all("紫色短发的小女孩，穿着粉色连衣裙" in scene.prompt for scene in story.scenes)
    assert (story.lora.steps, story.lora.rank, story.lora.batch_size, story.lora.resolution) == (100, 16, 2, 256)
    assert all((scene.width, scene.height, scene.steps) == (256, 256, 18) for scene in story.resolved_scenes())


def test_the_default_story_has_the_settings_that_contestants_know() -> None:
    story = read_story(SPECS / "story.yaml")
    assert (story.model.checkpoint, story.language) == ("kolors", "zh")
    assert (story.lora.rank, story.lora.alpha, story.lora.steps, story.lora.learning_rate) == (16, 4.0, 500, 1e-4)
    assert (story.render.lora_scale, story.render.steps, story.render.guidance_scale) == (0.5, 50, 4.0)
    assert story.filters[0].thresholds["min_width"] == 1024
    assert story.filters[1].thresholds == {"min_ratio": 0.5, "max_ratio": 2.0}
    grid = story.resolved_grid()
    assert (grid.columns, grid.rows, grid.width, grid.height) == (4, 2, 2048, 1024)


def test_the_english_story_is_in_english() -> None:
    story = read_story(SPECS / "dragon.yaml")
    assert (story.model.checkpoint, story.language) == ("pocket", "en")
    assert all(scene.prompt.isascii() and scene.negative_prompt.isascii() for scene in story.resolved_scenes())


@pytest.mark.parametrize("language", ["zh", "en"])
def test_a_new_story_is_sound_and_explains_itself(language: Literal["zh", "en"]) -> None:
    text = new_story(language)
    story = load_story(text)
    assert (story.language, len(story.scenes), story.model.checkpoint) == (language, 8, "pocket")
    assert text.startswith(MODELINE)
    assert text.count("#") > 25


def test_both_new_stories_are_the_same_but_for_the_language() -> None:
    def bones(story: Story) -> dict[str, object]:
        words = {"title", "language", "scenes"}
        return story.model_dump(exclude=words) | {"render": story.render.model_dump(exclude={"negative_prompt"})}

    chinese, english = load_story(new_story("zh")), load_story(new_story("en"))
    assert bones(chinese) == bones(english)
    assert [scene.seed for scene in chinese.scenes] == [scene.seed for scene in english.scenes]
