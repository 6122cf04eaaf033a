"""The contest's rules, checked for a run: which of them it meets, and in words what breaks the others."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from kolora.characters import find_acting
from kolora.errors import KoloraError
from kolora.names import fault_of_letters
from kolora.redaction import find_secret

FEWEST_PICTURES = 8
LOWEST_MEAN = 6.0
"""Mean aesthetic score, of 1 to 10, below which a submission is invalid."""
NAME = "{team}-可图Kolors训练-{title}"
PRACTICE_NAME = "{team}-pocket练习-{title}"
"""What a pack of practice pictures is called: by no name that the contest's rule could give."""
_FIXED = ("可图kolors训练", "pocket练习")
"""What tells the two apart, in lower case; so team and title may not hold it."""
LONGEST_NAME = 255 - len(".safetensors")
"""Bytes that every file system takes."""
# Windows refuses these in a file's name, and a pack may be unpacked there.
_FORBIDDEN = r'[\x00-\x1f\x7f/\\:*?"<>|]'

RuleName = Literal["pictures", "aesthetics", "lora", "name", "kolors", "complete"]
"""pictures: eight or more. aesthetics: their mean reaches the contest's least. lora: there is one, and it loads where
that was tried. name: team and title, fit for a file. kolors: a checkpoint other than the small practice one drew them.
complete: the run came to its end."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What the rules are checked on. lora: what is wrong with its LoRA, None where nothing is known to be.

    is_practice: whether pocket drew it, None where nobody knows what did.
    """

    team: str
    title: str
    pictures: int
    aesthetics: float | None
    lora: KoloraError | None
    is_practice: bool | None
    is_complete: bool

    @property
    def name(self) -> str:
        """Name the submission by the contest's rule: team, the fixed middle, title of the work.

        Practice pictures have a name that the contest knows at first sight not to be one of its own.
        """
        form = PRACTICE_NAME if self.is_practice else NAME
        return form.format(team=self.team.strip(), title=self.title.strip())


@dataclass(frozen=True)
class Violation:
    """One thing that breaks a rule, and what may be done about it."""

    message: str
    hint: str


@dataclass(frozen=True)
class Rule:
    """One rule checked for a run; met is None where nobody has measured it. violations: everything that breaks it."""

    name: RuleName
    met: bool | None
    found: float | None = None
    needed: float | None = None
    violations: tuple[Violation, ...] = ()


def check_rules(entry: Entry) -> tuple[Rule, ...]:
    """Check every rule."""
    return (_pictures(entry), _aesthetics(entry), _lora(entry), _name(entry), _kolors(entry), _complete(entry))


def violations_of(entry: Entry, *, practice: bool) -> list[Violation]:
    """List everything that keeps an entry from being packed; practice: it is to be packed as the exercise it is."""
    violations: list[Violation] = []
    for rule in check_rules(entry):
        if not (practice and rule.name == "kolors"):
            violations += rule.violations
    if practice and entry.is_practice is not True:
        message = "it is not drawn by pocket, and only such an exercise is packed with --practice"
        violations.append(Violation(message, "leave out --practice"))
    return violations


def _pictures(entry: Entry) -> Rule:
    message = f"it has {entry.pictures} pictures; {FEWEST_PICTURES} or more are required"
    violations = _unless(entry.pictures >= FEWEST_PICTURES, message, "add to scenes in the story")
    return Rule("pictures", not violations, entry.pictures, FEWEST_PICTURES, violations)


def _aesthetics(entry: Entry) -> Rule:
    mean = entry.aesthetics
    if mean is None:
        message = f"its pictures were not scored; a mean of {LOWEST_MEAN:g} or more is required"
        violation = Violation(message, "--set scores.aesthetics=auto")
        return Rule("aesthetics", None, None, LOWEST_MEAN, (violation,))
    message = f"the mean score of its pictures is {mean:.4g}; {LOWEST_MEAN:g} or more is required"
    hint = "other prompts, seeds, lora.steps or render.lora_scale may score better"
    violations = _unless(mean >= LOWEST_MEAN, message, hint)
    return Rule("aesthetics", not violations, mean, LOWEST_MEAN, violations)


def _lora(entry: Entry) -> Rule:
    violations = () if entry.lora is None else (Violation(entry.lora.error, entry.lora.hint),)
    return Rule("lora", not violations, violations=violations)


def _name(entry: Entry) -> Rule:
    violations = tuple(_name_violations(entry))
    # Without a team the rule is still open: it may be named when the work is handed in.
    return Rule("name", not violations if entry.team.strip() else None, violations=violations)


def _kolors(entry: Entry) -> Rule:
    if entry.is_practice is None:
        message = "what drew its pictures is not known; the contest takes those that Kolors draws"
        return Rule("kolors", None, violations=(Violation(message, "run the story again with this kolora"),))
    message = "pocket drew its pictures, which is for practice; the contest takes those that Kolors draws"
    hint = "--practice packs it as an exercise; for the contest: --set model.checkpoint=kolors, and run it again"
    return Rule("kolors", not entry.is_practice, violations=_unless(not entry.is_practice, message, hint))


def _complete(entry: Entry) -> Rule:
    violations = _unless(entry.is_complete, "its run is not complete", "run the same command again")
    return Rule("complete", not violations, violations=violations)


def _name_violations(entry: Entry) -> Iterator[Violation]:
    if not entry.team.strip():
        yield Violation(
            f"the team has no name; the rule is {NAME.format(team='队伍名称', title='作品名')}",
            "write team in the story, or --team NAME",
        )
    for key, name in (("team", entry.team.strip()), ("title", entry.title.strip())):
        fault = re.search(_FORBIDDEN, name) or name.startswith(".") or fault_of_letters(name)
        if fault or find_acting(name) or find_secret(name):
            yield Violation(f"the {key} {name!r} cannot be part of a file name", f"write another {key} in the story")
        if any(fixed in name.casefold() for fixed in _FIXED):
            message = f"the {key} {name!r} holds what stands between team and title in the name of a submission"
            yield Violation(message, f"write another {key} in the story")
    # In bytes, as file systems count: a Chinese character takes three of them.
    if len(entry.name.encode(errors="replace")) > LONGEST_NAME:
        yield Violation("the names of team and work together are too long for a file", "shorten the title in the story")


def _unless(met: bool, message: str, hint: str) -> tuple[Violation, ...]:
    return () if met else (Violation(message, hint),)
