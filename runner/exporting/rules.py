"""The contest's rules, asked of a finished run: everything that keeps it from being a submission, at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

from runner.errors import KoloraError, StoryInvalid
from runner.exporting.finished import FinishedRun

FEWEST_PICTURES = 8
LOWEST_MEAN = 6.0
"""Mean aesthetic score, of 1 to 10, below which a submission is invalid."""
RULE = "{team}-可图Kolors训练-{title}"
LONGEST_NAME = 255 - len(".safetensors")
"""Bytes that every file system takes."""
_UNFIT = r'[\x00-\x1f\x7f/\\:*?"<>|]'


class SubmissionInvalid(StoryInvalid):
    """A run that breaks the contest's rules."""

    def __init__(self, root: Path, problems: tuple[tuple[str, str], ...]) -> None:
        self.problems = tuple(problem for problem, _ in problems)
        count = "one thing keeps" if len(problems) == 1 else f"{len(problems)} things keep"
        told = "\n  ".join([f"{count} {root} from being a submission:", *self.problems])
        super().__init__(told, hint=problems[0][1])


def submission_name(run: FinishedRun, *, team: str | None) -> str:
    """Name a submission by the contest's rule: team, the fixed middle, title of the work."""
    return RULE.format(team=(team or run.story.team).strip(), title=(run.story.title or run.story.name).strip())


def check_submission(run: FinishedRun, *, team: str | None, load: Callable[[Path], None]) -> None:
    """Raise SubmissionInvalid with everything that the rules find wrong.

    load: reads a LoRA file and raises a KoloraError where it is none.
    """
    problems = tuple(_problems(run, team, load))
    if problems:
        raise SubmissionInvalid(run.root, problems)


def _problems(run: FinishedRun, team: str | None, load: Callable[[Path], None]) -> Iterator[tuple[str, str]]:
    names = {"team": (team or run.story.team).strip(), "title": (run.story.title or run.story.name).strip()}
    if not names["team"]:
        yield (
            "the team has no name; the rule is 队伍名称-可图Kolors训练-作品名",
            "write team in the story, or --team NAME",
        )
    for key, name in names.items():
        if re.search(_UNFIT, name) or name.startswith("."):
            yield f"the {key} {name!r} is not fit for a file name", f"write another {key} in the story"
    if len(submission_name(run, team=team).encode()) > LONGEST_NAME:
        yield "the names of team and work together are too long for a file", "shorten the title in the story"
    if len(run.scenes) < FEWEST_PICTURES:
        yield (
            f"it has {len(run.scenes)} pictures; {FEWEST_PICTURES} or more are asked for",
            "add to scenes in the story",
        )
    if run.aesthetics is None:
        yield "its pictures were not scored; a mean of 6 or more is asked for", "--set scores.aesthetics=auto"
    elif run.aesthetics < LOWEST_MEAN:
        said = f"its pictures score {run.aesthetics:.4g} in the mean; {LOWEST_MEAN:g} or more is asked for"
        yield said, "other prompts, seeds, lora.steps or render.lora_scale may score better"
    changed = run.changed()
    if changed:
        said = f"{', '.join(changed[:3])}{' and others' if len(changed) > 3 else ''} changed after the run"
        yield said, f"kolora run {run.root / 'story.yaml'} -o {run.root} --fresh"
    try:
        load(run.root / "lora" / "kohya.safetensors")
    except KoloraError as problem:
        yield f"its LoRA does not load: {problem.error}", problem.hint
