"""Measure the shape of a Python package: sizes, names, comments, imports.

    python tools/measure.py [PACKAGE]

PACKAGE is the package's folder, ``runner/kolora`` where none is named. Standard library only. The numbers are
information for whoever reads the code, not targets; tests/layers.py turns some of them into rules.
"""

from __future__ import annotations

import argparse
import ast
import io
import statistics
import tokenize
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
SHOWN = 15
"""How many of a long list are printed."""


@dataclass(frozen=True)
class Module:
    """One source file, parsed."""

    name: str
    path: Path
    text: str
    tree: ast.Module

    @property
    def is_init(self) -> bool:
        """Whether the file is a package's ``__init__.py``."""
        return self.path.name == "__init__.py"

    @property
    def lines(self) -> int:
        """How many lines the file has."""
        return len(self.text.splitlines())


@dataclass(frozen=True)
class Import:
    """One import of one name: by whom, of what, on which line, and whether inside a function."""

    module: str
    target: str
    line: int
    is_deferred: bool


@dataclass(frozen=True)
class Place:
    """A line of a module."""

    module: str
    line: int

    def __str__(self) -> str:
        """Return it as messages write it."""
        return f"{self.module}:{self.line}"


def read_modules(root: Path, *, package: str | None = None) -> dict[str, Module]:
    """Parse every module below ``root``, by dotted name; the first part is ``package``, else the folder's name."""
    modules = {}
    for path in sorted(root.rglob("*.py")):
        parts = (package or root.resolve().name, *path.relative_to(root).with_suffix("").parts)
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        text = path.read_text(encoding="utf-8")
        modules[name] = Module(name, path, text, ast.parse(text))
    return modules


# Imports


def imports_of(module: Module) -> list[Import]:
    """List a module's imports; those for type checkers only do not count."""
    return list(_imports(module, module.tree, is_deferred=False))


def _imports(module: Module, tree: ast.AST, *, is_deferred: bool) -> Iterator[Import]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            continue
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(module.name, alias.name, node.lineno, is_deferred)
        elif isinstance(node, ast.ImportFrom):
            source = _absolute(module, node)
            yield Import(module.name, source, node.lineno, is_deferred)
            for alias in node.names:
                yield Import(module.name, f"{source}.{alias.name}", node.lineno, is_deferred)
        else:
            is_function = isinstance(node, (*FUNCTIONS, ast.Lambda))
            yield from _imports(module, node, is_deferred=is_deferred or is_function)


def _absolute(module: Module, node: ast.ImportFrom) -> str:
    """Return what ``from X import`` names, the dots of a relative import resolved."""
    if not node.level:
        return node.module or ""
    package = module.name.split(".")
    above = package[: len(package) - node.level + module.is_init]
    return ".".join([*above, node.module] if node.module else above)


def import_graph(modules: Mapping[str, Module]) -> dict[str, set[str]]:
    """Return which modules of the package each one loads at its start.

    A module loads the ``__init__`` of every package on the way to what it imports. Those of the packages that it lies
    in do not count, for they are being loaded already, unless the import names such a package itself: then the module
    wants something of an ``__init__`` that may not have come to it yet.
    """
    graph: dict[str, set[str]] = {name: set() for name in modules}
    for name, module in modules.items():
        for each in imports_of(module):
            if not each.is_deferred:
                graph[name] |= _loaded(name, each.target, modules)
        graph[name].discard(name)
    return graph


def _loaded(name: str, target: str, modules: Mapping[str, Module]) -> set[str]:
    parts = target.split(".")
    above = {".".join(parts[:end]) for end in range(1, len(parts))}
    loaded = {package for package in above if package in modules and not f"{name}.".startswith(f"{package}.")}
    return loaded | ({target} & modules.keys())


def find_cycles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """List the groups of modules that load each other, each sorted."""
    reachable = {name: _reachable(graph, name) for name in graph}
    cycles = []
    left = {name for name in graph if name in reachable[name]}
    while left:
        name = min(left)
        cycle = {other for other in reachable[name] if name in reachable[other]}
        cycles.append(sorted(cycle))
        left -= cycle
    return cycles


def _reachable(graph: Mapping[str, set[str]], start: str) -> set[str]:
    reached: set[str] = set()
    queue = list(graph[start])
    while queue:
        name = queue.pop()
        if name not in reached:
            reached.add(name)
            queue += graph[name]
    return reached


# Lines and names


def nested_comprehensions(module: Module) -> list[Place]:
    """List the comprehensions that hold another one, or have two ``for``; the outermost of each nest."""
    return [Place(module.name, node.lineno) for node in _nested(module.tree)]


def _nested(tree: ast.AST) -> Iterator[ast.expr]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, COMPREHENSIONS) and (len(node.generators) > 1 or _holds_comprehension(node)):
            yield node
        else:
            yield from _nested(node)


def _holds_comprehension(tree: ast.AST) -> bool:
    return any(isinstance(node, COMPREHENSIONS) for node in ast.walk(tree) if node is not tree)


def functions_of(module: Module) -> list[tuple[int, Place, str]]:
    """List a module's functions: length in lines, without decorators, place, and name."""
    functions = [node for node in ast.walk(module.tree) if isinstance(node, FUNCTIONS)]
    return [(_length(node), Place(module.name, node.lineno), node.name) for node in functions]


def _length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def classes_by_name(modules: Mapping[str, Module]) -> dict[str, list[Place]]:
    """List where each class name is defined, public or not, at the top of a module."""
    places = defaultdict(list)
    for module in modules.values():
        for node in module.tree.body:
            if isinstance(node, ast.ClassDef):
                places[node.name].append(Place(module.name, node.lineno))
    return dict(places)


def files_by_name(modules: Mapping[str, Module]) -> dict[str, list[str]]:
    """List which modules have each file name, ``__init__.py`` left out."""
    found = defaultdict(list)
    for module in modules.values():
        if not module.is_init:
            found[module.path.name].append(module.name)
    return dict(found)


def public_names(module: Module) -> list[str]:
    """List the names that a module defines at its top, without underscore; of an ``__init__`` none that it imports."""
    names = []
    for node in module.tree.body:
        if isinstance(node, (*FUNCTIONS, ast.ClassDef)):
            names.append(node.name)
        elif isinstance(node, ast.Assign):
            names += [target.id for target in node.targets if isinstance(target, ast.Name)]
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.append(node.target.id)
    return [name for name in names if not name.startswith("_")]


def names_used_at_home(modules: Mapping[str, Module]) -> list[str]:
    """List the public names that no other module mentions, as ``module.name``.

    A mention is any name or attribute of that spelling: a name is rather missed here than listed wrongly.
    """
    mentions = {name: _mentions(module) for name, module in modules.items()}
    found = []
    for name, module in modules.items():
        elsewhere = set().union(*(words for other, words in mentions.items() if other != name))
        found += [f"{name}.{public}" for public in public_names(module) if public not in elsewhere]
    return found


def _mentions(module: Module) -> set[str]:
    words = set()
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Name):
            words.add(node.id)
        elif isinstance(node, ast.Attribute):
            words.add(node.attr)
        elif isinstance(node, ast.alias):
            words.add(node.name)
    return words


def comment_lines(module: Module) -> int:
    """Count the lines of a module that have a ``#`` comment."""
    tokens = tokenize.generate_tokens(io.StringIO(module.text).readline)
    return sum(token.type == tokenize.COMMENT for token in tokens)


def comments_by_package(modules: Mapping[str, Module]) -> dict[str, tuple[int, int]]:
    """Count comment lines and all lines of each package, or module, right below the root."""
    counts: dict[str, tuple[int, int]] = {}
    for module in modules.values():
        package = ".".join(module.name.split(".")[:2])
        comments, lines = counts.get(package, (0, 0))
        counts[package] = (comments + comment_lines(module), lines + module.lines)
    return counts


# What is printed


def report(modules: Mapping[str, Module]) -> Iterator[str]:
    """Yield the lines that say all of it."""
    yield from _report_sizes(modules)
    yield from _report_names(modules)
    yield from _report_comments(modules)
    yield from _report_imports(modules)


def _report_sizes(modules: Mapping[str, Module]) -> Iterator[str]:
    functions = [each for module in modules.values() for each in functions_of(module)]
    lengths = sorted(length for length, _, _ in functions)
    middle, tenth = statistics.median(lengths), statistics.quantiles(lengths, n=10)[-1]
    yield f"{len(modules)} modules, {sum(module.lines for module in modules.values()):,} lines"
    yield f"{len(functions):,} functions: median {middle:g} lines, 90th percentile {tenth:g}, longest {lengths[-1]}"
    longest = sorted(functions, key=lambda each: -each[0])[:SHOWN]
    yield from (f"  {length:4} {place} {name}" for length, place, name in longest)
    yield "longest files"
    files = sorted(modules.values(), key=lambda module: -module.lines)[:SHOWN]
    yield from (f"  {module.lines:4} {module.name}" for module in files)
    nested = [place for module in modules.values() for place in nested_comprehensions(module)]
    yield from _list("nested comprehensions", nested)


def _report_names(modules: Mapping[str, Module]) -> Iterator[str]:
    doubled = {name: places for name, places in classes_by_name(modules).items() if len(places) > 1}
    yield from _list("class names defined in several modules", _counted(doubled))
    files = {name: places for name, places in files_by_name(modules).items() if len(places) > 1}
    yield from _list("file names used twice", _counted(files))
    total = sum(len(public_names(module)) for module in modules.values())
    yield from _list(f"public names (of {total:,}) used in no other module", names_used_at_home(modules))


def _counted(places: Mapping[str, Sequence[object]]) -> list[str]:
    ordered = sorted(places.items(), key=lambda each: (-len(each[1]), each[0]))
    return [f"{name} x {len(where)}: {', '.join(map(str, where))}" for name, where in ordered]


def _report_comments(modules: Mapping[str, Module]) -> Iterator[str]:
    counts = comments_by_package(modules)
    comments, lines = (sum(each[at] for each in counts.values()) for at in (0, 1))
    yield f"comment lines: {comments / lines:.1%}"
    for package, (few, many) in sorted(counts.items()):
        yield f"  {few / max(many, 1):6.1%} {few:4} of {many:5,} {package}"


def _report_imports(modules: Mapping[str, Module]) -> Iterator[str]:
    cycles = find_cycles(import_graph(modules))
    yield from _list("import cycles, package inits counted", [", ".join(cycle) for cycle in cycles])
    deferred: dict[tuple[str, int], str] = {}
    for module in modules.values():
        for each in imports_of(module):
            if each.is_deferred:
                deferred.setdefault((each.module, each.line), each.target)
    yield from _list("deferred imports", [f"{name}:{line} {target}" for (name, line), target in deferred.items()])


def _list(head: str, items: Sequence[object]) -> Iterator[str]:
    yield f"{head}: {len(items)}"
    yield from (f"  {item}" for item in items)


def main() -> None:
    """Print the measurements of the package that the command line names."""
    parser = argparse.ArgumentParser(description="Measure the shape of a Python package.")
    parser.add_argument("package", nargs="?", type=Path, default=Path("runner/kolora"), help="its folder")
    root = parser.parse_args().package
    modules = read_modules(root)
    if not modules:
        parser.error(f"no Python files below {root}")
    print("\n".join(report(modules)))


if __name__ == "__main__":
    main()
