"""Which stories a batch has: files, folders and globs, each once, each with a folder of its own, shared out evenly."""

import pytest
from kolora.batch.work import Task, find_tasks, share
from kolora.errors import InputAbsent, UsageError


@pytest.fixture
def stories(tmp_path, monkeypatch):
    for name in ("b.yaml", "a.yml", "notes.txt", "deep/story.yaml", "deep/other.yaml", "done/story.yaml"):
        (tmp_path / "stories" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "stories" / name).write_text("kolora: 1\n")
    (tmp_path / "stories" / "done" / "records").mkdir()
    monkeypatch.chdir(tmp_path)


def test_a_folder_means_its_files_and_its_folders_stories_but_no_finished_runs(stories):
    assert find_tasks(["stories"]) == (
        Task("stories/a.yml", "a"),
        Task("stories/b.yaml", "b"),
        Task("stories/deep/story.yaml", "deep"),
    )


def test_globs_files_and_shipped_names_are_each_taken_once(stories):
    assert find_tasks(["stories/*.y*ml", "stories/b.yaml", "quickstart"]) == (
        Task("stories/a.yml", "a"),
        Task("stories/b.yaml", "b"),
        Task("quickstart", "quickstart"),
    )


def test_stories_of_one_name_get_folders_of_their_own(stories, tmp_path):
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "b.yaml").write_text("kolora: 1\n")
    assert [task.label for task in find_tasks(["stories/b.yaml", "more/b.yaml"])] == ["b", "b-2"]


def test_what_means_no_story_is_an_error(stories):
    with pytest.raises(InputAbsent, match="has no story file"):
        find_tasks(["stories/*.json"])
    with pytest.raises(UsageError, match="standard input"):
        find_tasks(["-"])


def test_shards_cover_all_and_share_nothing_whatever_the_order_given():
    tasks = [(f"{number * 7 % 10}", Task(f"{number}.yaml", f"{number}")) for number in range(10)]
    shards = [share(tasks, index=index, count=3) for index in range(3)]
    assert sorted(task.label for shard in shards for task in shard) == sorted(task.label for _, task in tasks)
    assert [len(shard) for shard in shards] == [4, 3, 3]
    assert [share(tasks[::-1], index=index, count=3) for index in range(3)] == shards
