"""Reads the package's sources and says where they break the rules of the house. See test_layers.py."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from tools.measure import (
    Import,
    Module,
    classes_by_name,
    find_cycles,
    import_graph,
    imports_of,
    nested_comprehensions,
    read_modules,
)

LAYERS: tuple[tuple[str, ...], ...] = (
    ("characters", "redaction"),
    ("errors", "version"),
    ("names",),
    ("files",),
    ("limits",),
    ("folders",),
    ("device", "environment", "ownership", "places", "reads", "rules", "service", "signatures", "tokens"),
    ("saved",),
    ("samplers",),
    ("spec", "configs"),
    ("memory",),
    ("hubs", "datasets", "models", "training", "rendering", "scoring", "pocket"),
    ("inputs",),
    ("benchmark", "stages", "stories"),
    ("planning",),
    ("events", "runfolder"),
    ("execution", "report"),
    ("session",),
    ("batch", "export", "verification"),
    ("cli",),
    ("__main__",),
)
"""Lowest first. A module may import from layers below its own, and from its own package; nothing imports ``kolora``
itself, whose ``__init__`` lies above all but the command line."""

BESIDE: dict[str, set[str]] = {
    "datasets": {"hubs", "pocket"},
    "training": {"datasets", "models"},
    "rendering": {"models"},
    "scoring": {"models"},
    "verification": {"export"},
}
"""What a package may import of its own layer: the models, pocket as a source of pictures, and what an export writes."""

HEAVY = {
    "accelerate",
    "aesthetics_predictor",
    "bitsandbytes",
    "data_juicer",
    "datasets",
    "diffsynth",
    "huggingface_hub",
    "lightning",
    "modelscope",
    "modelscope_hub",
    "numpy",
    "pandas",
    "peft",
    "prodigyopt",
    "pyarrow",
    "ray",
    "tensorboardX",
    "tokenizers",
    "torch",
    "torchvision",
    "transformers",
    "triton",
}
"""Packages that take long to load. They load when a stage runs, and not before."""

COMPUTING = {
    "benchmark",
    "datasets",
    "hubs",
    "memory",
    "models",
    "pocket",
    "rendering",
    "scoring",
    "training",
}
"""The packages that may load heavy ones at their start. All others may not, directly or through these."""

DEFERRED: Mapping[str, set[str]] = {
    "cli": {"benchmark"},
    "cli.publish": {"hubs"},
    "execution.downloads": {"hubs"},
    "execution.loop": {"models"},
    "export.submission": {"models"},
    "signatures": {"cryptography"},
    "stages.cache_latents": {"training"},
    "stages.encode_prompt": {"models"},
    "stages.export_lora": {"models"},
    "stages.fetch": {"datasets"},
    "stages.filter": {"PIL"},
    "stages.grid": {"rendering"},
    "stages.prior": {"models", "rendering", "torch", "training"},
    "stages.render": {"models", "rendering"},
    "stages.score": {"scoring"},
    "stages.train": {"models", "rendering", "training"},
    "verification.graft": {"models"},
    "verification.lora": {"models", "torch"},
    "verification.scores": {"scoring"},
}
"""Which module may import which package inside a function. Each entry keeps something heavy out of ``plan``."""

SHARED_CLASS_NAMES = {"Config", "Facts", "Fields"}
"""Names that mean the same in every stage, or in every section of the report.

No other public class name is defined in more than two modules."""


def faults(root: Path) -> list[str]:
    """List everything that breaks a rule, in words."""
    modules = read_modules(root, package="kolora")
    imports = [each for module in modules.values() for each in imports_of(module)]
    found = []
    for each in imports:
        found += _faults_of(each, modules)
    for cycle in find_cycles(import_graph(modules)):
        found.append(f"{', '.join(cycle)} import each other: a cycle")
    found += _heavy_at_start(modules)
    found += _nested(modules)
    found += _shared_names(modules)
    return found


def idle_permissions(root: Path) -> list[str]:
    """List the entries of DEFERRED that the package no longer needs."""
    used: set[tuple[str, str]] = set()
    for module in read_modules(root, package="kolora").values():
        used |= {(_short(each.module), _target(each)) for each in imports_of(module) if each.is_deferred}
    idle = []
    for name, targets in DEFERRED.items():
        idle += [f"{name} imports {target} late" for target in targets if (name, target) not in used]
    return sorted(idle)


def _short(name: str) -> str:
    return name.removeprefix("kolora.")


def _package(name: str) -> str:
    """Return the package or module right below ``kolora`` that a name lies in; empty for ``kolora`` itself."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else ""


def _target(each: Import) -> str:
    """Return the package that an import names: one of ours, or somebody else's."""
    first = each.target.split(".")[0]
    return _package(each.target) if first == "kolora" else first


def _level(package: str) -> int | None:
    return next((level for level, packages in enumerate(LAYERS) if package in packages), None)


def _faults_of(each: Import, modules: Mapping[str, Module]) -> Iterator[str]:
    where = f"{each.module}:{each.line} imports {each.target}"
    package, target = _package(each.module), _target(each)
    if target == "diffsynth" and package != "models":
        yield f"{where}: DiffSynth stays behind kolora.models"
    if target == "click" and package != "cli":
        yield f"{where}: only kolora.cli talks to the command line"
    if each.is_deferred and target not in DEFERRED.get(_short(each.module), set()):
        yield f"{where} inside a function: DEFERRED does not list it"
    if each.target == "kolora" and package:
        yield f"{where}: upwards, name the module that defines it"
    if each.target.startswith("kolora.") and package and target != package:
        yield from _direction(each, modules)


def _direction(each: Import, modules: Mapping[str, Module]) -> Iterator[str]:
    where = f"{each.module}:{each.line} imports {each.target}"
    package, target = _package(each.module), _package(each.target)
    mine, other = _level(package), _level(target)
    if mine is None or other is None:
        yield f"{where}: {package if mine is None else target} has no layer"
    elif other > mine or (other == mine and target not in BESIDE.get(package, set())):
        yield f"{where}: upwards or sideways"


def _heavy_at_start(modules: Mapping[str, Module]) -> Iterator[str]:
    """Yield the heavy packages that load with a light module, directly or through others."""
    graph = import_graph(modules)
    loads = {name: _heavy_imports(module) for name, module in modules.items()}
    for name in modules:
        if _package(name) in COMPUTING:
            continue
        seen, queue = {name}, [name]
        while queue:
            current = queue.pop()
            for each in loads[current]:
                yield f"{name} loads {each.target} at its start, by {current}:{each.line}"
            queue += graph[current] - seen
            seen |= graph[current]


def _heavy_imports(module: Module) -> list[Import]:
    return [each for each in imports_of(module) if not each.is_deferred and each.target.split(".")[0] in HEAVY]


def _nested(modules: Mapping[str, Module]) -> Iterator[str]:
    for module in modules.values():
        yield from (f"{place} nests comprehensions" for place in nested_comprehensions(module))


def _shared_names(modules: Mapping[str, Module]) -> Iterator[str]:
    for name, places in classes_by_name(modules).items():
        is_allowed = name.startswith("_") or name in SHARED_CLASS_NAMES
        if len(places) > 2 and not is_allowed:
            yield f"class {name} is defined in {len(places)} modules: {', '.join(map(str, places))}"
