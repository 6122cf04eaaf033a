"""Reads the package's imports and says where they break the house's direction. See test_layers.py."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

LAYERS: tuple[tuple[str, ...], ...] = (
    ("errors", "version"),
    ("device", "environment", "rules", "service", "tokens"),
    ("spec", "configs"),
    ("memory",),
    ("hubs", "datasets", "models", "training", "rendering", "scoring", "pocket"),
    ("inputs",),
    ("benchmark",),
    ("stages",),
    ("plan",),
    ("artifacts",),
    ("lock",),
    ("execute", "report"),
    ("batch", "export", "verify"),
    ("cli",),
    ("__main__",),
)
"""Lowest first. A module may import from layers below its own, and from its own package."""

BESIDE: dict[str, set[str]] = {
    "datasets": {"hubs", "pocket"},
    "training": {"datasets", "models"},
    "rendering": {"models"},
    "scoring": {"models"},
    "pocket": {"datasets", "models", "rendering", "scoring", "training"},
}
"""What a package may import of its own layer: the model seam, and pocket as a source of pictures and a trainer."""

DEFERRED: dict[str, set[str]] = {
    "cli": {"benchmark"},
    "cli.downloads": {"hubs"},
    "cli.publish": {"hubs"},
    "export.submission": {"models"},
    "verify.compare": {"models", "scoring", "torch"},
}
"""Besides the stages, which module may import which package inside a function: what would load too early otherwise."""

HEAVY = {
    "accelerate",
    "aesthetics_predictor",
    "data_juicer",
    "datasets",
    "diffsynth",
    "huggingface_hub",
    "lightning",
    "modelscope",
    "modelscope_hub",
    "numpy",
    "peft",
    "pyarrow",
    "torch",
    "torchvision",
    "transformers",
}
"""Packages that take long to load: none of them may load before a stage runs."""

LIGHT = (
    "batch",
    "cli",
    "execute",
    "export",
    "lock",
    "plan",
    "inputs",
    "artifacts",
    "report",
    "spec",
    "stages",
    "errors",
    "verify",
)
"""Packages whose import must not load any of them."""


@dataclass(frozen=True)
class Import:
    """One import: who, of what, on which line, and whether inside a function."""

    module: str
    target: str
    line: int
    is_deferred: bool


def read_imports(root: Path) -> dict[str, tuple[Import, ...]]:
    """Read every module's imports, dotted names from ``kolora``; imports for type checkers only do not count."""
    modules = {}
    for path in sorted(root.rglob("*.py")):
        parts = ("kolora", *path.relative_to(root).with_suffix("").parts)
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        modules[name] = tuple(_imports(name, ast.parse(path.read_text(encoding="utf-8"))))
    return modules


def faults(root: Path) -> list[str]:
    """List every import that breaks a rule, in words."""
    modules = read_imports(root)
    found = [fault for imports in modules.values() for each in imports for fault in _faults_of(each)]
    return found + list(_cycles(modules)) + list(_heavy_at_start(modules))


def _imports(module: str, tree: ast.AST, *, deferred: bool = False) -> Iterator[Import]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            continue
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(module, alias.name, node.lineno, deferred)
        elif isinstance(node, ast.ImportFrom):
            yield Import(module, node.module or "", node.lineno, deferred)
            for alias in node.names:
                yield Import(module, f"{node.module}.{alias.name}", node.lineno, deferred)
        else:
            inside = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from _imports(module, node, deferred=deferred or inside)


def _package(name: str) -> str:
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else ""


def _level(package: str) -> int | None:
    return next((level for level, packages in enumerate(LAYERS) if package in packages), None)


def _faults_of(each: Import) -> Iterator[str]:
    where = f"{each.module}:{each.line} imports {each.target}"
    package = _package(each.module)
    if each.target.split(".")[0] == "diffsynth" and package != "models":
        yield f"{where}: DiffSynth stays behind kolora.models"
    if each.target.split(".")[0] == "click" and package != "cli":
        yield f"{where}: only kolora.cli talks to the command line"
    late = _package(each.target) if each.target.startswith("kolora") else each.target.split(".")[0]
    if (
        each.is_deferred
        and package != "stages"
        and late not in DEFERRED.get(each.module.removeprefix("kolora."), set())
    ):
        yield f"{where} inside a function: only a stage may, for its worker"
    if not each.target.startswith("kolora.") or each.module == "kolora":
        return
    target = _package(each.target)
    if target in ("", package) or target.startswith("__"):
        return
    mine, other = _level(package), _level(target)
    if mine is None or other is None:
        yield f"{where}: {package if mine is None else target} has no layer"
    elif other > mine or (other == mine and target not in BESIDE.get(package, set())):
        yield f"{where}: upwards or sideways"


def _cycles(modules: dict[str, tuple[Import, ...]]) -> Iterator[str]:
    """Yield each module that reaches itself; a package is loaded with its modules, which is none."""
    graph = {
        name: {
            each.target for each in imports if each.target in modules and not f"{name}.".startswith(f"{each.target}.")
        }
        for name, imports in modules.items()
    }
    for name in graph:
        seen: set[str] = set()
        queue = list(graph[name])
        while queue:
            following = queue.pop()
            if following not in seen:
                seen.add(following)
                queue += graph[following]
        if name in seen:
            yield f"{name} imports itself through others: a cycle"


def _heavy_at_start(modules: dict[str, tuple[Import, ...]]) -> Iterator[str]:
    """Yield the heavy packages that load with a light module, directly or through others."""
    for name in modules:
        if _package(name) not in LIGHT:
            continue
        seen, queue = {name}, [name]
        while queue:
            current = queue.pop()
            for each in modules[current]:
                if each.is_deferred:
                    continue
                if each.target.split(".")[0] in HEAVY:
                    yield f"{name} loads {each.target} at its start, by {current}:{each.line}"
                parents = [each.target] if each.target in modules else []
                queue += [target for target in parents if target not in seen]
                seen.update(parents)
