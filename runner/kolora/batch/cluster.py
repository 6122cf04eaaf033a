"""Stories as tasks of a Ray cluster: what each asks a node for, one stream of their lines, one stop for all.

Ray is the extra ``cluster`` of this package, and is loaded by `connect` alone. The nodes have kolora installed, and
share OUT, the cache and the stories under the same paths.
"""

from __future__ import annotations

import importlib
import os
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kolora.batch.process import LOOK_SECONDS, ProcessResult, run_process
from kolora.errors import DeviceUnusable, KoloraError, Stopped, UsageError
from kolora.execution.signals import GRACE_SECONDS, RECORD_SECONDS, Halt

CPUS = 2
"""Cores of a story's task; where no node has as many, all that the largest has."""
RETRIES = 5
"""How often a story begins anew after its node was lost; it goes on from what it had saved."""


@dataclass(frozen=True)
class ClusterTask:
    """A story for some node: its folder's name, kolora's arguments and variables there, and the GPUs it trains on."""

    label: str
    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    gpus: int


def connect() -> Any:
    """Join the cluster that RAY_ADDRESS names, else this machine's, else start one here; returns Ray.

    Raises UsageError where Ray is not installed, DeviceUnusable where the cluster does not answer.
    """
    try:
        ray: Any = importlib.import_module("ray")
        importlib.import_module("ray.util.queue")
    except ImportError as problem:
        raise UsageError("--ray needs Ray, which is not installed", hint="pip install 'kolora[cluster]'") from problem
    try:
        # Ray would print what stories print, which reaches us by our own queue.
        ray.init(log_to_driver=False, logging_level="ERROR")
    except (ConnectionError, TimeoutError, RuntimeError) as problem:
        address = os.environ.get("RAY_ADDRESS", "auto")
        raise DeviceUnusable(
            f"the Ray cluster at {address} does not answer: {str(problem).splitlines()[0]}",
            hint="set RAY_ADDRESS to one that does, or unset it: then one is started on this machine",
        ) from problem
    return ray


def resources(task: ClusterTask, nodes: Sequence[Mapping[str, float]], *, device: str | None) -> dict[str, float]:
    """Choose what a story asks for: its GPUs unless it is to compute on a CPU or no node has one, and some cores.

    nodes: what each node has, by Ray's names. Raises DeviceUnusable where no node has enough: it would wait for ever.
    """
    most = max((node.get("GPU", 0) for node in nodes), default=0)
    gpus = 0 if device == "cpu" or (device is None and not most) else task.gpus
    fit = [node.get("CPU", 0) for node in nodes if node.get("GPU", 0) >= gpus]
    if not fit:
        raise DeviceUnusable(
            f"{task.label} asks for {gpus} GPUs, and no node of the Ray cluster has more than {most:g}",
            hint="lower lora.devices, or join a node that has as many",
        )
    return {"num_gpus": gpus, "num_cpus": min(CPUS, max(fit))}


def run_on_cluster(
    ray: Any,
    tasks: Sequence[ClusterTask],
    *,
    device: str | None,
    halt: Halt,
    on_start: Callable[[str, str], None],
    on_event: Callable[[str, dict[str, Any]], None],
    on_stderr: Callable[[str, str], None],
) -> Iterator[tuple[str, ProcessResult]]:
    """Run stories where there is room, in their order; yields each one's label and end, as they end.

    on_start, on_event, on_stderr: called with a story's label and the node that runs it, one of its JSON lines, or a
    line of its stderr. When a stop is asked for, running stories save and leave, and those that wait never start: they
    are not yielded.
    """
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    # An actor that asks for no core: on a full cluster the queue would wait for the very stories that write into it.
    queue = ray.util.queue.Queue(actor_options={"num_cpus": 0})
    listeners: dict[str, Callable[[str, Any], None]] = {"start": on_start, "event": on_event, "stderr": on_stderr}
    remote = ray.remote(_run_task)
    waiting: dict[Any, ClusterTask] = {}
    started: set[str] = set()

    def listen() -> None:
        while not queue.empty():
            kind, label, value = queue.get()
            started.add(label)
            listeners[kind](label, value)

    for task in tasks:
        try:
            amounts = resources(task, nodes, device=device)
        except DeviceUnusable as problem:
            yield task.label, ProcessResult(problem.code, problem.error, problem.hint)
            continue
        waiting[remote.options(**amounts, max_retries=RETRIES, name=task.label).remote(task, queue)] = task
    is_stopping = False
    while waiting:
        if halt.requested and not is_stopping:
            for each in waiting:
                ray.cancel(each)
            is_stopping = True
        # All of them with a timeout: that returns whatever has ended by then.
        done, _ = ray.wait(list(waiting), num_returns=len(waiting), timeout=LOOK_SECONDS)
        # Before the ends are told: a story's last lines were sent while it still ran.
        listen()
        for each in done:
            label = waiting.pop(each).label
            result = _result_of(ray, each)
            # Stopped before it began: nothing was done, and nothing is to be written of it.
            if result.code != Stopped.code or label in started:
                yield label, result
    queue.shutdown()


def _run_task(task: ClusterTask, queue: Any) -> ProcessResult:
    """Run a story on a node; a cancelled task gets a SIGINT, which is a stop like any other."""
    # Longer than the story has: it is to leave by itself, and its last lines are to arrive.
    halt = Halt(grace=GRACE_SECONDS + RECORD_SECONDS + 0.5, record=1)
    with halt.listening():
        queue.put(("start", task.label, platform.node()))
        return run_process(
            task.arguments,
            halt=halt,
            on_event=lambda line: queue.put(("event", task.label, line)),
            on_stderr=lambda line: queue.put(("stderr", task.label, line)),
            environment=task.environment,
        )


def _result_of(ray: Any, future: Any) -> ProcessResult:
    try:
        result: ProcessResult = ray.get(future)
    except ray.exceptions.TaskCancelledError:
        return ProcessResult(Stopped.code, "stopped on request", "run the same command again")
    except ray.exceptions.RayTaskError as problem:
        reason = str(problem).splitlines()[-1]
        return ProcessResult(KoloraError.code, f"the task failed: {reason}", "is kolora on every node?")
    except ray.exceptions.RayError as problem:
        return ProcessResult(DeviceUnusable.code, f"the node was lost: {str(problem).splitlines()[0]}", "ray status")
    return result
