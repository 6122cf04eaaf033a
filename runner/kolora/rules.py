"""The contest's rules, asked of a run: which of them it meets, and in words what keeps it from being a submission."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from kolora.errors import KoloraError

FEWEST_PICTURES = 8
LOWEST_MEAN = 6.0
"""Mean aesthetic score, of 1 to 10, below which a submission is invalid."""
NAME = "{team}-可图Kolors训练-{title}"
LONGEST_NAME = 255 - len(".safetensors")
"""Bytes that every file system takes."""
_UNFIT = r'[\x00-\x1f\x7f/\\:*?"<>|]'

RuleName = Literal["pictures", "aesthetics", "lora", "name", "kolors", "complete"]
"""pictures: eight or more. aesthetics: their mean reaches the contest's least. lora: there is one, and it loads where
that was tried. name: team and title, fit for a file. kolors: a checkpoint other than the small practice one drew them;
an exercise may be packed without that. complete: the run came to its end."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What the rules ask about a run. lora: what is wrong with its LoRA, None where nothing is known to be."""

    team: str
    title: str
    pictures: int
    aesthetics: float | None
    lora: KoloraError | None
    checkpoint: str | None
    is_complete: bool

    @property
    def name(self) -> str:
        """Name the submission by the contest's rule: team, the fixed middle, title of the work."""
        return NAME.format(team=self.team.strip(), title=self.title.strip())


@dataclass(frozen=True)
class Problem:
    """One thing against a rule, and what may be done about it."""

    told: str
    hint: str


@dataclass(frozen=True)
class Rule:
    """One rule asked of a run; met is None where nobody has measured it. problems: everything against it."""

    name: RuleName
    met: bool | None
    found: float | None = None
    needed: float | None = None
    problems: tuple[Problem, ...] = ()


def ask_rules(entry: Entry) -> tuple[Rule, ...]:
    """Ask every rule."""
    naming = tuple(_naming(entry))
    mean = entry.aesthetics
    return (
        Rule(
            "pictures",
            entry.pictures >= FEWEST_PICTURES,
            entry.pictures,
            FEWEST_PICTURES,
            _unless(
                entry.pictures >= FEWEST_PICTURES,
                f"it has {entry.pictures} pictures; {FEWEST_PICTURES} or more are asked for",
                "add to scenes in the story",
            ),
        ),
        Rule("aesthetics", None if mean is None else mean >= LOWEST_MEAN, mean, LOWEST_MEAN, tuple(_mean(mean))),
        Rule(
            "lora",
            entry.lora is None,
            problems=() if entry.lora is None else (Problem(entry.lora.error, entry.lora.hint),),
        ),
        # The team may still be told when the work is handed in.
        Rule("name", not naming if entry.team.strip() else None, problems=naming),
        Rule("kolors", None if entry.checkpoint is None else entry.checkpoint != "pocket"),
        Rule(
            "complete",
            entry.is_complete,
            problems=_unless(entry.is_complete, "its run did not come to its end", "run the same command again"),
        ),
    )


def _mean(mean: float | None) -> Iterator[Problem]:
    if mean is None:
        yield Problem(
            f"its pictures were not scored; a mean of {LOWEST_MEAN:g} or more is asked for",
            "--set scores.aesthetics=auto",
        )
    elif mean < LOWEST_MEAN:
        yield Problem(
            f"its pictures score {mean:.4g} in the mean; {LOWEST_MEAN:g} or more is asked for",
            "other prompts, seeds, lora.steps or render.lora_scale may score better",
        )


def _naming(entry: Entry) -> Iterator[Problem]:
    if not entry.team.strip():
        yield Problem(
            f"the team has no name; the rule is {NAME.format(team='队伍名称', title='作品名')}",
            "write team in the story, or --team NAME",
        )
    for key, name in (("team", entry.team.strip()), ("title", entry.title.strip())):
        if re.search(_UNFIT, name) or name.startswith("."):
            yield Problem(f"the {key} {name!r} is not fit for a file name", f"write another {key} in the story")
    if len(entry.name.encode()) > LONGEST_NAME:
        yield Problem("the names of team and work together are too long for a file", "shorten the title in the story")


def _unless(met: bool, told: str, hint: str) -> tuple[Problem, ...]:
    return () if met else (Problem(told, hint),)
