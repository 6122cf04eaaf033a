"""The types of the story's keys, and the frozen model that its sections are."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from kolora.characters import find_acting
from kolora.names import fault_of_name
from kolora.samplers import SAMPLERS
from kolora.spec.faults import Fault, validation_error
from kolora.spec.words import printable

# No pattern may look ahead or behind: pydantic's engine, Rust's regex, cannot.
NAME = r"""^[^\x00-\x20\x7f/\\:*?"'<>|.-][^\x00-\x20\x7f/\\:*?"'<>|]*$"""
WORD = r"^[a-z][a-z0-9_-]*$"
HUB_ID = r"^[A-Za-z0-9_-][A-Za-z0-9_.-]*/[A-Za-z0-9_-][A-Za-z0-9_.-]*$"
_LONGEST_NAME = 200
"""Bytes of a story's name: file systems take 255, endings and unfinished files need some of them."""
COLOUR = r"^#[0-9a-fA-F]{6}$"
PATTERNS = {
    NAME: "at most 64 characters fit for a file name, no spaces, not starting with - or .",
    WORD: "a word of at most 64 lower-case letters, digits, - or _",
    HUB_ID: "owner/name, as the hub spells it",
    COLOUR: 'a colour like "#ffffff", in quotes',
}
"""What each pattern asks for, in words."""


def _check_printable(text: str) -> str:
    """Return ``text``, or refuse control characters: they break file metadata, HTML and terminals."""
    bad = re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", text)
    if bad:
        given = f"text with the control character U+{ord(bad[0]):04X}"
        raise validation_error(Fault(given=given, expected="printable text"))
    return text


def check_name(name: str) -> str:
    """Return a relative name of a file, or refuse one that leads elsewhere or does something where it is shown."""
    return _without(fault_of_name(name), name)


def check_part(name: str) -> str:
    """Return a name of one file or folder, or refuse it as ``check_name`` does, or for its slashes."""
    return _without("has a slash" if "/" in name else fault_of_name(name), name)


def _without(fault: str | None, name: str) -> str:
    if fault:
        raise validation_error(Fault(given=f"'{printable(name)}', which {fault}", expected="a name of a file"))
    return name


def _check_short(name: str) -> str:
    """Return a story's name, or refuse one that leaves no room for what is added to it in files' names."""
    size = len(name.encode())
    if size > _LONGEST_NAME:
        raise validation_error(Fault(given=f"a name of {size} bytes", expected=f"at most {_LONGEST_NAME} bytes"))
    return name


def _check_plain(text: str) -> str:
    """Return ``text``, or refuse what acts unseen: a name is one line, and shows all that it holds."""
    # A block of YAML ends in a line break, which stands for nothing.
    acting = find_acting(text.removesuffix("\n"), allowed="\t")
    if acting:
        letter = text[acting[0]]
        what = "a line break" if letter == "\n" else f"U+{ord(letter):04X}, which acts unseen"
        raise validation_error(Fault(given=f"text with {what}", expected="one line of printable text"))
    return text


def _check_not_blank(text: str) -> str:
    """Return ``text``, or refuse it when it is blank."""
    if not text.strip():
        raise validation_error(Fault(given="blank text", expected="text that says something"))
    return text


FileName = Annotated[str, AfterValidator(check_name)]
"""A file's name as a record has it, relative to a folder, with forward slashes."""
Part = Annotated[str, AfterValidator(check_part)]
"""What a record has of a file's name: no slash is in it."""
Name = Annotated[
    str,
    Field(pattern=NAME, max_length=64),
    AfterValidator(_check_plain),
    AfterValidator(check_part),
    AfterValidator(_check_short),
]
Text = Annotated[str, Field(max_length=10_000), AfterValidator(_check_printable)]
Prompt = Annotated[
    str, Field(min_length=1, max_length=10_000), AfterValidator(_check_printable), AfterValidator(_check_not_blank)
]
Phrase = Annotated[str, Field(max_length=200), AfterValidator(_check_printable)]
Title = Annotated[str, Field(max_length=200), AfterValidator(_check_printable), AfterValidator(_check_plain)]
Label = Annotated[
    str, Field(min_length=1, max_length=200), AfterValidator(_check_printable), AfterValidator(_check_plain)
]
PathOrName = Annotated[
    str, Field(min_length=1, max_length=4096), AfterValidator(_check_printable), AfterValidator(_check_not_blank)
]
"""A folder or file, relative to the story, or one of the names that the key documents, as `kolors` or `auto`."""
Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]
"""torch's generators on the CPU read 32 bits of a seed: larger ones would repeat smaller ones."""
Side = Annotated[int, Field(ge=64, le=4096, multiple_of=64)]
Steps = Annotated[int, Field(ge=1, le=1000)]
Guidance = Annotated[float, Field(ge=0, le=50)]
Strength = Annotated[float, Field(ge=0, le=2)]
if TYPE_CHECKING:  # a type checker takes no choices that are computed
    SamplerName = str
else:
    SamplerName = Literal[tuple(SAMPLERS)]


class Frozen(BaseModel):
    """Base of the story's sections and the stages' configs: frozen, strict about types, refusing unknown keys."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )
