"""YAML text turned into plain values, the line and column of every one kept; strangers' files are expected.

Scalars are read as YAML 1.2's core schema reads them: `no`, `on` and dates are text, `1e-4` is a number.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from kolora.spec.faults import PathPart, Problem
from kolora.spec.words import describe, printable

LARGEST_STORY = 2**20
"""Bytes read of a story at most."""
_ZIP = b"PK\x03\x04"
_MOST_NODES = 20_000
"""Values in a document once its aliases are written out; 64 full scenes are about 1,300."""
_DEEPEST = 20
_LONGEST_NUMBER = 40

Path = tuple[PathPart, ...]


@dataclass(frozen=True)
class Place:
    """Where a value was written: line and column from 1, or the ``--set`` argument that brought it."""

    line: int | None = None
    column: int | None = None
    argument: str | None = None


@dataclass(frozen=True)
class Document:
    """Plain values, and where each value and each key was written."""

    data: Any
    places: Mapping[Path, Place] = field(default_factory=dict)
    keys: Mapping[Path, Place] = field(default_factory=dict)

    def place(self, path: Path, *, key: bool = False) -> Place:
        """Return where the value (or the key) at ``path`` was written, or else what holds it."""
        if key and path in self.keys:
            return self.keys[path]
        shorter = (path[:length] for length in range(len(path), -1, -1))
        return next((self.places[part] for part in shorter if part in self.places), Place())


class UnreadableError(Exception):
    """The text is no document at all; carries the one problem that says why."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


def spell(path: Path) -> str:
    """Return ``path`` as it is written for people, items counted from 1: ``scenes[3].prompt``."""
    parts = [f"[{part + 1}]" if isinstance(part, int) else f".{printable(part)}" for part in path]
    return "".join(parts).removeprefix(".")


def decode(raw: bytes) -> str:
    """Return the text of a file in UTF-8, or in UTF-16 or UTF-32 with a byte order mark; raise UnreadableError."""
    if raw.startswith(_ZIP):
        raise UnreadableError(Problem("", "a zip archive", "a story; kolora verify reads the zip of a submission"))
    if len(raw) > LARGEST_STORY:
        raise UnreadableError(Problem("", f"more than {LARGEST_STORY:,} bytes", "a story of at most 1 MiB"))
    try:
        return raw.decode(_encoding(raw))
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        column = error.start - (raw.rfind(b"\n", 0, error.start) + 1) + 1
        given = f"a byte 0x{raw[error.start]:02x} that is not {error.encoding.upper()}"
        raise UnreadableError(Problem("", given, "text saved as UTF-8", line=line, column=column)) from error


def _encoding(raw: bytes) -> str:
    # UTF-32 first: its little-endian mark begins with that of UTF-16.
    if raw.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return "utf-32"
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    return "utf-8-sig"


def read(text: str) -> tuple[Document, list[Problem]]:
    """Return the document in ``text`` and what is wrong with it below the level of a story.

    Raises UnreadableError where there is no document to speak of.
    """
    text = text.removeprefix("\ufeff")
    if len(text) > LARGEST_STORY:
        raise UnreadableError(Problem("", f"{len(text):,} characters", "a story of at most 1 MiB"))
    try:
        composer = _Composer(text)
        root = composer.get_single_node()
    except yaml.YAMLError as error:
        raise UnreadableError(_yaml_problem(error, text)) from error
    if root is None:
        return Document(None), []
    return _Walk().document(root)


class _Composer(yaml.SafeLoader):
    """PyYAML's safe composer with the core schema's scalars, counting depth and nodes as it goes."""

    # Emptied: PyYAML's own follow YAML 1.1, where `no` is false and 3e-3 is text.
    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012  PyYAML's own attribute

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.depth = 0
        self.count = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Compose one node, or raise UnreadableError beyond the limits."""
        # Counted while composing: a file of a million brackets is refused before it has cost memory or the stack.
        self.depth += 1
        self.count += 1
        if self.depth > _DEEPEST or self.count > _MOST_NODES:
            mark = self.get_mark()
            raise UnreadableError(_limit_problem(self.depth, mark.line + 1, mark.column + 1))
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


_CORE = (
    ("null", r"|~|null|Null|NULL", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    (
        "float",
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
    ("merge", r"<<", ["<"]),
)
_TAG = "tag:yaml.org,2002:"
for _name, _pattern, _first in _CORE:
    # \Z, as $ also matches before a line break at the end.
    _Composer.add_implicit_resolver(_TAG + _name, re.compile(rf"^(?:{_pattern})\Z"), _first)


class _Walk:
    """One walk over composed nodes, gathering values, places and problems."""

    def __init__(self) -> None:
        self.places: dict[Path, Place] = {}
        self.keys: dict[Path, Place] = {}
        self.problems: list[Problem] = []
        self.count = 0

    def document(self, root: yaml.Node) -> tuple[Document, list[Problem]]:
        """Return the whole document below ``root`` and its problems."""
        data = self.value(root, ())
        return Document(data, self.places, self.keys), self.problems

    def value(self, node: yaml.Node, path: Path, above: tuple[yaml.Node, ...] = ()) -> Any:
        """Return the plain value of ``node``; aliases are written out, within the limits."""
        self.enter(node, path, above)
        self.places[path] = _place(node)
        if isinstance(node, yaml.MappingNode) and node.tag == f"{_TAG}map":
            return self.mapping(node, path, (*above, node))
        if isinstance(node, yaml.SequenceNode) and node.tag == f"{_TAG}seq":
            return [self.value(item, (*path, at), (*above, node)) for at, item in enumerate(node.value)]
        return self.scalar(node, path)

    def enter(self, node: yaml.Node, path: Path, above: tuple[yaml.Node, ...]) -> None:
        """Count one more value, and raise UnreadableError beyond the limits or inside itself."""
        # Counted a second time: aliases of aliases ("billion laughs") are few nodes and very many values.
        self.count += 1
        place = _place(node)
        # An anchor may hold its own alias: the same node again, without end.
        if any(node is other for other in above):
            raise UnreadableError(_problem(path, place, "an alias of what it stands in", "values that end"))
        if self.count > _MOST_NODES or len(above) > _DEEPEST:
            raise UnreadableError(_limit_problem(len(above), place.line, place.column))

    def mapping(self, node: yaml.MappingNode, path: Path, above: tuple[yaml.Node, ...]) -> dict[str, Any]:
        """Return a mapping, its merged values first so that its own override them."""
        values: dict[str, Any] = {}
        for source in self.merge_sources(node, path):
            self.enter(source, path, above)
            values = self.mapping(source, path, (*above, source)) | values
        first: dict[str, Place] = {}
        for key, item in node.value:
            # Read above already, so that what stands here overrides it.
            if key.tag == f"{_TAG}merge":
                continue
            name = self.key(key, path)
            if name is None:
                continue
            if name in first:
                given = f"{printable(name)} again, after line {first[name].line}"
                self.problems.append(_problem((*path, name), _place(key), given, "each key once"))
                continue
            first[name] = self.keys[(*path, name)] = _place(key)
            values[name] = self.value(item, (*path, name), above)
        return values

    def merge_sources(self, node: yaml.MappingNode, path: Path) -> Iterator[yaml.MappingNode]:
        """Yield the mappings that ``<<`` merges into ``node``."""
        for key, item in node.value:
            if key.tag != f"{_TAG}merge":
                continue
            for source in item.value if isinstance(item, yaml.SequenceNode) else [item]:
                if isinstance(source, yaml.MappingNode):
                    yield source
                else:
                    self.problems.append(_problem((*path, "<<"), _place(source), "a value", "mappings to merge"))

    def key(self, node: yaml.Node, path: Path) -> str | None:
        """Return a key, or note that it is no text."""
        if isinstance(node, yaml.ScalarNode) and node.tag == f"{_TAG}str":
            return str(node.value)
        is_scalar = isinstance(node, yaml.ScalarNode)
        given = f"the key {printable(node.value)}" if is_scalar else "a list or mapping as a key"
        self.problems.append(_problem(path, _place(node), given, "keys of text"))
        return None

    def scalar(self, node: yaml.Node, path: Path) -> Any:
        """Return a plain scalar, or note that its tag or its size is refused."""
        text = node.value
        if isinstance(node, yaml.ScalarNode) and node.tag == f"{_TAG}str":
            return text
        if not isinstance(node, yaml.ScalarNode) or node.tag not in _READERS or not _matches_tag(node):
            tag = printable(node.tag.replace(_TAG, "!!"))
            self.problems.append(_problem(path, _place(node), f"the YAML tag {tag}", "a plain value without a tag"))
            return None
        # int() of a long text takes quadratic time, and Python refuses over 4,300 digits with an error of its own.
        if len(text) > _LONGEST_NUMBER:
            self.problems.append(_problem(path, _place(node), f"a number of {len(text):,} digits", "a shorter number"))
            return None
        return _READERS[node.tag](text)


def _matches_tag(node: yaml.ScalarNode) -> bool:
    """Tell whether a scalar is written as its tag says; an explicit ``!!int x`` is not."""
    return any(node.tag == _TAG + name and re.match(rf"^(?:{pattern})\Z", node.value) for name, pattern, _ in _CORE)


def _float(text: str) -> float:
    """Return a float; the core schema writes infinity and not-a-number with a dot."""
    return float(re.sub(r"\.(?=[inIN])", "", text))


_READERS = {
    f"{_TAG}null": lambda text: None,
    f"{_TAG}bool": lambda text: text.lower() == "true",
    # Base 0 only where there is a prefix: Python refuses 010 by it, which is ten in the core schema.
    f"{_TAG}int": lambda text: int(text, 0) if text.startswith(("0o", "0x")) else int(text),
    f"{_TAG}float": _float,
}


def _place(node: yaml.Node) -> Place:
    return Place(node.start_mark.line + 1, node.start_mark.column + 1)


def _problem(path: Path, place: Place, given: str, expected: str) -> Problem:
    return Problem(spell(path), given, expected, line=place.line, column=place.column)


def _limit_problem(depth: int, line: int | None, column: int | None) -> Problem:
    if depth > _DEEPEST:
        return Problem("", f"values nested over {_DEEPEST} deep", "a story, which is 5 deep", line=line, column=column)
    expected = f"a story of at most {_MOST_NODES:,} values, aliases written out"
    return Problem("", f"more than {_MOST_NODES:,} values", expected, line=line, column=column)


def _yaml_problem(error: yaml.YAMLError, text: str) -> Problem:
    """Return a problem for text that is not YAML, the commonest slips by name."""
    if isinstance(error, yaml.reader.ReaderError):
        line, column = text.count("\n", 0, error.position) + 1, error.position - text.rfind("\n", 0, error.position)
        given = f"the character U+{ord(text[error.position]):04X}"
        return Problem("", given, "printable text", line=line, column=column)
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return Problem("", describe(str(error)), "YAML")
    mark = error.problem_mark
    given, expected = _explain(error, text.splitlines(), mark.line)
    return Problem("", given, expected, line=mark.line + 1, column=mark.column + 1)


def _explain(error: yaml.MarkedYAMLError, lines: list[str], at: int) -> tuple[str, str]:
    """Return what was given and expected where YAML breaks off."""
    line = lines[at] if at < len(lines) else ""
    if "\t" in line[: len(line) - len(line.lstrip())]:
        return "a tab in the indentation", "spaces"
    if error.problem and r"'\t'" in error.problem:
        return "a tab", "spaces"
    around = lines[max(0, at - 1) : at + 1]
    if any(re.match(r"^\s*(- +)?\w+：", text) for text in around):
        return "a full-width colon ：", "an ASCII colon and a space after the key"
    if re.search(r"[{,].*，\s*\w+:", line):
        return "a full-width comma ，", "an ASCII comma and a space between the keys"
    if _is_misaligned(lines, at):
        return "a key set in otherwise than the one above it", "keys of one mapping in the same column"
    reason = " ".join(part for part in (error.context, error.problem) if part)
    expected = "YAML; text that holds : # or starts with a mark such as @ % * goes in quotes"
    return f"broken YAML ({printable(reason, most=200)})", expected


def _is_misaligned(lines: list[str], at: int) -> bool:
    """Tell whether a key begins in another column than the one above it, which has a value and so cannot hold it."""
    if not 0 < at < len(lines):
        return False
    here, above = (re.match(r"^([ -]*)[\w-]+:( +\S)?", line) for line in (lines[at], lines[at - 1]))
    return bool(here and above and above[2] and len(here[1]) != len(above[1]))
