"""Ray as far as it can be tried without it: what a story asks for, the order, lost nodes, stops, and Ray's absence.

`tests.batch.on_ray` runs the same on a real cluster.
"""

import contextlib
import json
import os
import signal
import sys
from types import ModuleType, SimpleNamespace

import pytest
from kolora.batch.cluster import RETRIES, ClusterTask, connect, resources, run_on_cluster
from kolora.batch.process import ProcessResult
from kolora.cli import main
from kolora.errors import DeviceUnusable, UsageError
from kolora.execution.signals import Halt

from tests.stories import write_story


class Lost(Exception):
    """Stands for each of Ray's exceptions."""


class StandIn:
    """Ray's calls in one process: a task runs when it is waited for, one a wait."""

    def __init__(self, *nodes, ended=None):
        self.queue = Queue()
        self.util = SimpleNamespace(queue=SimpleNamespace(Queue=lambda actor_options: self.queue))
        self.exceptions = SimpleNamespace(
            TaskCancelledError=type("TaskCancelledError", (Lost,), {}),
            RayTaskError=type("RayTaskError", (Lost,), {}),
            RayError=Lost,
        )
        self.asked, self.cancelled, self._nodes, self._ended = {}, [], nodes, ended or {}

    def nodes(self):
        return [{"Alive": True, "Resources": node} for node in self._nodes] + [{"Alive": False, "Resources": {}}]

    def remote(self, _function):
        def options(**asked):
            self.asked[asked["name"]] = asked
            return SimpleNamespace(remote=lambda task, _queue: task.label)

        return SimpleNamespace(options=options)

    def wait(self, tasks, *, num_returns, timeout):
        label, *others = tasks
        assert num_returns == len(tasks)
        if label not in self.cancelled:
            self.queue += [("start", label, "node"), ("event", label, {"message": "train"})]
        return [label], others

    def cancel(self, task):
        self.cancelled.append(task)

    def get(self, task):
        ended = self.exceptions.TaskCancelledError() if task in self.cancelled else self._ended.get(task)
        if isinstance(ended, Exception):
            raise ended
        return ended or ProcessResult(0)


class Queue(list):
    """A queue that is never waited for."""

    def get(self):
        return self.pop(0)

    def empty(self):
        return not self

    def shutdown(self):
        assert self.empty()


def task(label, gpus=1):
    return ClusterTask(label, ("run", label), {}, gpus)


def run(ray, *tasks, device=None, halt=None, on_start=lambda label, node: None):
    told = []
    results = run_on_cluster(
        ray,
        tasks,
        device=device,
        halt=halt or Halt(),
        on_start=on_start,
        on_event=lambda label, line: told.append((label, line["message"])),
        on_stderr=lambda label, line: None,
    )
    return list(results), told


GPUS = {"CPU": 16.0, "GPU": 4.0}


@pytest.mark.parametrize(
    ("nodes", "device", "gpus", "asked"),
    [
        ([{"CPU": 64.0}, GPUS], None, 1, {"num_gpus": 1, "num_cpus": 2}),
        ([{"CPU": 64.0}, GPUS], None, 4, {"num_gpus": 4, "num_cpus": 2}),
        ([{"CPU": 64.0}, GPUS], "cpu", 4, {"num_gpus": 0, "num_cpus": 2}),
        ([{"CPU": 1.0}], None, 1, {"num_gpus": 0, "num_cpus": 1}),
        # A node without GPUs does not lend its cores to one that has.
        ([{"CPU": 64.0}, {"CPU": 1.0, "GPU": 1.0}], "cuda", 1, {"num_gpus": 1, "num_cpus": 1}),
    ],
)
def test_a_story_asks_for_its_gpus_and_some_cores(nodes, device, gpus, asked):
    assert resources(task("one", gpus), nodes, device=device) == asked


@pytest.mark.parametrize(("device", "nodes", "gpus"), [("cuda", [{"CPU": 8.0}], 1), (None, [GPUS, GPUS], 5)])
def test_what_no_node_can_hold_is_an_error_and_no_wait(device, nodes, gpus):
    with pytest.raises(DeviceUnusable, match=f"asks for {gpus} GPUs"):
        resources(task("one", gpus), nodes, device=device)


def test_stories_begin_in_their_order_and_each_ends_as_its_own_did():
    ray = StandIn(GPUS, ended={"two": ProcessResult(65, "wrong", "mend it")})
    results, told = run(ray, task("one"), task("two"), task("huge", 5), task("three"))
    assert [(label, ended.code) for label, ended in results] == [("huge", 71), ("one", 0), ("two", 65), ("three", 0)]
    assert told == [(label, "train") for label in ("one", "two", "three")]
    assert list(ray.asked) == ["one", "two", "three"]
    assert ray.asked["one"] == {"num_gpus": 1, "num_cpus": 2, "max_retries": RETRIES, "name": "one"}


def test_a_lost_node_is_71_and_a_task_that_failed_is_70():
    ray = StandIn(GPUS)
    ray._ended = {"one": Lost("the node died\nat noon"), "two": ray.exceptions.RayTaskError("no module\nnamed kolora")}
    results, _ = run(ray, task("one"), task("two"))
    assert [(ended.code, ended.error) for _, ended in results] == [
        (71, "the node was lost: the node died"),
        (70, "the task failed: named kolora"),
    ]


def test_a_stop_reaches_those_at_work_and_the_others_never_begin():
    halt = Halt()
    ray = StandIn(GPUS)
    with halt.listening():
        results, told = run(
            ray,
            *(task(label) for label in ("one", "two", "three")),
            halt=halt,
            on_start=lambda label, node: os.kill(os.getpid(), signal.SIGTERM),
        )
    assert ray.cancelled == ["two", "three"]
    assert results == [("one", ProcessResult(0))]
    assert told == [("one", "train")]


@pytest.fixture
def ray(monkeypatch):
    """Stand a module in for Ray; returns what it was joined with."""
    joined = []
    module = ModuleType("ray")
    module.init = lambda **options: joined.append(options)
    monkeypatch.setitem(sys.modules, "ray", module)
    monkeypatch.setitem(sys.modules, "ray.util.queue", ModuleType("ray.util.queue"))
    return joined


def test_joining_keeps_stdout_clean(ray):
    assert connect() is sys.modules["ray"]
    assert ray == [{"log_to_driver": False, "logging_level": "ERROR"}]


def test_a_cluster_that_does_not_answer_is_named(ray, monkeypatch):
    def init(**_):
        raise ConnectionError("nobody there")

    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    sys.modules["ray"].init = init
    with pytest.raises(DeviceUnusable, match="head:6379 does not answer: nobody there"):
        connect()


@pytest.fixture
def without_ray(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)


def test_without_ray_the_error_names_the_extra(without_ray):
    with pytest.raises(UsageError) as told:
        connect()
    assert told.value.code == 2
    assert "kolora[cluster]" in told.value.hint


def test_the_command_line_asks_for_ray_only_where_told(without_ray, tiny_checkpoint, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("KOLORA_CACHE", str(tmp_path / "cache"))
    write_story(tmp_path / "stories" / "wrong", tiny_checkpoint, lora__rank=0)
    left = []
    for options in ([], ["--ray"]):
        with contextlib.suppress(SystemExit):
            left.append(main(["batch", str(tmp_path / "stories"), "-o", str(tmp_path / "out"), *options]))
    told = capsys.readouterr().err
    assert "wrong (65: " in told
    assert told.count("--ray needs Ray") == 1
    assert json.loads((tmp_path / "out" / "batch.json").read_text())["counts"] == {"failed": 1}


def test_a_node_is_told_all_by_names_that_hold_there(tiny_checkpoint, tmp_path, monkeypatch):
    """A node's own folder and variables are others than this process's."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KOLORA_CACHE", "cache")
    monkeypatch.setenv("KOLORA_RUN_ID", "night")
    write_story(tmp_path / "stories" / "one", tiny_checkpoint)
    sent = []

    def run(_ray, tasks, **_):
        sent.extend(tasks)
        yield from ((each.label, ProcessResult(0)) for each in tasks)

    # The package's own name for it is the command.
    module = sys.modules["kolora.cli.batch"]
    monkeypatch.setattr(module, "connect", object)
    monkeypatch.setattr(module, "run_on_cluster", run)
    with contextlib.suppress(SystemExit):
        main(["batch", "stories", "quickstart", "-o", "out", "--ray", "--set", "lora.devices=2"])
    told = {each.label: each for each in sent}
    assert told["one"].arguments == (
        "run",
        f"--out={tmp_path}/out/one",
        "--offline",
        "--set=lora.devices=2",
        "--",
        f"{tmp_path}/stories/one/story.yaml",
    )
    assert told["quickstart"].arguments[-1] == "quickstart.yaml"
    assert {each.gpus for each in sent} == {2}
    environment = {"KOLORA_CACHE": f"{tmp_path}/cache", "KOLORA_ROOTS": str(tmp_path), "KOLORA_RUN_ID": "night"}
    assert told["one"].environment == environment
