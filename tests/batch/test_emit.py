"""kolora emit at the command line: files where they were asked for, names that every service allows."""

import json

import pytest
import yaml
from kolora.cli.emit import TARGETS
from kolora.stories import SHIPPED

from tests.commands import left


@pytest.fixture
def outside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("渡灯.yaml", "My Cat.yaml"):
        (tmp_path / name).write_bytes((SHIPPED / "quickstart.yaml").read_bytes())
    return tmp_path


@pytest.mark.parametrize("target", TARGETS)
def test_every_target_writes_its_files(outside, capsys, target):
    assert left("emit", target, "渡灯.yaml", "--image", "registry.example/kolora:1") == 0
    files = [outside / line for line in capsys.readouterr().out.splitlines()]
    assert files
    assert all(file.stat().st_size for file in files)
    everything = "".join(file.read_text(encoding="utf-8") for file in files)
    assert "registry.example/kolora:1" in everything
    assert "/out/quickstart" in everything
    assert "小紫的歌" in everything


def test_names_fit_every_service_and_shipped_stories_stay_in_the_image(outside):
    assert left("emit", "kubernetes", "渡灯.yaml", "My Cat.yaml", "dragon", "--tasks", 2, "-o", "jobs") == 0
    told, job = yaml.safe_load_all((outside / "jobs" / "job.yaml").read_text(encoding="utf-8"))
    assert list(told["data"]) == ["my-cat.yaml", "story-1.yaml"] or list(told["data"]) == [
        "story-1.yaml",
        "my-cat.yaml",
    ]
    assert job["spec"]["completions"] == 2
    arguments = job["spec"]["template"]["spec"]["containers"][0]["args"]
    assert arguments == [
        "batch",
        "/stories/story-1.yaml",
        "/stories/my-cat.yaml",
        "dragon.yaml",
        "--out",
        "/out/kolora",
    ]


def test_volumes_and_names_can_be_said(outside):
    options = ["--name", "Night", "--out-volume", "fs-1", "--cache-volume", "fs-2", "-o", "jobs"]
    assert left("emit", "aws-batch", "quickstart", *options) == 0
    definition = json.loads((outside / "jobs" / "job-definition.json").read_text())
    assert definition["jobDefinitionName"] == "night"
    volumes = definition["containerProperties"]["volumes"]
    assert [each["efsVolumeConfiguration"]["fileSystemId"] for each in volumes] == ["fs-1", "fs-2"]


def test_an_invalid_story_is_no_job(outside, capsys):
    (outside / "wrong.yaml").write_text("kolora: 1\nscenes: []\n")
    assert left("emit", "slurm", "wrong.yaml") == 65
    assert not (outside / "jobs").exists()


def test_what_a_story_reads_beside_itself_is_named(outside, capsys):
    story = yaml.safe_load((SHIPPED / "quickstart.yaml").read_text(encoding="utf-8"))
    story |= {"model": {"checkpoint": "weights"}, "dataset": {"source": "folder", "path": "pictures"}}
    (outside / "mine.yaml").write_text(yaml.safe_dump(story), encoding="utf-8")
    assert left("emit", "slurm", "mine.yaml") == 0
    told = capsys.readouterr().err
    assert "mine reads weights (model.checkpoint)" in told
    assert "mine reads pictures (dataset.path)" in told
