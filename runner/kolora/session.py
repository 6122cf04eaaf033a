"""The one order of things: lock, inputs, plan, run, report, seal. Command line, batch, verify and library call it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from kolora.device import find_device
from kolora.environment import go_offline, set_environment
from kolora.errors import KoloraError, OutputUnwritable, StoryInvalid
from kolora.events import Noticed, OnEvent, ignore
from kolora.execution.downloads import download_for
from kolora.execution.locks import ActiveLock, find_lock
from kolora.execution.loop import check_before_download, decisions_of, execute, record_failure
from kolora.execution.signals import Halt
from kolora.files import is_file, real_path, writing
from kolora.inputs import ResolvedInputs, paths_of
from kolora.places import cache_folder, is_offline, out_folder
from kolora.planning import Decision, check_names, plan_steps
from kolora.redaction import scrubbing
from kolora.report import ReportData, read_report_data, write_report
from kolora.runfolder import layout
from kolora.runfolder.store import RunFolder
from kolora.spec import Story
from kolora.stories import LoadedStory, check_paths_of, find_story, from_values, inputs_of, load_text

Device = Literal["cuda", "cpu"]


@dataclass(frozen=True)
class Scores:
    """How the scenes were judged: aesthetics of 1 to 10, clip 100 x cosine; None where that was switched off.

    valid: whether the mean aesthetic score reaches the story's threshold.
    """

    aesthetics: tuple[float | None, ...]
    clip: tuple[float | None, ...]
    aesthetics_mean: float | None
    clip_mean: float | None
    valid: bool | None


@dataclass(frozen=True)
class DetailedPlan:
    """What a run would do, and what that was found out from; lock: the one that would hold."""

    decisions: tuple[Decision, ...]
    resolved: ResolvedInputs
    lock: ActiveLock


@dataclass(frozen=True)
class Run:
    """A run folder that a run has finished; worked: whether anything had to be done for it."""

    folder: Path
    worked: bool = True

    @cached_property
    def data(self) -> ReportData:
        """All that the report says."""
        return read_report_data(self.folder)

    @property
    def pictures(self) -> tuple[Path, ...]:
        """The scenes' pictures, in the order of the story."""
        return tuple(self.folder / scene.image for scene in self.data.scenes if scene.image)

    @property
    def scores(self) -> Scores:
        """How the scenes were judged."""
        verdict = self.data.verdict
        return Scores(
            aesthetics=tuple(scene.aesthetics for scene in self.data.scenes),
            clip=tuple(scene.clip for scene in self.data.scenes),
            aesthetics_mean=verdict.aesthetics_mean,
            clip_mean=verdict.clip_mean,
            valid={"valid": True, "invalid": False}.get(verdict.state),
        )

    @property
    def report(self) -> Path:
        """The report as a page."""
        return self.folder / layout.REPORT_PAGE

    @property
    def is_complete(self) -> bool:
        """Whether the folder is sealed: every step done, the report written and read back."""
        return RunFolder(self.folder).is_sealed()


@scrubbing()
def load_story(source: str | Path, *, overrides: Sequence[str] = ()) -> LoadedStory:
    """Load a story: a file, the name of a shipped one, or its text (which has more than one line).

    overrides: each ``key=value``, written over the story. Raises InputAbsent where there is none, StoryInvalid with
    every problem at once, SchemaTooNew.
    """
    if isinstance(source, str) and "\n" in source:
        return load_text(source, overrides)
    return find_story(str(source), overrides)


@scrubbing()
def plan(story: LoadedStory | Story, *, out: Path | str | None = None) -> tuple[Decision, ...]:
    """Plan a story against what its run folder holds: each step, whether it would run, and why.

    What is absent counts as absent and raises nothing: ``run`` would.
    """
    return plan_in_detail(story, out=out).decisions


def plan_in_detail(story: LoadedStory | Story, *, out: Path | str | None = None) -> DetailedPlan:
    """Plan as ``plan`` does, and return also the lock and the inputs that the plan stands on, for who shows them."""
    loaded = _as_loaded(story)
    root = _root(loaded, out)
    _refuse_others(loaded, root, by_default=out is None)
    active_lock = find_lock(loaded, out=root)
    resolved = inputs_of(loaded, out=root, strict=False, pins=active_lock.pins)
    return DetailedPlan(decisions_of(resolved, RunFolder(root)), resolved, active_lock)


@scrubbing()
def run(
    story: LoadedStory | Story,
    *,
    out: Path | str | None = None,
    device: Device | None = None,
    on_event: OnEvent = ignore,
    until: str | None = None,
    fresh: bool = False,
    forced: Sequence[str] = (),
    offline: bool = False,
    lock: Path | None = None,
    ignore_lock: bool = False,
    accept_environment: bool = False,
    handle_signals: bool = False,
    yes_large: bool = False,
    command: Sequence[str] = (),
) -> Run:
    """Do everything that a story says, keep what is done already, and return the finished run.

    out: the run folder. on_event: is called with every event. until: last step or stage to run; the folder is then
    not sealed. fresh: forget earlier results. forced: steps or stages that run in any case. lock: the file to hold
    to, else one beside the story. accept_environment: go on where only packages, device or image are not the
    lock's. handle_signals: stop on SIGTERM, SIGINT, SIGUSR1 and SIGUSR2 with what is done saved (main thread only).
    yes_large: run also what is estimated to take longer than KOLORA_MAX_HOURS, 24. command: for the report. Prints
    nothing. Raises KoloraError's subclasses; a run that failed has a report too.
    """
    set_environment()
    loaded = _as_loaded(story)
    root = _root(loaded, out)
    _refuse_others(loaded, root, by_default=out is None)
    former = _former_folder(loaded, root) if out is None else None
    if former is not None:
        on_event(
            Noticed(f"{former} itself holds a run of this story; kolora {loaded.name} -o {former} goes on with it")
        )
    active_lock = find_lock(loaded, out=root, chosen=lock, ignored=ignore_lock)
    folder = RunFolder(root, source=loaded.source_name)
    where = find_device(device)
    halt = Halt()

    def record(problem: KoloraError) -> None:
        if record_failure(loaded.story, folder, problem, source=loaded.text, command=command):
            write_report(root)

    with halt.listening() if handle_signals else contextlib.nullcontext():
        try:
            with halt.recording(record):
                resolved = _resolve(
                    loaded, root, active_lock, where, on_event, halt, until=until, offline=is_offline(offline)
                )
        except KoloraError as problem:
            halt.claim_end()
            with _second_to(problem):
                record(problem)
            raise
        for name in resolved.left_out:
            on_event(Noticed(f"dataset.path: {name} was written by kolora and is no part of the data set"))
        # Not recorded as a failed run: a lock that refuses has changed nothing, and the old report still holds.
        active_lock.refuse_drift(resolved, device=where, accept_environment=accept_environment)
        # Before anything loads torch, which reads the number of threads once.
        active_lock.limit_threads(device=where)
        worked = run_resolved(
            resolved,
            source=loaded.text,
            root=root,
            device=where,
            on_event=on_event,
            halt=halt,
            until=until,
            fresh=fresh,
            forced=forced,
            command=command,
            overrides=loaded.overrides,
            source_name=loaded.source_name,
            yes_large=yes_large,
        )
    return Run(root, worked)


def run_resolved(
    resolved: ResolvedInputs,
    *,
    source: str,
    root: Path,
    device: str,
    on_event: OnEvent,
    halt: Halt,
    until: str | None = None,
    fresh: bool = False,
    forced: Sequence[str] = (),
    command: Sequence[str] = (),
    overrides: Sequence[str] = (),
    yes_large: bool = False,
    report: bool = True,
    source_name: str = "",
) -> bool:
    """Bring a run folder to what a story with resolved inputs says: plan, run, report, seal; as ``run`` does.

    source: the story file's text; source_name: what the file is called. overrides: what was written over it.
    yes_large: as ``run`` has it. report: write one, and seal the folder where all steps were to run (no ``until``).
    Returns whether anything had to be done.
    """
    # Before the run folder is touched: a misspelt --until must not cost an old result.
    check_names(plan_steps(resolved.story, resolved.inputs), forced=forced, until=until)

    def report_stop(_stopped: KoloraError) -> None:
        if report and is_file(root / layout.RUN_RECORD):
            write_report(root)

    try:
        # A disk may fail before the first step and after the last as well.
        with writing(root), halt.recording(report_stop):
            worked = execute(
                resolved,
                source=source,
                folder=RunFolder(root, source=source_name),
                device=device,
                on_event=on_event,
                halt=halt,
                command=command,
                until=until,
                fresh=fresh,
                forced=forced,
                overrides=overrides,
                yes_large=yes_large,
            )
    except Exception as problem:
        if report and is_file(root / layout.RUN_RECORD):
            with _second_to(problem):
                write_report(root)
        raise
    if worked and report:
        write_and_seal(root, seal=until is None)
    # Also after the last step: who asked to stop is told that it happened, and the same command says what is left.
    halt.check()
    return worked


def write_and_seal(root: Path, *, seal: bool) -> tuple[Path, ...]:
    """Write the report of a run folder from its records; seal: write the manifest, which promises that all is there."""
    with writing(root):
        paths = write_report(root)
        if seal:
            RunFolder(root).seal()
    return paths


def _resolve(
    loaded: LoadedStory,
    root: Path,
    active_lock: ActiveLock,
    device: str,
    on_event: OnEvent,
    halt: Halt,
    *,
    until: str | None,
    offline: bool,
) -> ResolvedInputs:
    """Find what a story stands on, downloading what is not here, unless the machine could not use it."""
    if offline:
        go_offline()
    # What can be refused without the network is refused before gigabytes are downloaded.
    check_paths_of(loaded, out=root)
    check_before_download(loaded.story, cache=cache_folder(), device=device, until=until)
    if not offline:
        download_for(loaded, on_event=on_event, halt=halt, pins=active_lock.pins)
    return inputs_of(loaded, out=root, pins=active_lock.pins)


def _as_loaded(story: LoadedStory | Story) -> LoadedStory:
    return from_values(story) if isinstance(story, Story) else story


def _root(loaded: LoadedStory, out: Path | str | None) -> Path:
    root = out_folder(loaded.story.name, None if out is None else Path(out))
    refuse_link(root, by_default=out is None)
    return root


def refuse_link(root: Path, *, by_default: bool) -> None:
    """Raise OutputUnwritable where the folder that nobody named is a link.

    A stranger's repository may bring an ``out`` of its own; where a link in it leads is not theirs to choose.
    """
    if by_default and os.path.islink(root):  # noqa: PTH114 - Path raises for names that no system takes
        real = real_path(root)
        raise OutputUnwritable(f"{root} is a link to {real}", hint=f"if that is meant: -o {real}")


def _refuse_others(loaded: LoadedStory, root: Path, *, by_default: bool) -> None:
    """Refuse a run folder that is not this story's, and data that the run would write over; before any work."""
    folder = RunFolder(root)
    folder.refuse_others(loaded.story.name)
    mark = folder.mark
    # Stories without a name share one: what tells them apart is the file.
    others = mark is not None and loaded.source_name and mark.source not in ("", loaded.source_name)
    if by_default and mark is not None and others and not loaded.has_name:
        own = Path(loaded.source_name).stem
        raise OutputUnwritable(
            f"{root} holds the run of {mark.source}, and neither that nor {loaded.source_name} has a name of its own",
            hint=f"write a name into the story, or choose another folder: -o {root.with_name(own)}",
        )
    for key, path in paths_of(loaded.story).items():
        place, real = real_path(loaded.base / path), real_path(root)
        if place.is_relative_to(real):
            inside = place.relative_to(real).parts[:1]
            if inside and inside[0] in layout.PUBLIC:
                raise StoryInvalid(
                    f"{key} leads to {place}, and the run writes its own {inside[0]} there",
                    hint="copy it to another folder, or choose another run folder with -o",
                )


def _former_folder(loaded: LoadedStory, root: Path) -> Path | None:
    """Find a run of this story in the folder of run folders itself, where KOLORA_OUT led it in kolora 0.1."""
    mark = RunFolder(root.parent).mark
    is_new = RunFolder(root).mark is None
    return root.parent if is_new and mark is not None and (mark.kind, mark.name) == ("run", loaded.story.name) else None


@contextlib.contextmanager
def _second_to(problem: Exception) -> Iterator[None]:
    """Report a run that failed; if that fails too, the first problem is the one to raise, with a note of the second."""
    try:
        yield
    except Exception as second:
        # A full disk is told once.
        if str(second) != str(problem):
            problem.add_note(f"the report could not be written either: {second}")
