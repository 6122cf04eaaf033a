"""Story -> steps with digests, and for each step whether it runs and why: pure, no disk, no clock, no model."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from kolora.errors import UsageError
from kolora.inputs import Inputs
from kolora.spec import Story
from kolora.spec.canonical import canonical
from kolora.spec.flat import flatten
from kolora.spec.words import nearest
from kolora.stages import STAGES
from kolora.stages.contract import Key, Step

_SHOWN_CHANGES = 3
_SHOWN_LETTERS = 40

REASONS = {
    "forced": "asked for by --force",
    "same": "nothing it depends on has changed",
    "interrupted": "was interrupted, continues where it was saved",
    "first": "no result from an earlier run",
    "former": "results of kolora {} are not kept by this version",
    "damaged": "files of its result are missing or damaged",
    "version": "stage version changed: {} -> {}",
    "changed": "{} changed",
    "changed_from": "{} changed: {} -> {}",
    "more": "{} more",
    "otherwise": "the steps it reads changed",
}
"""What a reason may say; a report in another language has its own words for these keys."""

_NOT_SET = "not set"
NOTHING: Mapping[str, str] = {}

Reason = tuple[str, ...]
"""A key of REASONS, then what fills its gaps."""


@dataclass(frozen=True)
class Decision:
    """Whether a step runs, and why."""

    step: Step
    runs: bool
    why: tuple[Reason, ...]

    @property
    def reason(self) -> str:
        """Why, in words for the user."""
        return words_of_reasons(self.why)


def words_of_reasons(why: Sequence[Reason]) -> str:
    """Say why a step runs or is kept, in words for the user."""
    words = ", ".join(REASONS[key].format(*values) for key, *values in why if key != "more")
    return words + "".join(f" and {REASONS[key].format(*values)}" for key, *values in why if key == "more")


class EarlierRecord(Protocol):
    """What a decision reads of an earlier record."""

    @property
    def digest(self) -> str: ...
    @property
    def version(self) -> int: ...
    @property
    def config(self) -> Mapping[str, Any]: ...
    @property
    def inputs(self) -> Mapping[str, str]: ...


def plan_steps(story: Story, inputs: Inputs) -> tuple[Step, ...]:
    """List the steps of a story with their digests, each after the steps it needs."""
    planned: dict[Key, Step] = {}
    for stage in STAGES.values():
        for step in stage.steps(story, inputs):
            digests = [planned[key].digest for key in step.needs]
            planned[step.key] = dataclasses.replace(step, digest=_digest_of(step, digests))
    return tuple(planned.values())


def _digest_of(step: Step, inputs: Sequence[str]) -> str:
    """Digest what a step's result depends on: stage, its version, its config in canonical form, its inputs' digests."""
    # As JSON with sorted keys, so that neither the order of fields nor the version of Python changes it.
    covered = [step.stage, STAGES[step.stage].VERSION, canonical(step.config), list(inputs)]
    return hashlib.sha256(json.dumps(covered, ensure_ascii=False, sort_keys=True).encode()).hexdigest()


def decide(
    steps: Sequence[Step],
    *,
    finished_digests: Collection[str],
    records: Mapping[str, EarlierRecord],
    resumable: Collection[str] = (),
    forced: Collection[str] = (),
    outdated: Mapping[str, str] = NOTHING,
) -> tuple[Decision, ...]:
    """Decide for each step whether it runs.

    finished_digests: of steps whose results are whole. records: the last record of each step, by name. resumable: names
    of steps that left a saved state. forced: names of steps or stages that run in any case. outdated:
    by name of a step, which older kolora made its last result, where this one does not keep that.
    """
    decisions = []
    for step in steps:
        is_forced = step.name in forced or step.stage in forced
        runs = is_forced or step.digest not in finished_digests
        record = records.get(step.name)
        if is_forced:
            why: tuple[Reason, ...] = (("forced",),)
        elif not runs:
            why = (("same",),)
        elif step.name in resumable:
            why = (("interrupted",),)
        elif record is None:
            why = (("former", outdated[step.name]),) if step.name in outdated else (("first",),)
        else:
            why = _why(step, record, steps)
        decisions.append(Decision(step, runs, why))
    return tuple(decisions)


def check_names(steps: Sequence[Step], *, forced: Collection[str] = (), until: str | None = None) -> None:
    """Raise UsageError for a name that is neither a step nor a stage of the story: what ``plan`` prints is one."""
    stages = list(dict.fromkeys(step.stage for step in steps))
    scenes = [step.name for step in steps if step.scene is not None]
    choices = [*stages, *scenes]
    for option, name in [("--until", until), *(("--force", each) for each in forced)]:
        if name is None or name in choices:
            continue
        near = nearest(name, choices)
        single = f"; one scene's are named as {scenes[0]}" if scenes else ""
        hint = f"did you mean {near}?" if near else f"steps of this story: {', '.join(stages)}{single}"
        raise UsageError(f"unknown step {name!r} in {option}", hint=hint)


def cut_after(decisions: Sequence[Decision], until: str | None) -> tuple[Decision, ...]:
    """Leave out what comes after the step, or the last step of the stage, that ``until`` names."""
    places = [place for place, each in enumerate(decisions) if until in (each.step.name, each.step.stage)]
    return tuple(decisions[: places[-1] + 1]) if places else tuple(decisions)


def _why(step: Step, record: EarlierRecord, steps: Sequence[Step]) -> tuple[Reason, ...]:
    # The digest is the same and yet the step runs: its files are not whole.
    if record.digest == step.digest:
        return (("damaged",),)
    version = STAGES[step.stage].VERSION
    if record.version != version:
        return (("version", str(record.version), str(version)),)
    changes = _changes(record.config, canonical(step.config), section=getattr(STAGES[step.stage], "SECTION", ""))
    if changes:
        more = len(changes) - _SHOWN_CHANGES
        return (*changes[:_SHOWN_CHANGES], *([("more", str(more))] if more > 0 else []))
    needed = {each.name: each.digest for each in steps if each.key in step.needs}
    changed = [name for name, digest in needed.items() if record.inputs.get(name) != digest]
    gone = [name for name in record.inputs if name not in needed]
    names = ", ".join((changed + gone)[:_SHOWN_CHANGES])
    return (("changed", names),) if names else (("otherwise",),)


def _changes(old: Mapping[str, Any], new: Mapping[str, Any], *, section: str) -> list[Reason]:
    """List the keys that changed, by their names in the story. section: that most of a stage's keys are of."""
    before, after = (_as_in_story(flatten(config), section) for config in (old, new))
    changes: list[Reason] = []
    for key in sorted(before.keys() | after.keys()):
        if key in before and key in after and before[key] == after[key]:
            continue
        values = [_format_value(leaves[key]) if key in leaves else _NOT_SET for leaves in (before, after)]
        # Two sha256 side by side tell a reader nothing that "changed" does not.
        is_digest = all(len(value) == 64 and " " not in value for value in values)
        changes.append(("changed", key) if is_digest else ("changed_from", key, *values))
    return changes


def _as_in_story(config: Mapping[str, Any], section: str) -> dict[str, Any]:
    """Name a config's keys as the story does: rank of the training is ``lora.rank``."""
    own = type(Story.model_fields[section].default).model_fields if section else {}
    named = {}
    for key, value in config.items():
        named[f"{section}.{key}" if key.partition(".")[0] in own else key] = value
    return named


def _format_value(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if len(text) == 64 and all(letter in "0123456789abcdef" for letter in text):
        return text
    return text if len(text) <= _SHOWN_LETTERS else f"{text[:_SHOWN_LETTERS]}…"
