"""What lies outside the story: found by name or path, confined to the story's own folders, identified by content."""

import hashlib
import os
import shutil

import pytest
from kolora.errors import InputAbsent, StoryInvalid, UsageError
from kolora.hubs.catalogue import CLIP, KOLORS, POCKET, find_checkpoint, find_scorer
from kolora.hubs.store import RepoRequest, Store
from kolora.inputs import repos_to_download, resolve_inputs
from kolora.spec import read_story

from tests.stories import write_story


def find(path, tmp_path, *, roots=(), strict=True):
    return resolve_inputs(read_story(path), base=path.parent, cache=tmp_path / "cache", roots=roots, strict=strict)


def settle(cache, wanted, **files):
    store, kept = Store(cache), {}
    for name, content in (files or {"config.json": b"{}"}).items():
        cache.mkdir(exist_ok=True)
        (cache / "coming").write_bytes(content)
        kept[name] = store.add(cache / "coming", hashlib.sha256(content).hexdigest())
    return store.save_snapshot(wanted, "r1", kept)


def test_a_checkpoint_is_known_by_its_content_and_named_by_its_folder(tiny_checkpoint, tmp_path):
    one = find(write_story(tmp_path / "one", tiny_checkpoint), tmp_path)
    two = find(write_story(tmp_path / "two", tiny_checkpoint), tmp_path)
    assert one.checkpoint != two.checkpoint
    assert one.inputs.checkpoint == two.inputs.checkpoint
    assert one.inputs.clip.digest == two.inputs.clip.digest
    assert one.checkpoint_name == "checkpoint"
    config = two.checkpoint / "scheduler" / "scheduler_config.json"
    text = config.read_text()
    config.unlink()
    config.write_text(text.replace("1100", "1000"))
    assert find(tmp_path / "two" / "story.yaml", tmp_path).inputs.checkpoint != one.inputs.checkpoint


def test_only_what_is_loaded_is_a_checkpoints_identity(tiny_checkpoint, tmp_path):
    path = write_story(tmp_path / "one", tiny_checkpoint)
    folder = tmp_path / "one" / "checkpoint"
    before = find(path, tmp_path)
    for name in ("README.md", "figures.json", "unet/README.md", "probe/model.safetensors", "clip/README.md"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("another")
    after = find(path, tmp_path)
    assert after.inputs == before.inputs
    assert after.files == before.files
    assert all(name.startswith(("text_encoder/", "unet/", "vae/", "scheduler/")) for name in after.files["checkpoint"])
    (folder / "clip" / "config.json").unlink()
    (folder / "clip" / "config.json").write_text("{}")
    assert find(path, tmp_path).inputs.clip != before.inputs.clip
    assert find(path, tmp_path).inputs.checkpoint == before.inputs.checkpoint


def test_the_story_as_given_keeps_its_own_paths(tiny_checkpoint, tmp_path):
    found = find(write_story(tmp_path / "one", tiny_checkpoint), tmp_path)
    assert found.original_story.model.checkpoint == "checkpoint"
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
        assert find(story, tmp_path, roots=[tmp_path / "outside"]).inputs.dataset


def test_a_given_lora_is_known_by_its_content_confined_and_the_data_set_not_looked_at(tiny_checkpoint, tmp_path):
    story = tmp_path / "inner"
    path = write_story(story, tiny_checkpoint, dataset={"source": "folder", "path": "gone"}, render__lora="a.bin")
    with pytest.raises(InputAbsent, match=r"a\.bin"):
        find(path, tmp_path)
    (story / "a.bin").write_bytes(b"a")
    inputs = find(path, tmp_path).inputs
    assert (inputs.lora.digest, inputs.dataset) == (hashlib.sha256(b"a").hexdigest(), "")
    os.mkfifo(story / "pipe")
    with pytest.raises(InputAbsent, match="not a regular file"):
        find(write_story(story, tiny_checkpoint, render__lora="pipe"), tmp_path)
    with pytest.raises(StoryInvalid, match=r"render\.lora"):
        find(write_story(story, tiny_checkpoint, render__lora="../a.safetensors"), tmp_path)


def test_what_is_absent_stops_a_run_and_is_listed_in_a_plan(tiny_checkpoint, tmp_path):
    story = write_story(tmp_path / "inner", tiny_checkpoint, model={"checkpoint": "kolors"})
    with pytest.raises(InputAbsent, match="Kwai-Kolors/Kolors"):
        find(story, tmp_path)
    (problem,) = find(story, tmp_path, strict=False).absent
    assert "kolora fetch" in problem.hint


def test_names_are_found_in_the_package_and_in_the_cache(tmp_path):
    assert find_checkpoint("pocket", cache=tmp_path) == POCKET
    (tmp_path / "models" / "Kwai-Kolors" / "Kolors").mkdir(parents=True)
    assert find_checkpoint("kolors", cache=tmp_path) == tmp_path / "models" / "Kwai-Kolors" / "Kolors"
    shutil.rmtree(tmp_path / "models")
    downloaded = settle(tmp_path, KOLORS.request("huggingface"))
    assert find_checkpoint("kolors", cache=tmp_path) == downloaded.folder
    own = tmp_path / "checkpoint"
    (own / "clip").mkdir(parents=True)
    assert find_scorer("auto", kind="clip", checkpoint=own, cache=tmp_path) == own / "clip"
    assert find_scorer("off", kind="clip", checkpoint=own, cache=tmp_path) is None
    with pytest.raises(InputAbsent, match="aesthetics"):
        find_scorer("auto", kind="aesthetics", checkpoint=own, cache=tmp_path)


def test_a_story_asks_the_hubs_for_what_is_not_here(tiny_checkpoint, tmp_path, monkeypatch):
    monkeypatch.delenv("KOLORA_HUB", raising=False)
    cache = tmp_path / "cache"

    def asked(refresh=False, **changes):
        story = read_story(write_story(tmp_path / "story", tiny_checkpoint, **changes))
        return repos_to_download(story, base=tmp_path / "story", cache=cache, refresh=refresh)

    assert asked() == ()
    pictures = RepoRequest("huggingface", "dataset", "some/set", revision="v1", split="train")
    dataset = {"source": "huggingface", "id": "some/set", "revision": "v1"}
    assert asked(dataset=dataset) == (pictures,)
    kolors = {"checkpoint": "kolors"}
    assert asked(model=kolors, scores={"aesthetics": "off"}) == (
        KOLORS.request("modelscope"),
        CLIP.request("modelscope"),
    )
    settle(cache, pictures, **{"a.png": b"a"})
    settle(cache, CLIP.request("huggingface"))
    settle(cache, KOLORS.request("modelscope"))
    assert asked(dataset=dataset, model=kolors, scores={"aesthetics": "off"}) == ()
    assert asked(refresh=True, dataset=dataset, model=kolors, scores={"aesthetics": "off"}) == (
        pictures,
        KOLORS.request("modelscope"),
    )
    monkeypatch.setenv("KOLORA_HUB", "elsewhere")
    with pytest.raises(UsageError, match="elsewhere"):
        asked(model=kolors)


def test_pictures_of_a_hub_are_known_by_their_content(tiny_checkpoint, tmp_path):
    story = write_story(tmp_path / "one", tiny_checkpoint, dataset={"source": "modelscope", "id": "some/set"})
    with pytest.raises(InputAbsent, match="some/set is not in the cache"):
        find(story, tmp_path)
    wanted = RepoRequest("modelscope", "dataset", "some/set", split="train")
    first = settle(tmp_path / "cache", wanted, **{"a.png": b"a"})
    before = find(story, tmp_path).inputs
    assert before.dataset_folder == first.folder
    origin = {"hub": "modelscope", "id": "some/set", "revision": "r1"}
    assert find(story, tmp_path).origins[first.folder] == origin
    settle(tmp_path / "cache", wanted, **{"a.png": b"b"})
    assert find(story, tmp_path).inputs.dataset != before.dataset
