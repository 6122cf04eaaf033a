"""The loop of a run: what is done is kept and said why, the rest runs, is recorded and published."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kolora.device import gpu_memory
from kolora.errors import DeviceUnusable, KoloraError, OutputUnwritable, Stopped
from kolora.events import Noticed, OnEvent, Planned, StepBegan, StepEnded, StepProgressed
from kolora.execution.duration import refuse_large
from kolora.execution.memory import first_line, is_out_of_memory, out_of_memory, run_with_retry
from kolora.execution.progress import Progress
from kolora.execution.provenance import image_digest, now, numerics, packages, peaks, reset_peaks
from kolora.execution.signals import Halt
from kolora.files import as_unwritable
from kolora.hubs.catalogue import KOLORS, find_in_cache
from kolora.inputs import ResolvedInputs, refuse_changed
from kolora.memory.plan import AMPLE, MemoryPlan
from kolora.memory.story import plan_story
from kolora.planning import Decision, cut_after, decide, plan_steps
from kolora.reads import parse_json
from kolora.runfolder import layout
from kolora.runfolder.lock import lock_of, lock_text
from kolora.runfolder.records import RECORD_FORMAT, CheckpointName, RunRecord, StepRecord, files_in
from kolora.runfolder.store import RunFolder
from kolora.spec import Story
from kolora.spec.canonical import canonical
from kolora.stages import STAGES
from kolora.stages.contract import Job, Key, Step, Tick, step_name
from kolora.version import __version__

if TYPE_CHECKING:
    from kolora.models.checkpoint import Checkpoint

_SHOWN_NAMES = 3
_LARGE_CHECKPOINT = 4 * 2**30
"""Bytes of a checkpoint that nobody trains or renders on a CPU by intention."""


def decisions_of(
    resolved: ResolvedInputs, folder: RunFolder, *, forced: Sequence[str] = (), until: str | None = None
) -> tuple[Decision, ...]:
    """Plan a story against what its run folder already holds."""
    steps = plan_steps(resolved.story, resolved.inputs)
    records = {step.name: record for step in steps if (record := folder.last_record(step.name))}
    outdated = {step.name: version for step in steps if (version := folder.outdated_version(step.name))}
    decisions = decide(
        steps,
        finished_digests={step.digest for step in steps if folder.finished_record(step.name, step.digest)},
        records=records,
        resumable={step.name for step in steps if folder.saved_state(step.name, step.digest)},
        forced=forced,
        outdated=outdated,
    )
    return cut_after(decisions, until)


def check_before_download(story: Story, *, cache: Path, device: str, until: str | None) -> None:
    """Refuse to download Kolors to a machine that could not run it; raises DeviceUnusable."""
    is_absent = story.model.checkpoint == "kolors" and find_in_cache(KOLORS, cache=cache) is None
    if is_absent and device == "cpu" and until != "fetch":
        raise _no_gpu("Kolors")


def execute(
    resolved: ResolvedInputs,
    *,
    source: str,
    folder: RunFolder,
    device: str,
    on_event: OnEvent,
    halt: Halt,
    command: Sequence[str] = (),
    until: str | None = None,
    fresh: bool = False,
    forced: Sequence[str] = (),
    overrides: Sequence[str] = (),
    yes_large: bool = False,
) -> bool:
    """Bring a run folder to what the story says; returns whether anything had to be done.

    source: the story file's text, kept as given. command: the command line, for the report. device: "cuda" or
    "cpu". overrides: what ``--set`` changed of the source, for the lock. until: last step or stage to run. fresh:
    forget all earlier results. yes_large: also where it is estimated to take longer than the owner allows. forced:
    steps or stages to run in any case. Whatever happens, ``records/run.json`` then says how far the run came; the
    report is made from it. Raises KoloraError's subclasses.
    """
    progress = Progress(folder)
    with folder.hold(resolved.original_story.name):
        decisions = decisions_of(resolved, folder, forced=forced, until=until)
        if not yes_large:
            refuse_large(decisions, resolved.checkpoint, device=device, fresh=fresh)
        # Only while the folder is held: another run may be at work in it.
        if fresh:
            folder.remove_work()
            decisions = decisions_of(resolved, folder, forced=forced, until=until)
        progress.decisions = decisions
        folder.refuse_names([decision.step for decision in decisions])
        on_event(Planned(decisions))
        nothing_to_run = not any(decision.runs for decision in decisions)
        if folder.is_sealed() and nothing_to_run and _is_report_current(folder, resolved):
            changed = folder.changed()
            if not changed:
                return False
            on_event(Noticed(f"{_join_names(changed)} changed after the run, and {_are(changed)} made anew"))
        # From here on the folder changes: whoever finds it after a kill must not take it for complete.
        folder.unseal()
        failure: KoloraError | None = None

        def finish(ending: KoloraError | None) -> None:
            progress.finish(
                resolved.original_story,
                ending,
                checkpoint=CheckpointName(name=resolved.checkpoint_name, digest=resolved.inputs.checkpoint),
                is_partial=until is not None,
                device=device,
                command=command,
            )

        try:
            with halt.recording(finish):
                folder.write_text(layout.STORY, source)
                # Here and not earlier, so that a refusal too is recorded and gets its report.
                _check_device(resolved, device, decisions)
                _Loop(resolved, folder, device, on_event, halt, progress).run()
                # A run that stops early (--until) has not visited the later steps, whose results may still be good.
                if until is None:
                    folder.remove_leftovers([decision.step for decision in decisions])
                    _write_lock(resolved, folder, decisions, overrides)
        except KoloraError as problem:
            failure = problem
            raise
        except (KeyboardInterrupt, SystemExit):
            # In a notebook, or a program of the user's own that leaves from
            # on_event: without this the run would be recorded as complete.
            failure = Stopped("interrupted; everything finished so far is saved", hint="run it again: it continues")
            raise
        except Exception as problem:
            # The record and the report name the failure; a bug of ours is raised as it is, with its traceback.
            failure = _to_kolora_error(problem, folder.root)
            if failure is None:
                failure = KoloraError(f"{type(problem).__name__}: {problem}", hint="kolora run --debug tells more")
                raise
            raise failure from problem
        finally:
            halt.claim_end()
            finish(failure)
    return True


def record_failure(
    story: Story, folder: RunFolder, failure: KoloraError, *, source: str, command: Sequence[str] = ()
) -> bool:
    """Record that a run ended before it began, for want of a download or an input, so that it too can be reported.

    Leaves a complete folder alone, as what it says is still true; returns whether there is something to report.
    """
    with folder.hold(story.name):
        if folder.is_sealed():
            return False
        folder.write_text(layout.STORY, source)
        Progress(folder).finish(
            story,
            failure,
            checkpoint=CheckpointName(name=Path(story.model.checkpoint).name),
            is_partial=False,
            device="cpu",
            command=command,
        )
    return True


class _Loop:
    """One run's steps, in order, with the checkpoint that they share."""

    def __init__(
        self,
        resolved: ResolvedInputs,
        folder: RunFolder,
        device: str,
        on_event: OnEvent,
        halt: Halt,
        progress: Progress,
    ) -> None:
        self._resolved = resolved
        self._folder = folder
        self._device = device
        self._on_event = on_event
        self._halt = halt
        self._progress = progress
        self._loaded_checkpoint: Checkpoint | None = None
        self._digests: dict[Key, str] = {each.step.key: each.step.digest for each in progress.decisions}

    def run(self) -> None:
        """Keep what is done, do the rest."""
        for decision in self._progress.decisions:
            if decision.runs:
                self._run_step(decision)
            else:
                self._keep_step(decision.step)

    def _keep_step(self, step: Step) -> None:
        # What was found whole when the run was planned; its files are digested again while they are published.
        record = self._finished_record(step.key)
        changed = self._folder.publish(record)
        if changed:
            self._on_event(Noticed(f"{_join_names(changed)} had been changed, and {_are(changed)} put right", step))
        self._progress.mark_kept(step, record.seconds)

    def _finished_record(self, key: Key) -> StepRecord:
        """Read the record of a step that is finished; raises OutputUnwritable where its files are others by now."""
        record = self._folder.finished_record(step_name(*key), self._digests[key])
        if record is None:
            raise OutputUnwritable(
                f"the result of {step_name(*key)} in {self._folder.work} changed while the run was at work",
                hint="run the same command again: it makes it anew",
            )
        return record

    def _check_finished(self, key: Key) -> None:
        self._finished_record(key)

    def _run_step(self, decision: Decision) -> None:
        step = decision.step
        # Between two steps nothing can be lost, so a stop is obeyed before a new one begins.
        self._halt.check()
        self._progress.mark_started(step)
        self._on_event(StepBegan(step, decision.reason))

        def tick(done: int, total: int) -> None:
            self._progress.beat(step, done, total)
            self._on_event(StepProgressed(step, done, total))
            # Last, as it raises: status.json and listeners have the step's newest state by then.
            self._halt.check()

        record = run_with_retry(
            lambda: self._execute_step(step, tick),
            step,
            lambda: self._loaded_checkpoint,
            lambda message: self._on_event(Noticed(message, step)),
        )
        self._folder.publish(record)
        self._progress.mark_finished(step, record.seconds)
        self._on_event(StepEnded(step, record.seconds))

    def _execute_step(self, step: Step, tick: Tick) -> StepRecord:
        """Run a step in an empty folder, and make that the finished one with its record."""
        partial, state = self._folder.begin(step.name, step.digest)
        started, clock = now(), time.monotonic()
        reset_peaks()
        digests = {step_name(*key): self._digests[key] for key in step.needs}
        used: Checkpoint | None = None

        def checkpoint() -> Checkpoint:
            nonlocal used
            used = self._checkpoint()
            return used

        job = Job(
            folder=partial,
            state=state,
            inputs={key: self._folder.folder(step_name(*key), self._digests[key]) for key in step.needs},
            log=self._folder.log(step.name),
            checkpoint=checkpoint,
            tick=tick,
            digest=step.digest,
            notice=lambda message: self._on_event(Noticed(message, step)),
            check=self._check_finished,
        )
        try:
            facts = STAGES[step.stage].run(step.config, job)
        except KoloraError:
            # Its ledger says which operator took too many pictures; no other stage fails with something to show.
            if step.stage == "filter":
                self._folder.publish_partial(step.name, step.stage, step.digest)
            raise
        # What a step read must be what its digest covers, and files can be changed while they are read.
        refuse_changed(self._resolved, of_checkpoint=used is not None, stage=step.stage)
        record = StepRecord(
            format=RECORD_FORMAT,
            kolora=__version__,
            step=step.name,
            stage=step.stage,
            scene=step.scene,
            version=STAGES[step.stage].VERSION,
            digest=step.digest,
            config=canonical(step.config),
            inputs=digests,
            facts=facts.model_dump(mode="json", by_alias=True),
            files=files_in(partial),
            started=started,
            seconds=round(time.monotonic() - clock, 3),
            peak_memory_bytes=peaks(),
            # Of what this step used: that another one opened the checkpoint before it depends on where a run went on.
            numerics=numerics(self._device, used, step.stage),
        ).with_digest()
        self._folder.finish(record)
        return record

    def _checkpoint(self) -> Checkpoint:
        """Open the checkpoint on first use; this is what loads torch."""
        if self._loaded_checkpoint is None:
            from kolora.models.checkpoint import Checkpoint

            memory = _memory_plan(self._resolved, self._device)
            dtype = self._resolved.story.model.dtype
            self._loaded_checkpoint = Checkpoint(
                self._resolved.checkpoint, device=self._device, dtype=dtype, memory=memory
            )
        return self._loaded_checkpoint


def _join_names(names: Sequence[str]) -> str:
    """Name a few files, and how many there are besides."""
    more = len(names) - _SHOWN_NAMES
    return ", ".join(names[:_SHOWN_NAMES]) + (f" and {more} more" if more > 0 else "")


def _are(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 else "are"


def _memory_plan(resolved: ResolvedInputs, device: str) -> MemoryPlan:
    """Plan for the GPU there is; a CPU's memory is the user's own business."""
    return plan_story(resolved.story, resolved.checkpoint, gpu_bytes=gpu_memory()) if device == "cuda" else AMPLE


def _is_report_current(folder: RunFolder, resolved: ResolvedInputs) -> bool:
    """Tell whether the last run's report is of this very story, titles and all."""
    try:
        run = RunRecord.model_validate(parse_json(folder.read(layout.RUN_RECORD)))
    except (OSError, ValueError, OverflowError):
        return False
    return run.story == resolved.original_story.model_dump(mode="json") and run.status == "complete"


def _check_device(resolved: ResolvedInputs, device: str, decisions: Sequence[Decision]) -> None:
    """Refuse to train or render a full-size checkpoint on a CPU: it would take days and the machine's memory."""
    if device != "cpu" or not any(decision.runs and decision.step.stage != "fetch" for decision in decisions):
        return
    size = sum(path.stat().st_size for path in (resolved.checkpoint / "unet").glob("*") if path.is_file())
    if size > _LARGE_CHECKPOINT:
        raise _no_gpu(resolved.checkpoint_name)


def _no_gpu(checkpoint: str) -> DeviceUnusable:
    return DeviceUnusable(
        f"{checkpoint} needs an NVIDIA GPU, and there is none here",
        hint="docker run --gpus all ..., or try kolora quickstart.yaml, which needs no GPU",
    )


def _to_kolora_error(problem: Exception, root: Path) -> KoloraError | None:
    """Return what an exception of a library means for the user; None for our own bugs."""
    if isinstance(problem, OSError):
        return as_unwritable(problem, root)
    if isinstance(problem, MemoryError) or is_out_of_memory(problem):
        return out_of_memory(first_line(problem), None)
    return None


def _write_lock(
    resolved: ResolvedInputs, folder: RunFolder, decisions: Sequence[Decision], overrides: Sequence[str]
) -> None:
    """Write what the story's wishes came to: identities of its inputs, kept pictures, versions, results."""
    records = {record.step: record for each in decisions if (record := folder.last_record(each.step.name))}
    filter_record = records.get("filter")
    lock = lock_of(
        resolved,
        records,
        filter_folder=None if filter_record is None else folder.folder("filter", filter_record.digest),
        overrides=overrides,
        packages=packages(),
        image=image_digest(),
    )
    folder.write_text(layout.LOCK, lock_text(lock))
