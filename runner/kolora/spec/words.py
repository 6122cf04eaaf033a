"""Values, choices and near misses in the words of a message."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

from kolora.names import printable as printable

_LONGEST = 60
"""Characters of a given text that a message repeats."""


def text_width(text: str) -> int:
    """Return how many columns of a terminal a text takes: Chinese letters and full-width marks take two."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


def nearest(word: str, choices: Iterable[str]) -> str | None:
    """Return the choice that ``word`` is most likely a misspelling of, or None."""
    # Compared in lower case and with underscores, so that Min-Width finds min_width; 0.6 is difflib's own default.
    folded = {choice.lower(): choice for choice in choices}
    matches = difflib.get_close_matches(word.lower().replace("-", "_"), list(folded), n=1, cutoff=0.6)
    return folded[matches[0]] if matches else None


def join_choices(choices: Iterable[object], *, end: str = "or") -> str:
    """Return ``a, b or c``."""
    words = [str(choice).lower() if isinstance(choice, bool) else printable(str(choice)) for choice in choices]
    return "".join(words) if len(words) < 2 else f"{', '.join(words[:-1])} {end} {words[-1]}"


def describe(value: object) -> str:
    """Return a value of a story as a message names it, its kind before it."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return f"the number {value:.12g}" if isinstance(value, float) else f"the number {value}"
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, Sequence):
        return f"a list of {len(value)}"
    return f"a {type(value).__name__}"


def _quoted(text: str) -> str:
    if not text.strip():
        return "empty text" if not text else "blank text"
    quoted = f'the text "{printable(text)}"'
    return quoted if len(text) <= _LONGEST else f"{quoted} ({len(text):,} characters)"
