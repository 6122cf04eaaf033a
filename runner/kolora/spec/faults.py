"""What is wrong with a story: faults as the models find them, problems as the reader sees them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pydantic_core import PydanticCustomError

from kolora.errors import StoryInvalid
from kolora.spec.words import printable, text_width

PathPart = str | int
"""A key, or the index of an item (from 0)."""

_EXCERPT = 72
"""Letters of a line that a message shows."""

_MOST_SHOWN = 40
"""Problems that a message spells out."""

FAULTS = "faults"
"""Type of the pydantic errors that carry faults, and the key they carry them under."""


class Fault(NamedTuple):
    """One breach of a rule, placed relative to the value whose validator found it."""

    given: str
    expected: str
    path: tuple[PathPart, ...] = ()
    nearest: str | None = None
    key: bool = False
    """Whether the key itself is at fault rather than its value."""


def validation_error(*faults: Fault) -> PydanticCustomError:
    """Return the error for a validator to raise; it carries ``faults`` to the loader."""
    message = "; ".join(f"given {fault.given}, expected {fault.expected}" for fault in faults)
    return PydanticCustomError(FAULTS, "{message}", {"message": message, FAULTS: faults})


@dataclass(frozen=True)
class Problem:
    """One thing to change in a story.

    path: where in the story, scenes and filters counted from 1; empty for the file as a whole.
    line, column: where in the file, from 1; None when the value came from ``argument``.
    argument: the ``--set`` argument that brought the value; None when the file did.
    nearest: the right spelling that is nearest to the one given, if one is near.
    """

    path: str
    given: str
    expected: str
    line: int | None = None
    column: int | None = None
    argument: str | None = None
    nearest: str | None = None

    @property
    def place(self) -> str:
        """Return where to look: the ``--set`` argument, or line and column."""
        if self.argument is not None:
            return f"--set {printable(self.argument)}"
        return "" if self.line is None else f"line {self.line}, column {self.column}"

    def __str__(self) -> str:
        """Return the problem as one line."""
        where = ": ".join(part for part in (self.place, self.path) if part)
        text = f"given {self.given}, expected {self.expected}"
        if self.nearest:
            text += f"; did you mean {self.nearest}?"
        return f"{where}: {text}" if where else text

    @property
    def remedy(self) -> str:
        """Return what to change, as one short sentence."""
        where = f"in {self.place} " if self.place else ""
        if self.nearest:
            return f"{where}write {self.nearest}"
        return f"{where}give {self.path or 'the story'} {self.expected}"


class StoryProblems(StoryInvalid):
    """Everything that is wrong with one story file, at once."""

    def __init__(self, name: str, problems: Sequence[Problem], *, source: str = "") -> None:
        """Put the problems into words; source: the file's text, of which their lines are shown."""
        self.problems = tuple(problems)
        # Split as YAML counts lines, and not at every separator that Unicode knows.
        lines = re.split(r"\r\n|[\n\r\x85\u2028\u2029]", source) if source else []
        super().__init__(self._message(name, lines), hint=self.problems[0].remedy)

    def _message(self, name: str, lines: Sequence[str]) -> str:
        count = len(self.problems)
        described = [f"{problem}{_excerpt(problem, lines)}" for problem in self.problems[:_MOST_SHOWN]]
        if count == 1:
            return f"{name}: {described[0]}"
        more = f"\n  and {count - _MOST_SHOWN:,} more" if count > _MOST_SHOWN else ""
        return "\n  ".join([f"{name} has {count:,} problems:", *described]) + more


def _excerpt(problem: Problem, lines: Sequence[str]) -> str:
    """Return the line that a problem is in, below it a caret at its column; empty where it is in no line."""
    if problem.line is None or problem.column is None or problem.line > len(lines):
        return ""
    line, at = lines[problem.line - 1], problem.column - 1
    # A prompt may be thousands of letters long: the part around the place is enough.
    start = max(0, at - _EXCERPT // 2)
    before, after = printable(line[start:at], most=_EXCERPT), printable(line[at : start + _EXCERPT], most=_EXCERPT)
    cut = ("…" if start else "", "…" if start + _EXCERPT < len(line) else "")
    margin = " " * len(str(problem.line))
    caret = " " * (len(cut[0]) + text_width(before)) + "^"
    return f"\n    {problem.line} | {cut[0]}{before}{after}{cut[1]}\n    {margin} | {caret}"
