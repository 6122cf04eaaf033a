"""Records and locks of kolora 0.1 in today's form: other names of stages, and configs that were called parts.

Their digests stay as they were: they name nothing that this version computes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from kolora.hubs.catalogue import loaded_files, loaded_scorer_files
from kolora.hubs.identity import identity_of_files
from kolora.runfolder.records import RECORD_FORMAT

STAGES_OF_0_1 = {
    "condition": "encode_prompt",
    "encode": "cache_latents",
    "convert": "export_lora",
    "plain": "baseline",
}
"""What stages were called; pictures without the LoRA were steps of ``render`` then."""
PRIOR_OF_0_1 = "condition-prior"
"""The one step whose name was neither a stage nor one with a scene's number."""
PICTURES_OF_0_1 = {"baseline": "images/plain"}
"""Where pictures were published that are published elsewhere now."""


def migrate_step_name(name: str) -> str:
    """Return a step's name by today's stages: ``plain-03`` is ``baseline-03``."""
    if name == PRIOR_OF_0_1:
        return "encode_prior"
    stage, dash, rest = name.partition("-")
    return STAGES_OF_0_1.get(stage, stage) + dash + rest


def former_step_name(name: str) -> str:
    """Return what kolora 0.1 called a step of today."""
    if name == "encode_prior":
        return PRIOR_OF_0_1
    stage, dash, rest = name.partition("-")
    former = {today: then for then, today in STAGES_OF_0_1.items()}
    return former.get(stage, stage) + dash + rest


def migrate_record(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a step's record in today's form; one that has it already is returned as it is."""
    if record.get("format", 1) >= RECORD_FORMAT or "step" not in record:
        return dict(record)
    inputs = record.get("inputs") or {}
    return _with_new_names(record) | {
        "config": record.get("part") or {},
        "facts": _facts(record.get("facts")),
        "inputs": {migrate_step_name(name): digest for name, digest in inputs.items()},
    }


def migrate_run(run: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``records/run.json`` in today's form; one that has it already is returned as it is."""
    if run.get("format", 1) >= RECORD_FORMAT:
        return dict(run)
    error = run.get("error")
    if isinstance(error, Mapping) and isinstance(error.get("step"), str):
        error = dict(error) | {"step": migrate_step_name(error["step"])}
    steps = run.get("steps") or []
    return dict(run) | {
        "error": error,
        "steps": [_with_new_names(step) if "step" in step else step for step in steps],
    }


def _with_new_names(step: Mapping[str, Any]) -> dict[str, Any]:
    """Give a step today's names, and the number of its scene."""
    name = migrate_step_name(str(step["step"]))
    stage, _, rest = name.partition("-")
    return dict(step) | {"step": name, "stage": stage, "scene": int(rest) if rest.isdecimal() else None}


def _facts(facts: Any) -> Any:
    """Rename what a stage's facts call otherwise today: the score's ``plain_mean``."""
    if not isinstance(facts, Mapping):
        return facts
    renamed = dict(facts)
    for key in ("coherence", "style"):
        likeness = facts.get(key)
        if isinstance(likeness, Mapping) and "plain_mean" in likeness:
            renamed[key] = dict(likeness) | {"baseline_mean": likeness["plain_mean"]}
    return renamed


def migrate_lock(lock: Mapping[str, Any]) -> dict[str, Any]:
    """Return a lock 1 in the form of a lock 2; ``story`` stays as it was written.

    Checkpoint and scorers become what is loaded of them, by the digests of their files; ``lock_1_sha256`` keeps the
    digest that the metadata of pictures of that time have. A digest that its own files do not give is left as it is:
    it will not hold.
    """
    scorers = lock.get("scorers") or {}
    steps = lock.get("steps") or {}
    numerics = []
    for each in lock.get("numerics") or ():
        numerics.append(dict(each) | {"steps": [migrate_step_name(name) for name in each["steps"]]})
    return dict(lock) | {
        "lock": 2,
        "checkpoint": _reduce_to_loaded_files(lock.get("checkpoint"), loaded_files),
        "scorers": {kind: _reduce_to_loaded_files(scorer, loaded_scorer_files) for kind, scorer in scorers.items()},
        "numerics": numerics,
        "steps": {migrate_step_name(name): digest for name, digest in steps.items()},
    }


def _reduce_to_loaded_files(folder: Any, choose: Callable[[Iterable[str]], list[str]]) -> Any:
    """Reduce a folder of input files to those that are loaded."""
    files = folder.get("files") if isinstance(folder, Mapping) else None
    if not files or identity_of_files(files) != folder["sha256"]:
        return folder
    loaded = {path: files[path] for path in choose(files)}
    return dict(folder) | {"files": loaded, "sha256": identity_of_files(loaded), "lock_1_sha256": folder["sha256"]}
