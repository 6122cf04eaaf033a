"""Rebuild: the run that a submission claims to be, done again here. It takes long, and is kept in OUT by digests."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kolora.errors import InputAbsent, KoloraError, StoryInvalid
from kolora.events import OnEvent
from kolora.execution.locks import ActiveLock
from kolora.execution.signals import Halt
from kolora.files import sha256_of, write_json
from kolora.inputs import ResolvedInputs
from kolora.limits import MAX_JSON, read_file
from kolora.places import cache_folder
from kolora.planning import plan_steps
from kolora.runfolder import layout
from kolora.runfolder.lock import Lock, read_lock
from kolora.runfolder.reader import read_run
from kolora.runfolder.store import RunFolder
from kolora.session import run_resolved
from kolora.spec import Story
from kolora.spec.canonical import canonical
from kolora.stages import score
from kolora.verification.graft import DATA_STAGES, TRAINED_STAGES, graft
from kolora.verification.lora import different_loras
from kolora.verification.resolve import Folders, resolve_drawing, resolve_training
from kolora.verification.verdict import Tolerance, tolerance_of
from kolora.verification.words import Finding
from kolora.version import __version__

AGAIN, RETRAINED = "again", "retrained"
"""Folders of OUT: the run done again with the submission's LoRA, and with another one that came of training."""
STATE = "rebuilt.json"
"""Says in OUT of what submission these are."""
OWN_KEY = "verify.key"
"""In the cache: by it, the work that is kept in OUT is known as this machine's own."""
RETRAINED_TOLERANCE = {"aesthetics_mean": 0.25, "clip_mean": 1.0}
"""How far mean scores may be apart where another LoRA was trained: points of 10, points of 100."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is to be rebuilt, and where.

    lora: the submission's, at a place of ours. retrain: whether to train again; None where that may not be possible.
    """

    story: Story
    source: bytes
    lock: Lock
    lora: Path
    out: Path
    device: str
    folders: Folders
    retrain: bool | None
    on_event: OnEvent
    halt: Halt


@dataclass(frozen=True, kw_only=True)
class Rebuilt:
    """A run that was done again here.

    root: its run folder. lock: the one it came to. skipped: stages that were not done here. dtype, tolerance: of the
    arithmetic here. retrained: what came of training again, as verify.json has it. findings: what that leaves open.
    """

    root: Path
    resolved: ResolvedInputs
    lock: Lock
    device: str
    skipped: frozenset[str]
    dtype: str
    tolerance: Tolerance
    retrained: Mapping[str, Any] | None = None
    findings: tuple[Finding, ...] = ()


def rebuild(task: Task) -> Rebuilt:
    """Do a submission's run again: train where its data set can be had, draw with its LoRA, score, report.

    Raises what ``resolve_drawing`` raises; with ``retrain`` also what is raised where training is not possible.
    """
    _limit_threads(task)
    drawing = resolve_drawing(
        task.story, task.lock, lora=task.lora, out=task.out, cache=cache_folder(), folders=task.folders
    )
    training, findings = _training_inputs(task)
    state = _state_of(task, trains=training is not None)
    kept = _kept_state(task.out)
    if {key: kept.get(key) for key in state} != state:
        # Digests do not cover what was put in the place of a training.
        for name in (AGAIN, RETRAINED):
            shutil.rmtree(task.out / name, ignore_errors=True)
        kept = {}
    if training is None:
        return _draw(task, drawing, state, findings)
    return _train_and_draw(task, training, state | {"apart": bool(kept.get("apart"))})


def _training_inputs(task: Task) -> tuple[ResolvedInputs | None, tuple[Finding, ...]]:
    """Find what training again takes; None, and why, where it is not to be done or cannot be."""
    if task.story.render.lora is not None:
        if task.retrain:
            raise StoryInvalid("the story brings its LoRA and trains none", hint="verify it without --retrain")
        return None, (Finding("lora_given", verdict="unchecked"),)
    if task.retrain is False:
        return None, (Finding("training_skipped", verdict="unchecked"),)
    try:
        resolved = resolve_training(task.story, task.lock, out=task.out, cache=cache_folder(), folders=task.folders)
    except (InputAbsent, StoryInvalid) as problem:
        if task.retrain or task.folders.dataset is not None:
            raise
        return None, (Finding("training_impossible", (problem.error,), "unchecked"),)
    return resolved, ()


def _draw(task: Task, resolved: ResolvedInputs, state: Mapping[str, Any], findings: tuple[Finding, ...]) -> Rebuilt:
    """Draw and score with the submission's LoRA, in whose making nothing is looked into."""
    root = task.out / AGAIN
    skipped = TRAINED_STAGES if task.story.training_set is not None else frozenset[str]()
    if skipped:
        findings += _graft(task, root, resolved, skipped)
    write_json(task.out / STATE, dict(state))
    _run(task, resolved, root)
    return _rebuilt(task, root, resolved, skipped=skipped, findings=findings)


def _train_and_draw(task: Task, resolved: ResolvedInputs, state: Mapping[str, Any]) -> Rebuilt:
    """Train; where the same LoRA comes of it, go on with that run, else draw with both."""
    again, retrained = task.out / AGAIN, task.out / RETRAINED
    root = retrained if state["apart"] else again
    write_json(task.out / STATE, dict(state))
    _run(task, resolved, root, until="train")
    is_same = not different_loras([task.lora, _trained_lora(resolved, root)])
    if is_same and not state["apart"]:
        _run(task, resolved, again)
        return _rebuilt(task, again, resolved, retrained=_comparison(is_same, {}))
    if not state["apart"]:
        shutil.rmtree(retrained, ignore_errors=True)
        again.rename(retrained)
        write_json(task.out / STATE, {**state, "apart": True})
    _run(task, resolved, retrained)
    skipped = frozenset({"train"})
    findings = (Finding("training_differs", verdict="unchecked"), *_graft(task, again, resolved, skipped))
    _copy_steps(resolved, retrained, again)
    _run(task, resolved, again)
    apart = _apart(_means(again), _means(retrained))
    return _rebuilt(task, again, resolved, skipped=skipped, retrained=_comparison(is_same, apart), findings=findings)


def _rebuilt(
    task: Task,
    root: Path,
    resolved: ResolvedInputs,
    *,
    skipped: frozenset[str] = frozenset(),
    retrained: Mapping[str, Any] | None = None,
    findings: tuple[Finding, ...] = (),
) -> Rebuilt:
    lock = read_lock((root / layout.LOCK).read_bytes(), name=layout.LOCK)
    numerics = lock.numerics_of("render")
    # By what computes here, never by what a submission says of itself: a coarse format would allow it more.
    dtype, tolerance = tolerance_of(numerics.dtype if numerics is not None else None)
    return Rebuilt(
        root=root,
        resolved=resolved,
        lock=lock,
        device=task.device,
        skipped=skipped,
        dtype=dtype,
        tolerance=tolerance,
        retrained=retrained,
        findings=findings,
    )


def _run(task: Task, resolved: ResolvedInputs, root: Path, *, until: str | None = None) -> None:
    run_resolved(
        resolved,
        source=task.source.decode("utf-8", errors="replace"),
        root=root,
        device=task.device,
        on_event=task.on_event,
        halt=task.halt,
        until=until,
        overrides=task.lock.overrides,
    )


def _graft(task: Task, root: Path, resolved: ResolvedInputs, stages: frozenset[str]) -> tuple[Finding, ...]:
    rank = graft(RunFolder(root), resolved, lora=task.lora, stages=stages)
    if rank == task.story.lora.rank:
        return ()
    return (Finding("lora_rank", (str(rank), str(task.story.lora.rank))),)


def _copy_steps(resolved: ResolvedInputs, source: Path, target: Path) -> None:
    """Copy the finished steps that lead to the training from one run folder to another."""
    for step in plan_steps(resolved.story, resolved.inputs):
        one, other = (RunFolder(root).folder(step.name, step.digest) for root in (source, target))
        if step.stage in DATA_STAGES and not other.exists():
            shutil.copytree(one, other)


def _trained_lora(resolved: ResolvedInputs, root: Path) -> Path:
    (step,) = (step for step in plan_steps(resolved.story, resolved.inputs) if step.stage == "train")
    return RunFolder(root).folder(step.name, step.digest) / "lora.safetensors"


def _comparison(is_same: bool, apart: Mapping[str, float]) -> dict[str, Any]:
    """Say what came of training again: the same LoRA is identical, else the pictures' mean scores decide."""
    is_near = all(difference <= RETRAINED_TOLERANCE[key] for key, difference in apart.items())
    return {
        "verdict": "identical" if is_same else "equivalent" if is_near else "different",
        "same_lora": is_same,
        "scores_apart": dict(apart),
        "allowed": RETRAINED_TOLERANCE,
    }


def _apart(one: Mapping[str, float], other: Mapping[str, float]) -> dict[str, float]:
    return {key: abs(one[key] - other[key]) for key in RETRAINED_TOLERANCE if key in one and key in other}


def _means(root: Path) -> dict[str, float]:
    """Return a run's mean scores by the keys of RETRAINED_TOLERANCE; those that were not measured are left out."""
    facts = read_run(root).facts("score", score.Facts)
    assert facts is not None
    means = {"aesthetics_mean": facts.aesthetics_mean, "clip_mean": facts.clip_mean}
    return {key: mean for key, mean in means.items() if mean is not None}


def _limit_threads(task: Task) -> None:
    """Compute with as many threads as the lock names, where this machine has them: sums are split by them."""
    numerics = task.lock.numerics_of("render")
    if numerics is not None and 0 < (numerics.threads or 0) <= (os.cpu_count() or 1):
        ActiveLock(task.lock, layout.LOCK).limit_threads(device=task.device)


def _state_of(task: Task, *, trains: bool) -> dict[str, Any]:
    """Name what a rebuilt run stands on, besides what the digests of its steps cover."""
    story = json.dumps([canonical(task.story), list(task.lock.overrides)], sort_keys=True)
    folders = [str(each) for each in dataclasses.astuple(task.folders)]
    return {
        "kolora": __version__,
        "device": task.device,
        "lora": sha256_of(task.lora),
        "story": hashlib.sha256(story.encode() + task.source).hexdigest(),
        "trains": trains,
        "folders": folders,
        "here": hashlib.sha256(f"{_own_key()} {task.out.resolve()}".encode()).hexdigest(),
    }


def _own_key() -> str:
    """Return what only this machine's cache knows: who ships kept work with a submission cannot say that it is ours."""
    path, new = cache_folder() / OWN_KEY, secrets.token_hex(32)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "w") as file:
            file.write(new)
        return new
    except FileExistsError:
        pass
    except OSError:
        # A cache that cannot be written keeps nothing: what lies in OUT is then done again.
        return new
    try:
        known = read_file(path, MAX_JSON).decode("ascii", errors="replace")
    except (OSError, KoloraError):
        return new
    return known if len(known) == len(new) else new


def _kept_state(out: Path) -> dict[str, Any]:
    try:
        state = json.loads((out / STATE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return state if isinstance(state, dict) else {}
