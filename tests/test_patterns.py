r"""A ``$`` also matches before a line break at the end: what checks a text says ``\Z``, or matches the whole."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import kolora.spec.types as types
from kolora.spec.operators import SIZE

ROOT = Path(__file__).parents[1]
FUNCTIONS = {"match", "search", "compile", "sub", "split", "findall", "finditer", "subn"}
DOLLAR = re.compile(r"(?<!\\)(?:\\\\)*\$(?![^\[]*\])")


def loose(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield line and pattern of each call of ``re`` whose pattern has a ``$`` that acts; names are looked up."""
    constants = {
        target.id: node.value.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    known = {name: value for name, value in vars(types).items() if isinstance(value, str)} | {"SIZE": SIZE}
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args):
            continue
        if not (isinstance(node.func.value, ast.Name) and node.func.value.id == "re" and node.func.attr in FUNCTIONS):
            continue
        for part in ast.walk(node.args[0]):
            text = part.value if isinstance(part, ast.Constant) else None
            if isinstance(part, ast.Name):
                text = (known | constants).get(part.id)
            if isinstance(text, str) and DOLLAR.search(text):
                yield node.lineno, text


def test_no_pattern_of_the_package_ends_loosely() -> None:
    paths = [path for folder in ("runner", "tools", "docker") for path in (ROOT / folder).rglob("*.py")]
    assert len(paths) > 200
    found = []
    for path in paths:
        tree = ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 12))
        found += [f"{path.relative_to(ROOT)}:{line}: {text}" for line, text in loose(tree)]
    assert found == []


def test_a_loose_pattern_would_have_been_found() -> None:
    planted = ["re.match(r'^a$', x)", "re.match(NAME, x)", "P = 'b$'\nre.search(P, x)", "re.compile(rf'{x}$')"]
    assert [len([*loose(ast.parse(each))]) for each in planted] == [1, 1, 1, 1]
    sound = [r"re.match(r'^a\Z', x)", "re.fullmatch(NAME, x)", r"re.search(r'\$', x)", "re.search(r'[$a]', x)"]
    assert [[*loose(ast.parse(each))] for each in sound] == [[], [], [], []]
