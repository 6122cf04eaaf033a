"""What lies outside the story: found by name or path, confined to the story's own folders, identified by content."""

import pytest

from runner.errors import InputAbsent, StoryInvalid
from runner.hubs.checkpoints import POCKET, find_checkpoint, find_scorer
from runner.sources import find_sources
from runner.spec import read_story
from tests.stories import write_story


def find(path, tmp_path, *, roots=(), strict=True):
    return find_sources(read_story(path), base=path.parent, cache=tmp_path / "cache", roots=roots, strict=strict)


def test_a_checkpoint_is_known_by_its_content_and_named_by_its_folder(tiny_checkpoint, tmp_path):
    one = find(write_story(tmp_path / "one", tiny_checkpoint), tmp_path)
    two = find(write_story(tmp_path / "two", tiny_checkpoint), tmp_path)
    assert one.checkpoint != two.checkpoint
    assert one.sources.checkpoint == two.sources.checkpoint
    assert one.sources.clip.digest == two.sources.clip.digest
    assert one.checkpoint_name == "checkpoint"
    config = two.checkpoint / "scheduler" / "scheduler_config.json"
    text = config.read_text()
    config.unlink()
    config.write_text(text.replace("1100", "1000"))
    assert find(tmp_path / "two" / "story.yaml", tmp_path).sources.checkpoint != one.sources.checkpoint


def test_the_story_as_given_keeps_its_own_paths(tiny_checkpoint, tmp_path):
    found = find(write_story(tmp_path / "one", tiny_checkpoint), tmp_path)
    assert found.given.model.checkpoint == "checkpoint"
    assert found.story.model.checkpoint == str(tmp_path / "one" / "checkpoint")


@pytest.mark.parametrize("path", ["../outside", "/etc", "link"])
def test_a_path_may_not_lead_out_unless_its_goal_is_a_root(tiny_checkpoint, tmp_path, path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "a.txt").write_text("a")
    story = write_story(tmp_path / "inner", tiny_checkpoint, dataset={"source": "folder", "path": path, "caption": "a"})
    (tmp_path / "inner" / "link").symlink_to(tmp_path / "outside")
    with pytest.raises(StoryInvalid, match=r"dataset\.path"):
        find(story, tmp_path)
    if path != "/etc":
        assert find(story, tmp_path, roots=[tmp_path / "outside"]).sources.dataset


def test_what_is_absent_stops_a_run_and_is_listed_in_a_plan(tiny_checkpoint, tmp_path):
    story = write_story(tmp_path / "inner", tiny_checkpoint, model={"checkpoint": "kolors"})
    with pytest.raises(InputAbsent, match="Kwai-Kolors/Kolors"):
        find(story, tmp_path)
    (problem,) = find(story, tmp_path, strict=False).absent
    assert "models/Kwai-Kolors/Kolors" in problem.error


def test_names_are_found_in_the_package_and_in_the_cache(tmp_path):
    assert find_checkpoint("pocket", cache=tmp_path) == POCKET
    (tmp_path / "models" / "Kwai-Kolors" / "Kolors").mkdir(parents=True)
    assert find_checkpoint("kolors", cache=tmp_path) == tmp_path / "models" / "Kwai-Kolors" / "Kolors"
    own = tmp_path / "checkpoint"
    (own / "clip").mkdir(parents=True)
    assert find_scorer("auto", kind="clip", checkpoint=own, cache=tmp_path) == own / "clip"
    assert find_scorer("off", kind="clip", checkpoint=own, cache=tmp_path) is None
    with pytest.raises(InputAbsent, match="aesthetics"):
        find_scorer("auto", kind="aesthetics", checkpoint=own, cache=tmp_path)
