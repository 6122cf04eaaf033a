"""Stories as tasks of a Ray cluster: what each asks a node for, their lines brought together, a stop told to all.

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

from kolora.batch.process import LOOK_SECONDS, Ended, run_process
from kolora.errors import DeviceUnusable, KoloraError, Stopped, UsageError
from kolora.execute import GRACE_SECONDS, Halt

CPUS = 2
"""Cores of a story's task; where no node has as many, all that the largest has."""
RETRIES = 5
"""How often a story begins anew after its node was lost; it goes on from what it had saved."""


@dataclass(frozen=True)
class Errand:
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
        ray.init(log_to_driver=False, logging_level="ERROR")
    except (ConnectionError, TimeoutError, RuntimeError) as problem:
        address = os.environ.get("RAY_ADDRESS", "auto")
        raise DeviceUnusable(
            f"the Ray cluster at {address} does not answer: {str(problem).splitlines()[0]}",
            hint="set RAY_ADDRESS to one that does, or unset it: then one is started on this machine",
        ) from problem
    return ray


def resources(errand: Errand, nodes: Sequence[Mapping[str, float]], *, device: str | None) -> dict[str, float]:
    """Choose what a story asks for: its GPUs unless it is to compute on a CPU or no node has one, and some cores.

    nodes: what each node has, by Ray's names. Raises DeviceUnusable where no node has enough: it would wait for ever.
    """
    most = max((node.get("GPU", 0) for node in nodes), default=0)
    gpus = 0 if device == "cpu" or (device is None and not most) else errand.gpus
    fit = [node.get("CPU", 0) for node in nodes if node.get("GPU", 0) >= gpus]
    if not fit:
        raise DeviceUnusable(
            f"{errand.label} asks for {gpus} GPUs, and no node of the Ray cluster has more than {most:g}",
            hint="lower lora.devices, or join a node that has as many",
        )
    return {"num_gpus": gpus, "num_cpus": min(CPUS, max(fit))}


def run_on_cluster(
    ray: Any,
    errands: Sequence[Errand],
    *,
    device: str | None,
    halt: Halt,
    began: Callable[[str, str], None],
    told: Callable[[str, dict[str, Any]], None],
    complained: Callable[[str, str], None],
) -> Iterator[tuple[str, Ended]]:
    """Run stories where there is room, in their order; yields each one's label and end, as they end.

    began, told, complained: hear of a story, by its label, the node that has it, its JSON lines and its stderr. When a
    stop is asked for, those at work save and leave, and those that wait never begin: they are not yielded.
    """
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    desk = ray.util.queue.Queue(actor_options={"num_cpus": 0})
    hear: dict[str, Callable[[str, Any], None]] = {"began": began, "told": told, "complained": complained}
    task = ray.remote(_tell)
    waiting: dict[Any, Errand] = {}
    at_work: set[str] = set()

    def listen() -> None:
        while not desk.empty():
            kind, label, what = desk.get()
            at_work.add(label)
            hear[kind](label, what)

    for errand in errands:
        try:
            asked = resources(errand, nodes, device=device)
        except DeviceUnusable as problem:
            yield errand.label, Ended(problem.code, problem.error, problem.hint)
            continue
        waiting[task.options(**asked, max_retries=RETRIES, name=errand.label).remote(errand, desk)] = errand
    was_told = False
    while waiting:
        if halt.requested and not was_told:
            for each in waiting:
                ray.cancel(each)
            was_told = True
        done, _ = ray.wait(list(waiting), num_returns=len(waiting), timeout=LOOK_SECONDS)
        listen()
        for each in done:
            label = waiting.pop(each).label
            ended = _ended(ray, each)
            if ended.code != Stopped.code or label in at_work:
                yield label, ended
    desk.shutdown()


def _tell(errand: Errand, desk: Any) -> Ended:
    """Run a story on a node; a cancelled task gets a SIGINT, which is a stop like any other."""
    halt = Halt(grace=GRACE_SECONDS + 1)
    with halt.listening():
        desk.put(("began", errand.label, platform.node()))
        return run_process(
            errand.arguments,
            halt=halt,
            told=lambda line: desk.put(("told", errand.label, line)),
            complained=lambda line: desk.put(("complained", errand.label, line)),
            environment=errand.environment,
        )


def _ended(ray: Any, task: Any) -> Ended:
    try:
        ended: Ended = ray.get(task)
    except ray.exceptions.TaskCancelledError:
        return Ended(Stopped.code, "stopped on request", "run the same command again")
    except ray.exceptions.RayTaskError as problem:
        return Ended(KoloraError.code, f"the task failed: {str(problem).splitlines()[-1]}", "is kolora on every node?")
    except ray.exceptions.RayError as problem:
        return Ended(DeviceUnusable.code, f"the node was lost: {str(problem).splitlines()[0]}", "ray status")
    return ended
