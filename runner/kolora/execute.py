"""The loop of a run: what is done is kept and said why, the rest runs, is recorded and published."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import importlib.metadata
import json
import os
import platform
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Protocol

from kolora.artifacts import Record, RunFolder, as_unwritable, files_in, write_json, write_text
from kolora.device import cpu_name, device_class, gpu_count, gpu_memory
from kolora.errors import DeviceUnusable, KoloraError, Stopped
from kolora.hubs.catalogue import KOLORS, find_in_cache
from kolora.inputs import ResolvedInputs
from kolora.lock import lock_of, lock_text
from kolora.memory.plan import AMPLE, MemoryPlan
from kolora.memory.story import plan_story
from kolora.plan import STAGES, Decision, Step, decide, plan_steps
from kolora.service import find_service
from kolora.spec import Story
from kolora.stages import Job, Tick, open_checkpoint
from kolora.version import __version__

if TYPE_CHECKING:
    from kolora.models.checkpoint import Checkpoint

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)
GRACE_SECONDS = 6.0
"""After a signal, a step that does not stop by itself is left: what it saved before is enough to go on from.

Ten are promised; on a busy machine the engine takes up to three of them to hand over the signal and to clear up.
"""
HEARTBEAT_SECONDS = 1.0
LARGE_CHECKPOINT = 4 * 2**30
"""Bytes of a checkpoint that nobody trains or renders on a CPU by intention."""
LARGE = {
    "train": "lora.resolution or lora.rank",
    "encode": "lora.resolution",
    "render": "render.width and height",
    "": "lora.resolution or render.width and height",
}
"""Keys that a stage's memory grows with, besides those that the plan has already split."""
PACKAGES = (
    "torch",
    "triton",
    "diffsynth",
    "transformers",
    "peft",
    "lightning",
    "py-data-juicer",
    "simple-aesthetics-predictor",
    "safetensors",
    "pillow",
    "numpy",
)


class Listener(Protocol):
    """Who is told how the run goes."""

    def planned(self, decisions: Sequence[Decision]) -> None:
        """Hear what will be kept and what will run, before anything does."""

    def began(self, step: Step, reason: str) -> None:
        """Hear that a step begins, and why it is not kept."""

    def progressed(self, step: Step, done: int, total: int) -> None:
        """Hear how far a step is."""

    def noticed(self, step: Step, message: str) -> None:
        """Hear of something that is no error, but that the user should know."""

    def ended(self, step: Step, seconds: float) -> None:
        """Hear that a step is finished and published."""


class Halt:
    """Whether the run was asked to stop. The handlers only set a flag; a second signal leaves at once."""

    def __init__(self, *, grace: float = GRACE_SECONDS) -> None:
        self.requested = False
        self._grace = grace
        self._timer: threading.Timer | None = None

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Listen to the stopping signals while the block runs."""
        before = {number: signal.signal(number, self._heard) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            if self._timer is not None:
                self._timer.cancel()

    def check(self) -> None:
        """Raise Stopped when a stop was asked for."""
        if self.requested:
            raise Stopped(
                "stopped on request; everything finished so far is saved",
                hint="run the same command again: it goes on where it stopped",
            )

    def _heard(self, _number: int, _frame: FrameType | None) -> None:
        if self.requested:
            os._exit(Stopped.code)
        self.requested = True
        self._timer = threading.Timer(self._grace, os._exit, (Stopped.code,))
        self._timer.daemon = True
        self._timer.start()


@dataclass
class _Progress:
    """Where the run is, for status.json and the records."""

    actions: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    beat: float = 0.0
    began: float = 0.0


def decisions_of(found: ResolvedInputs, folder: RunFolder, *, forced: Sequence[str] = ()) -> tuple[Decision, ...]:
    """Plan a story against what its run folder already holds."""
    steps = plan_steps(found.story, found.inputs)
    known = {step.name: record for step in steps if (record := folder.last_record(step.name))}
    return decide(
        steps,
        finished={step.digest for step in steps if folder.finished(step.name, step.digest)},
        known=known,
        resumable={step.name for step in steps if folder.saved_state(step.name, step.digest)},
        forced=forced,
    )


def check_before_download(story: Story, *, cache: Path, device: str, until: str | None) -> None:
    """Refuse to download Kolors to a machine that could not run it; raises DeviceUnusable."""
    is_absent = story.model.checkpoint == "kolors" and find_in_cache(KOLORS, cache=cache) is None
    if is_absent and device == "cpu" and until != "fetch":
        raise _no_gpu("Kolors")


def run_story(
    found: ResolvedInputs,
    *,
    source: str,
    folder: RunFolder,
    device: str,
    listener: Listener,
    command: Sequence[str] = (),
    until: str | None = None,
    fresh: bool = False,
    forced: Sequence[str] = (),
    overrides: Sequence[str] = (),
) -> bool:
    """Bring a run folder to what the story says; returns whether anything had to be done.

    source: the story file's text, kept as given. command: the command line, for the report. device: "cuda" or "cpu".
    overrides: what ``--set`` changed of the source, for the lock.
    until: last stage to run. fresh: forget all earlier results. forced: steps or stages to run in any case. Whatever
    happens, ``records/run.json`` then says how far the run came; the report is made from it. Raises KoloraError
    subclasses.
    """
    halt, progress, started = Halt(), _Progress(), time.time()
    with folder.held(), halt.listening():
        if fresh:
            shutil.rmtree(folder.work)
            folder.work.mkdir()
        decisions = _until(decisions_of(found, folder, forced=forced), until)
        listener.planned(decisions)
        if folder.is_sealed() and not any(decision.runs for decision in decisions) and _tells(folder, found):
            return False
        folder.open_up()
        failure: KoloraError | None = None
        try:
            write_text(folder.root / "story.yaml", source)
            _check_device(found, device, decisions)
            _run_all(decisions, found, folder, device, listener, halt, progress)
            if until is None:
                folder.tidy({decision.step.name: decision.step.digest for decision in decisions})
                _write_lock(found, folder, decisions, overrides)
        except KoloraError as problem:
            failure = problem
            raise
        except Exception as problem:
            failure = _translated(problem, folder.root)
            if failure is None:
                failure = KoloraError(f"{type(problem).__name__}: {problem}", hint="kolora run --debug tells more")
                raise
            raise failure from problem
        finally:
            _write_run(
                found.given,
                folder,
                decisions,
                progress,
                failure,
                checkpoint={"name": found.checkpoint_name, "digest": found.inputs.checkpoint},
                started=started,
                until=until,
                device=device,
                command=command,
            )
    return True


def record_unbegun(
    story: Story, folder: RunFolder, failure: KoloraError, *, source: str, command: Sequence[str] = ()
) -> bool:
    """Record that a run ended before it began, for want of a download or an input, so that it too can be reported.

    Leaves a complete folder alone, as what it says is still true; returns whether there is something to report.
    """
    with folder.held():
        if folder.is_sealed():
            return False
        write_text(folder.root / "story.yaml", source)
        _write_run(
            story,
            folder,
            (),
            _Progress(),
            failure,
            checkpoint={"name": Path(story.model.checkpoint).name, "digest": None},
            started=time.time(),
            until=None,
            device="cpu",
            command=command,
        )
    return True


def _run_all(
    decisions: Sequence[Decision],
    found: ResolvedInputs,
    folder: RunFolder,
    device: str,
    listener: Listener,
    halt: Halt,
    progress: _Progress,
) -> None:
    opened: list[Checkpoint] = []

    def checkpoint() -> Checkpoint:
        if not opened:
            memory = _memory_plan(found, device)
            opened.append(
                open_checkpoint(found.checkpoint, device=device, dtype=found.story.model.dtype, memory=memory)
            )
        return opened[0]

    digests = {decision.step.name: decision.step.digest for decision in decisions}
    for decision in decisions:
        step = decision.step
        if not decision.runs:
            record = folder.finished(step.name, step.digest)
            assert record is not None
            folder.publish(record)
            progress.actions[step.name], progress.seconds[step.name] = "kept", record.seconds
            continue
        halt.check()
        progress.actions[step.name], progress.began = "failed", time.monotonic()
        listener.began(step, decision.reason)

        def tick(done: int, total: int, step: Step = step) -> None:
            _beat(folder, decisions, progress, step, done, total)
            listener.progressed(step, done, total)
            halt.check()

        def work(step: Step = step, tick: Tick = tick) -> Record:
            return _run_step(step, folder, digests, checkpoint, tick, numerics=lambda: _numerics(device, opened, step))

        record = _run_frugally(work, step, opened, listener)
        folder.publish(record)
        progress.actions[step.name], progress.seconds[step.name] = "ran", record.seconds
        listener.ended(step, record.seconds)


def _memory_plan(found: ResolvedInputs, device: str) -> MemoryPlan:
    """Plan for the GPU there is; a CPU's memory is the user's own business."""
    return plan_story(found.story, found.checkpoint, there=gpu_memory()) if device == "cuda" else AMPLE


def _run_frugally(work: Callable[[], Record], step: Step, opened: Sequence[Checkpoint], listener: Listener) -> Record:
    """Run a step; if the GPU's memory does not hold it, once more by the next more frugal option, if there is one."""
    try:
        return work()
    except Exception as problem:
        if not _is_out_of_memory(problem) or not opened:
            raise
        told = _first_line(problem)
    # Only here, where the exception no longer holds what the failed attempt had made.
    if not opened[0].step_down(step.stage):
        raise _out_of_memory(told, step)
    options = "; ".join(f"{work}: {option}" for work, option in opened[0].memory.options_of(step.stage).items())
    listener.noticed(step, f"{step.name} is out of memory, and is tried once more: {options}")
    try:
        return work()
    except Exception as problem:
        if not _is_out_of_memory(problem):
            raise
        raise _out_of_memory(_first_line(problem), step) from problem


def _run_step(
    step: Step,
    folder: RunFolder,
    digests: dict[str, str],
    checkpoint: Callable[[], Checkpoint],
    tick: Tick,
    *,
    numerics: Callable[[], dict[str, Any]],
) -> Record:
    partial, state = folder.begin(step.name, step.digest)
    started, clock = _now(), time.monotonic()
    _reset_peak()
    job = Job(
        folder=partial,
        state=state,
        inputs={name: folder.folder(name, digests[name]) for name in step.inputs},
        log=folder.logs / f"{step.name}.log",
        checkpoint=checkpoint,
        tick=tick,
    )
    try:
        facts = STAGES[step.stage].run(step.part, job)
    except KoloraError:
        if step.stage == "filter":
            folder.salvage(step.name, step.digest)
        raise
    record = Record(
        kolora=__version__,
        step=step.name,
        stage=step.stage,
        version=step.version,
        digest=step.digest,
        part=step.part.model_dump(mode="json"),
        inputs={name: digests[name] for name in step.inputs},
        facts=facts,
        files=files_in(partial),
        started=started,
        seconds=round(time.monotonic() - clock, 3),
        peak_memory_bytes=_peaks(),
        numerics=numerics(),
    )
    folder.finish(record)
    return record


def _tells(folder: RunFolder, found: ResolvedInputs) -> bool:
    """Say whether the last run's report is of this very story, titles and all."""
    try:
        run = json.loads((folder.records / "run.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return False
    return bool(run.get("story") == found.given.model_dump(mode="json") and run.get("status") == "complete")


def _until(decisions: tuple[Decision, ...], until: str | None) -> tuple[Decision, ...]:
    if until is None:
        return decisions
    order = list(STAGES)
    return tuple(each for each in decisions if order.index(each.step.stage) <= order.index(until))


def _check_device(found: ResolvedInputs, device: str, decisions: Sequence[Decision]) -> None:
    """Refuse to train or render a full-size checkpoint on a CPU: it would take days and the machine's memory."""
    if device != "cpu" or not any(decision.runs and decision.step.stage != "fetch" for decision in decisions):
        return
    size = sum(path.stat().st_size for path in (found.checkpoint / "unet").glob("*") if path.is_file())
    if size > LARGE_CHECKPOINT:
        raise _no_gpu(found.checkpoint_name)


def _no_gpu(checkpoint: str) -> DeviceUnusable:
    return DeviceUnusable(
        f"{checkpoint} needs an NVIDIA GPU, and there is none here",
        hint="docker run --gpus all ..., or try kolora quickstart.yaml, which needs no GPU",
    )


def _translated(problem: Exception, root: Path) -> KoloraError | None:
    """Say what an exception of a library means for the user; None for our own bugs."""
    if isinstance(problem, OSError):
        return as_unwritable(problem, root)
    if isinstance(problem, MemoryError) or _is_out_of_memory(problem):
        return _out_of_memory(_first_line(problem), None)
    return None


def _is_out_of_memory(problem: Exception) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(problem, torch.cuda.OutOfMemoryError)


def _first_line(problem: Exception) -> str:
    return str(problem).splitlines()[0] if str(problem) else "no more can be had"


def _out_of_memory(told: str, step: Step | None) -> DeviceUnusable:
    """Say that the memory does not do, and which key to change; step: the one at work, where that is known."""
    stage = step.stage if step else ""
    return DeviceUnusable(
        f"{step.name if step else 'the run'} is out of memory: {told}",
        hint=f"lower {LARGE.get(stage, LARGE[''])}; raise model.memory, if it is set; or free the GPU of other work",
    )


def _beat(
    folder: RunFolder, decisions: Sequence[Decision], progress: _Progress, step: Step, done: int, total: int
) -> None:
    now = time.monotonic()
    if now - progress.beat < HEARTBEAT_SECONDS and done < total:
        return
    progress.beat = now
    elapsed = now - progress.began
    running = [decision.step.name for decision in decisions if decision.runs]
    write_json(
        folder.root / "status.json",
        {
            "time": _now(),
            "stage": step.stage,
            "step": step.name,
            "done": done,
            "total": total,
            "eta_seconds": round(elapsed * (total - done) / done, 1) if done else None,
            "steps_done": sum(action == "ran" for action in progress.actions.values()),
            "steps_total": len(running),
            "pid": os.getpid(),
        },
    )


def _write_run(
    story: Story,
    folder: RunFolder,
    decisions: Sequence[Decision],
    progress: _Progress,
    failure: KoloraError | None,
    *,
    checkpoint: dict[str, str | None],
    started: float,
    until: str | None,
    device: str,
    command: Sequence[str],
) -> None:
    failed = next((name for name, action in progress.actions.items() if action == "failed"), None)
    status = "complete" if until is None else "partial"
    if failure is not None:
        status = "stopped" if isinstance(failure, Stopped) else "failed"
        if status == "stopped" and failed is not None:
            progress.actions[failed] = "pending"
    run = {
        "kolora": __version__,
        "name": story.name,
        "title": story.title,
        "language": story.report.language or story.language,
        "status": status,
        "started": datetime.datetime.fromtimestamp(started, datetime.UTC).isoformat(timespec="seconds"),
        "seconds": round(time.time() - started, 1),
        "checkpoint": checkpoint,
        "command": list(command),
        "story": story.model_dump(mode="json"),
        "scenes": [scene.model_dump(mode="json") for scene in story.resolved_scenes()],
        "error": failure
        and {"code": failure.code, "error": failure.error, "hint": failure.hint, "step": failed}
        | {"facts": getattr(failure, "facts", None)},
        "steps": [
            {
                "step": decision.step.name,
                "stage": decision.step.stage,
                "digest": decision.step.digest,
                "action": progress.actions.get(decision.step.name, "pending"),
                "reason": decision.reason,
                "why": decision.why,
                "seconds": progress.seconds.get(decision.step.name),
            }
            for decision in decisions
        ],
        "environment": _environment(device),
    }
    # A full disk must not hide the error that led here.
    with contextlib.suppress(OSError) if failure is not None else contextlib.nullcontext():
        write_json(folder.records / "run.json", run)
        write_json(folder.root / "status.json", {"time": _now(), "stage": status, "pid": os.getpid()})


def _write_lock(
    found: ResolvedInputs, folder: RunFolder, decisions: Sequence[Decision], overrides: Sequence[str]
) -> None:
    """Write what the story's wishes came to: identities of its sources, kept pictures, versions, results."""
    records = {record.step: record for each in decisions if (record := folder.last_record(each.step.name))}
    sifted = records.get("filter")
    lock = lock_of(
        found,
        records,
        sifted=None if sifted is None else folder.folder("filter", sifted.digest),
        overrides=overrides,
        packages=packages(),
        image=image_digest(),
    )
    write_text(folder.root / "story.lock.yaml", lock_text(lock))


def _environment(device: str) -> dict[str, Any]:
    torch = sys.modules.get("torch")
    gpu = torch.cuda.get_device_name() if torch and device == "cuda" and torch.cuda.is_available() else None
    service = find_service(os.environ)
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "gpu": gpu,
        "gpus": gpu_count(),
        "service": service and dataclasses.asdict(service),
        "image": image_digest(),
        "packages": packages(),
    }


def image_digest() -> str | None:
    """Name the image that this runs in; None outside of one.

    An image cannot hold its own digest: whoever starts it may tell it, else it is named by what it was built from.
    """
    return os.environ.get("KOLORA_IMAGE_DIGEST") or os.environ.get("KOLORA_IMAGE_SOURCE") or None


def packages() -> dict[str, str]:
    """Give the versions of what results depend on, as far as it is installed here."""
    versions = {}
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions


def _numerics(device: str, opened: Sequence[Checkpoint], step: Step) -> dict[str, Any]:
    """Say what arithmetic was in force; a step that loads no checkpoint computes nothing that could differ."""
    torch = sys.modules.get("torch")
    if torch is None or not opened:
        return {"device": "cpu", "torch": None}
    options = opened[0].memory.options_of(step.stage).items()
    return {
        "device": device,
        "device_class": device_class(device),
        "device_name": torch.cuda.get_device_name() if device == "cuda" else cpu_name(),
        "dtype": str(opened[0].dtype).removeprefix("torch."),
        "torch": torch.__version__,
        "kernels": opened[0].kernels,
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "threads": torch.get_num_threads(),
    } | {f"memory, {work}": str(option) for work, option in options if option.is_frugal}


def _reset_peak() -> None:
    # Writing 5 makes Linux count the process's peak anew (proc(5)); some sandboxes forbid it.
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    torch = sys.modules.get("torch")
    if torch and torch.cuda.is_initialized():
        torch.cuda.reset_peak_memory_stats()


def _peaks() -> dict[str, int | None]:
    """Give the peak memory of this process and on the GPU, in bytes, since the step began."""
    torch = sys.modules.get("torch")
    gpu = torch.cuda.max_memory_allocated() if torch and torch.cuda.is_initialized() else None
    return {"cpu": _peak_of_process(), "gpu": gpu}


def _peak_of_process() -> int | None:
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), None)


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
