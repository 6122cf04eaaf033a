"""SIGKILL at any moment costs time, never a byte; ``python -m tests.kills --runs 20`` is the long form."""

from tests.kills import kill_runs
from tests.stories import write_story


def test_killed_runs_end_with_the_bytes_of_an_undisturbed_one(tiny_checkpoint, tmp_path):
    story = write_story(tmp_path, tiny_checkpoint, lora__steps=20)
    victims = kill_runs(story, runs=4, seed=4)
    assert victims.total() == 4
    assert victims["over before the kill"] < 4
