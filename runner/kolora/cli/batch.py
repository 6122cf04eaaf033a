"""Many stories in one command: downloads once, then story after story, and one page over all."""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click

from kolora.batch.cluster import ClusterTask, connect, run_on_cluster
from kolora.batch.process import ProcessResult, run_process
from kolora.batch.summary import Outcome, State, refuse_others, write_outcome, write_summary
from kolora.batch.work import Task, find_tasks, share
from kolora.cli.console import RunConsole, console_for
from kolora.errors import KoloraError, Stopped
from kolora.execution.downloads import download_one, requests_of
from kolora.execution.signals import GRACE_SECONDS, RECORD_SECONDS, Halt
from kolora.files import real_path
from kolora.hubs.store import RepoRequest
from kolora.places import cache_folder, is_offline, out_root
from kolora.report.sections.environment import Service
from kolora.service import OWN, find_service, find_shard
from kolora.stories import SHIPPED, LoadedStory, find_story

PRECEDENCE = (75, 69, 71, 73, 70, 66, 78, 65, 2)
"""Which code stands for a batch that fails in several ways: first those that a later attempt may cure."""


@dataclass(frozen=True)
class _LoadedTask:
    """A task and its story, or what is wrong with that."""

    task: Task
    digest: str
    loaded: LoadedStory | None
    problem: KoloraError | None


@click.command()
@click.argument("stories", nargs=-1, required=True)
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the run folders [KOLORA_OUT, else out].",
)
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key of every story.")
@click.option("--offline", is_flag=True, help="Do not use the network [KOLORA_OFFLINE].")
@click.option("--device", type=click.Choice(["cuda", "cpu"]), help="Where to compute [a GPU where there is one].")
@click.option("--ray", "on_ray", is_flag=True, help="Spread the stories over the Ray cluster of RAY_ADDRESS.")
def batch(
    stories: tuple[str, ...],
    out: Path | None,
    overrides: tuple[str, ...],
    offline: bool,
    device: str | None,
    on_ray: bool,
) -> None:
    """Run many STORIES: files, folders, globs, each into a folder of its own.

    On a batch service each task of an array takes its share. A story that fails does not stop the others; the exit
    code tells of it. What is done is kept, so the same command goes on where it stopped.
    """
    root = out or out_root()
    tasks, (index, count) = find_tasks(stories), find_shard(os.environ)
    refuse_others(root)
    loaded = {task: _load(task, overrides) for task in tasks}
    mine = share([(loaded[task].digest, task) for task in tasks], index=index, count=count)
    # Longer than a story's own grace: its process is to end first, and its outcome and the summary to be written.
    tell, halt = console_for(sys.stdout), Halt(grace=GRACE_SECONDS + RECORD_SECONDS + 0.5, record=1)
    tell.say(
        f"{len(mine)} of {len(tasks)} stories are to do" + (f", shard {index + 1} of {count}" if count > 1 else "")
    )
    options = [f"--set={each}" for each in overrides] + ([f"--device={device}"] if device else [])
    # Before anybody listens for signals: Ray puts handlers of its own in place.
    ray = connect() if on_ray else None
    progress = _Progress(real_path(root) if on_ray else root, tasks, tell)
    try:
        with halt.listening(), halt.recording(lambda _: progress.write_summary()):
            absent = {} if is_offline(offline) else _download([loaded[task] for task in mine], tell, halt)
            ready = list(progress.runnable([loaded[task] for task in mine], absent))
            if ray is None:
                _run_here(ready, progress, options, halt)
            else:
                _run_on_ray(ray, ready, progress, options, device, halt)
            halt.check()
    finally:
        tell.close()
        write_summary(root, tasks)
    tell.say(f"the summary is {root / 'batch.html'}", out=str(root))
    _raise_failures(progress.results)


class _Progress:
    """How the stories get on: on stdout, in one outcome file each, and on the summary page."""

    def __init__(self, root: Path, tasks: Sequence[Task], tell: RunConsole) -> None:
        self.root = root
        self.results: dict[str, ProcessResult] = {}
        self._tasks = tasks
        self._tell = tell
        self._by_label = {task.label: task for task in tasks}
        self._clocks: dict[str, float] = {}

    def write_summary(self) -> None:
        write_summary(self.root, self._tasks)

    def runnable(
        self, loaded: Iterable[_LoadedTask], absent: Mapping[RepoRequest, KoloraError]
    ) -> Iterator[_LoadedTask]:
        """Yield the stories that can begin; what is wrong with the others is their result."""
        for each in loaded:
            problem = each.problem
            if problem is None and each.loaded is not None and absent:
                missing = [request for request in requests_of(each.loaded) if request in absent]
                problem = absent[missing[0]] if missing else None
            if problem is None:
                yield each
            else:
                self.on_end(each.task.label, ProcessResult(problem.code, problem.error, problem.hint))

    def on_start(self, label: str, node: str = "") -> None:
        self._clocks[label] = time.monotonic()
        self._tell.say(f"{label} begins" + (f" on {node}" if node else ""), story=label)
        _record(self._by_label[label], self.root, "running")
        write_summary(self.root, self._tasks)

    def on_event(self, label: str, line: Mapping[str, Any]) -> None:
        self._tell.say(**{**line, "story": label})

    def on_stderr(self, label: str, line: str) -> None:
        click.echo(f"{label}: {line}", err=True)

    def on_end(self, label: str, result: ProcessResult) -> None:
        now = time.monotonic()
        seconds = round(now - self._clocks.get(label, now), 1)
        self.results[label] = result
        _record(self._by_label[label], self.root, _state(result), result, seconds)
        write_summary(self.root, self._tasks)
        self._tell.say(
            f"{label} is {_state(result)}" + (f": {result.error}" if result.error else ""),
            story=label,
            code=result.code,
            seconds=seconds,
        )


def _run_here(loaded: Iterable[_LoadedTask], progress: _Progress, options: Sequence[str], halt: Halt) -> None:
    """Run story after story on this machine."""
    for each in loaded:
        halt.check()
        label = each.task.label
        progress.on_start(label)
        result = run_process(
            _arguments(label, each.task.story, progress.root, options),
            halt=halt,
            on_event=partial(progress.on_event, label),
            on_stderr=partial(progress.on_stderr, label),
        )
        progress.on_end(label, result)


def _run_on_ray(
    ray: Any, loaded: Iterable[_LoadedTask], progress: _Progress, options: Sequence[str], device: str | None, halt: Halt
) -> None:
    """Run the stories wherever the cluster has room, which knows neither this process's folder nor its variables."""
    environment = {
        "KOLORA_CACHE": str(real_path(cache_folder())),
        "KOLORA_ROOTS": os.pathsep.join([str(Path.cwd()), *filter(None, [os.environ.get("KOLORA_ROOTS")])]),
        **{name: value for name in (OWN.run, OWN.attempt) if (value := os.environ.get(name))},
    }
    tasks = []
    for each in loaded:
        story_file = each.loaded
        assert story_file is not None
        assert story_file.path is not None
        # A shipped story by name: on the node it lies elsewhere.
        story = story_file.path.name if story_file.base == SHIPPED else str(real_path(story_file.path))
        arguments = _arguments(each.task.label, story, progress.root, options)
        tasks.append(ClusterTask(each.task.label, tuple(arguments), environment, story_file.story.lora.devices))
    for label, result in run_on_cluster(
        ray,
        tasks,
        device=device,
        halt=halt,
        on_start=progress.on_start,
        on_event=progress.on_event,
        on_stderr=progress.on_stderr,
    ):
        progress.on_end(label, result)


def _arguments(label: str, story: str, root: Path, options: Sequence[str]) -> list[str]:
    # Offline, as everything was downloaded once for all; `--`, as a story's name may begin with a dash.
    return ["run", f"--out={root / label}", "--offline", *options, "--", story]


def _load(task: Task, overrides: Sequence[str]) -> _LoadedTask:
    """Read a story; what is wrong with one is that one's failure."""
    try:
        loaded = find_story(task.story, overrides)
    except KoloraError as problem:
        # Shared out by its name, as it has no content: some shard has to report it.
        return _LoadedTask(task, hashlib.sha256(task.story.encode()).hexdigest(), None, problem)
    return _LoadedTask(task, hashlib.sha256(loaded.source).hexdigest(), loaded, None)


def _download(loaded: Iterable[_LoadedTask], tell: RunConsole, halt: Halt) -> Mapping[RepoRequest, KoloraError]:
    """Download what the stories use, each thing once; returns what could not be had and why."""
    requests: list[RepoRequest] = []
    for each in loaded:
        if each.loaded:
            requests += requests_of(each.loaded)
    absent: dict[RepoRequest, KoloraError] = {}
    for request in dict.fromkeys(requests):
        try:
            download_one(request, on_event=tell.on_event, halt=halt)
        except Stopped:
            raise
        except KoloraError as problem:
            absent[request] = problem
    return absent


def _state(result: ProcessResult) -> State:
    return {0: "complete", Stopped.code: "stopped"}.get(result.code, "failed")  # type: ignore[return-value]


def _record(
    task: Task, root: Path, state: State, result: ProcessResult | None = None, seconds: float | None = None
) -> None:
    service = find_service(os.environ)
    write_outcome(
        root,
        Outcome(
            label=task.label,
            story=task.story,
            state=state,
            code=result.code if result else None,
            error=result.error if result else "",
            hint=result.hint if result else "",
            seconds=seconds,
            service=Service.model_validate(vars(service)) if service else None,
        ),
    )


def _raise_failures(results: Mapping[str, ProcessResult]) -> None:
    """Raise for the stories that failed: the code that stands for all of them, and each one's own."""
    failed = {label: each for label, each in results.items() if each.code}
    if not failed:
        return
    codes = {each.code for each in failed.values()}
    failures = ", ".join(f"{label} ({each.code}: {each.error})" for label, each in failed.items())
    problem = KoloraError(
        f"{len(failed)} of {len(results)} stories failed: {failures}", hint="the same command tries them again"
    )
    problem.code = next((code for code in PRECEDENCE if code in codes), KoloraError.code)
    raise problem
