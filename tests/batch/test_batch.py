"""A batch at the command line: every story has its folder, one failure stops nobody, one page tells of all."""

import json
import signal
import subprocess
import sys

import pytest
from safetensors.torch import load_file

from tests.commands import left
from tests.report.page import Page
from tests.stories import write_story


@pytest.fixture
def stories(tiny_checkpoint, tmp_path, monkeypatch):
    """Three stories in folders of their own: two that work, one that is wrong."""
    for name, seed in (("one", 1), ("two", 2)):
        write_story(tmp_path / "stories" / name, tiny_checkpoint, title=f"故事{name}", scenes__0__seed=seed, filters=[])
    write_story(tmp_path / "stories" / "wrong", tiny_checkpoint, lora__rank=0)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KOLORA_CACHE", str(tmp_path / "cache"))
    return tmp_path


def summary(out):
    told = json.loads((out / "batch.json").read_text(encoding="utf-8"))
    return {line["label"]: line for line in told["stories"]}


def test_one_failure_stops_nobody_and_is_told(stories, capfd):
    out = stories / "out"
    assert left("batch", "stories", "-o", out) == 65
    told = capfd.readouterr()
    lines = [json.loads(line) for line in told.out.splitlines()]
    assert {line["story"] for line in lines if line.get("stage") == "train"} == {"one", "two"}
    assert "error: 1 of 3 stories failed: wrong (65: " in told.err
    for label in ("one", "two"):
        assert (out / label / "manifest.sha256").is_file()
    taught = [load_file(out / label / "lora" / "kohya.safetensors") for label in ("one", "two")]
    assert {name: tensor.tolist() for name, tensor in taught[0].items()} == {
        name: tensor.tolist() for name, tensor in taught[1].items()
    }
    fared = summary(out)
    assert {label: (line["state"], line["code"]) for label, line in fared.items()} == {
        "one": ("complete", 0),
        "two": ("complete", 0),
        "wrong": ("failed", 65),
    }
    assert fared["one"]["title"] == "故事one"
    assert fared["one"]["scenes_done"] == 2
    assert "rank" in fared["wrong"]["error"]
    page = Page((out / "batch.html").read_text(encoding="utf-8"))
    assert "故事one" in page.text
    assert "rank" in page.text
    assert page.dangers() == []


def test_shards_divide_the_work_and_the_last_one_tells_of_all(stories, monkeypatch):
    out = stories / "out"
    (stories / "stories" / "wrong" / "story.yaml").unlink()
    ran = []
    for index in range(2):
        monkeypatch.setenv("AWS_BATCH_JOB_ID", f"job:{index}")
        monkeypatch.setenv("AWS_BATCH_JOB_ATTEMPT", "2")
        monkeypatch.setenv("AWS_BATCH_JOB_ARRAY_INDEX", str(index))
        monkeypatch.setenv("AWS_BATCH_JOB_ARRAY_SIZE", "2")
        assert left("batch", "stories", "-o", out, "--set", "lora.steps=2") == 0
        ran.append({label for label, line in summary(out).items() if line["state"] == "complete"})
    assert len(ran[0]) == 1
    assert ran[1] == {"one", "two"}
    services = [line["service"] for line in summary(out).values()]
    assert sorted(service["index"] for service in services) == [0, 1]
    run = json.loads((out / "one" / "records" / "run.json").read_text(encoding="utf-8"))
    assert run["environment"]["service"]["name"] == "AWS Batch"
    assert run["environment"]["service"]["attempt"] == 2


def test_a_stop_is_75_and_the_next_batch_goes_on(stories):
    out = stories / "out"
    command = [sys.executable, "-m", "kolora", "batch", "stories/one", "stories/two", "-o", str(out)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if json.loads(line).get("stage") == "train":
                process.send_signal(signal.SIGTERM)
                break
        process.stdout.read()
    assert process.returncode == 75
    states = {line["state"] for line in summary(out).values()}
    assert states == {"stopped", "waiting"}
    assert left("batch", "stories/one", "stories/two", "-o", out) == 0
    assert {line["state"] for line in summary(out).values()} == {"complete"}


def test_what_no_hub_gives_fails_the_stories_that_need_it_and_is_asked_for_once(stories, monkeypatch, capfd):
    hub = {"source": "modelscope", "id": "owner/absent"}
    from kolora.errors import HubUnreachable

    asked = []

    def download(wanted, **_):
        asked.append(wanted.id)
        raise HubUnreachable("ModelScope does not answer", hint="try again")

    monkeypatch.setattr("kolora.hubs.download.download", download)
    monkeypatch.setenv("KOLORA_OFFLINE", "0")
    out = stories / "out"
    for name in ("one", "wrong"):
        write_story(stories / "stories" / name, stories / "stories" / name / "checkpoint", dataset=hub)
    assert left("batch", "stories", "-o", out, "--set", "lora.steps=2") == 69
    assert asked == ["owner/absent"]
    fared = {label: (line["state"], line["code"]) for label, line in summary(out).items()}
    assert fared == {"one": ("failed", 69), "two": ("complete", 0), "wrong": ("failed", 69)}
