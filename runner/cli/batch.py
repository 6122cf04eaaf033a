"""Many stories in one command: downloads once, then story after story, and one page over all."""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from runner.batch.process import Ended, run_process
from runner.batch.summary import Outcome, State, write_outcome, write_summary
from runner.batch.work import Task, find_tasks, share
from runner.cli.console import Teller, teller
from runner.cli.downloads import bring_one, is_offline
from runner.cli.stories import Given, cache_folder, read_given
from runner.errors import KoloraError, Stopped
from runner.execute import GRACE_SECONDS, Halt
from runner.hubs.store import Wanted
from runner.report.data import Service
from runner.service import find_service, find_shard
from runner.sources import wanted_from_hubs

URGENT = (75, 69, 71, 73, 70, 66, 78, 65, 2)
"""Which code stands for a batch that fails in several ways: first those that a later attempt may cure."""


@dataclass(frozen=True)
class _Read:
    """A task and its story, or what is wrong with that."""

    task: Task
    digest: str
    given: Given | None
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
@click.option("--offline", is_flag=True, help="Use the network for nothing [KOLORA_OFFLINE].")
@click.option("--device", type=click.Choice(["cuda", "cpu"]), help="Where to compute [a GPU where there is one].")
def batch(
    stories: tuple[str, ...], out: Path | None, overrides: tuple[str, ...], offline: bool, device: str | None
) -> None:
    """Run many STORIES: files, folders, globs, each into a folder of its own.

    On a batch service each task of an array takes its share. A story that fails does not stop the others; the exit
    code tells of it. What is done is kept, so the same command goes on where it stopped.
    """
    root = out or Path(os.environ.get("KOLORA_OUT", "out"))
    tasks, (index, count) = find_tasks(stories), find_shard(os.environ)
    reads = {task: _read(task, overrides) for task in tasks}
    mine = share([(reads[task].digest, task) for task in tasks], index=index, count=count)
    tell, halt = teller(sys.stdout), Halt(grace=GRACE_SECONDS + 2)
    tell.say(
        f"{len(mine)} of {len(tasks)} stories are to do" + (f", shard {index + 1} of {count}" if count > 1 else "")
    )
    options = [f"--set={each}" for each in overrides] + ([f"--device={device}"] if device else [])
    ended: dict[Task, Ended] = {}
    try:
        with halt.listening():
            absent = {} if is_offline(offline) else _bring([reads[task] for task in mine], tell, halt)
            for task in mine:
                halt.check()
                _note(task, root, "running")
                write_summary(root, tasks)
                ended[task] = _run(reads[task], absent, root, tell, halt, options)
            halt.check()
    finally:
        tell.close()
        write_summary(root, tasks)
    tell.say(f"the summary is {root / 'batch.html'}", out=str(root))
    _complain(ended)


def _read(task: Task, overrides: Sequence[str]) -> _Read:
    """Read a story; what is wrong with one is that one's failure."""
    try:
        given = read_given(task.story, overrides)
    except KoloraError as problem:
        return _Read(task, hashlib.sha256(task.story.encode()).hexdigest(), None, problem)
    return _Read(task, hashlib.sha256(given.source).hexdigest(), given, None)


def _bring(reads: Iterable[_Read], tell: Teller, halt: Halt) -> Mapping[Wanted, KoloraError]:
    """Download what the stories use, each thing once; returns what could not be had and why."""
    wanted = [each for read in reads if read.given for each in _wanted(read.given)]
    absent: dict[Wanted, KoloraError] = {}
    for each in dict.fromkeys(wanted):
        try:
            bring_one(each, tell, halt=halt)
        except Stopped:
            raise
        except KoloraError as problem:
            absent[each] = problem
    return absent


def _wanted(given: Given) -> tuple[Wanted, ...]:
    return wanted_from_hubs(given.story, base=given.base, cache=cache_folder())


def _run(
    read: _Read, absent: Mapping[Wanted, KoloraError], root: Path, tell: Teller, halt: Halt, options: Sequence[str]
) -> Ended:
    problem = read.problem
    if problem is None and read.given is not None and absent:
        problem = next((absent[each] for each in _wanted(read.given) if each in absent), None)
    began = time.monotonic()
    if problem is not None:
        ended = Ended(problem.code, problem.error, problem.hint)
    else:
        tell.say(f"{read.task.label} begins", story=read.task.label)
        ended = run_process(
            ["run", f"--out={root / read.task.label}", "--offline", *options, "--", read.task.story],
            halt=halt,
            told=lambda line: tell.say(**line | {"story": read.task.label}),
            complained=lambda line: click.echo(f"{read.task.label}: {line}", err=True),
        )
    seconds = round(time.monotonic() - began, 1)
    _note(read.task, root, _state(ended), ended, seconds)
    tell.say(
        f"{read.task.label} is {_state(ended)}" + (f": {ended.error}" if ended.error else ""),
        story=read.task.label,
        code=ended.code,
        seconds=seconds,
    )
    return ended


def _state(ended: Ended) -> State:
    return {0: "complete", Stopped.code: "stopped"}.get(ended.code, "failed")  # type: ignore[return-value]


def _note(task: Task, root: Path, state: State, ended: Ended | None = None, seconds: float | None = None) -> None:
    service = find_service(os.environ)
    write_outcome(
        root,
        Outcome(
            label=task.label,
            story=task.story,
            state=state,
            code=ended.code if ended else None,
            error=ended.error if ended else "",
            hint=ended.hint if ended else "",
            seconds=seconds,
            service=Service.model_validate(vars(service)) if service else None,
        ),
    )


def _complain(ended: Mapping[Task, Ended]) -> None:
    """Raise for the stories that failed: the code that stands for all of them, and each one's own."""
    failed = {task.label: each for task, each in ended.items() if each.code}
    if not failed:
        return
    codes = {each.code for each in failed.values()}
    told = ", ".join(f"{label} ({each.code}: {each.error})" for label, each in failed.items())
    problem = KoloraError(
        f"{len(failed)} of {len(ended)} stories failed: {told}", hint="the same command tries them again"
    )
    problem.code = next((code for code in URGENT if code in codes), KoloraError.code)
    raise problem
