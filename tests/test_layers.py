"""The rules of the house: the real package keeps them, and planted faults are found."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.layers import COMPUTING, HEAVY, LAYERS, faults, idle_permissions
from tools.measure import imports_of, read_modules

ROOT = Path(__file__).parents[1] / "runner" / "kolora"


def test_the_package_keeps_the_rules():
    assert faults(ROOT) == []


def test_every_permission_to_import_late_is_used():
    assert idle_permissions(ROOT) == []


def test_the_reader_reads_every_module_and_every_package_has_a_layer():
    modules = read_modules(ROOT, package="kolora")
    assert len(modules) == len(list(ROOT.rglob("*.py"))) > 40
    assert sum(len(imports_of(module)) for module in modules.values()) > 300
    packages = {name.split(".")[1] for name in modules if "." in name}
    known = [package for layer in LAYERS for package in layer]
    assert packages <= set(known)
    assert len(known) == len(set(known))
    assert set(known) > COMPUTING


def test_the_command_line_and_the_library_load_nothing_heavy():
    code = "import kolora, kolora.cli, sys; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout.split()
    assert "kolora.stages.train" in loaded
    assert HEAVY & set(loaded) == set()


NESTED = "nests comprehensions"


@pytest.mark.parametrize(
    ("path", "text", "found"),
    [
        (
            "spec/a.py",
            "from kolora.planning import Step",
            "kolora.spec.a:1 imports kolora.planning: upwards or sideways",
        ),
        ("spec/a.py", "import kolora.stages.train", "kolora.spec.a:1 imports kolora.stages.train: upwards"),
        ("models/a.py", "from kolora.training import draws", "kolora.models.a:1 imports kolora.training: upwards"),
        ("rendering/a.py", "import kolora.scoring.judges", "upwards or sideways"),
        ("report/a.py", "from kolora.session import run", "upwards or sideways"),
        ("spec/a.py", "import kolora", "kolora.spec.a:1 imports kolora: upwards, name the module that defines it"),
        ("spec/a.py", "from kolora import errors", "kolora.spec.a:1 imports kolora: upwards"),
        ("training/a.py", "import diffsynth", "DiffSynth stays behind kolora.models"),
        ("planning.py", "import click", "only kolora.cli talks to the command line"),
        (
            "planning.py",
            "def f():\n    import json",
            "kolora.planning:2 imports json inside a function: DEFERRED",
        ),
        ("stages/grid.py", "def f():\n    import torch", "kolora.stages.grid:2 imports torch inside a function"),
        ("samplers/a.py", "import torch", "kolora.samplers.a loads torch at its start, by kolora.samplers.a:1"),
        ("samplers/a.py", "import kolora.models.b", "kolora.samplers.a:1 imports kolora.models.b: upwards"),
        ("planning.py", "import torch.nn", "kolora.planning loads torch.nn at its start, by kolora.planning:1"),
        ("stages/a.py", "from kolora.models import b", "kolora.stages.a loads numpy at its start, by kolora.models.b"),
        (
            "stages/a.py",
            "from kolora.models.c import d",
            "kolora.stages.a loads torch at its start, by kolora.models",
        ),
        ("strange/a.py", "from kolora.spec import Story", "strange has no layer"),
        ("spec/a.py", "import kolora.spec.b", "kolora.spec.a, kolora.spec.b import each other: a cycle"),
        ("spec/a.py", "from . import b", "kolora.spec.a, kolora.spec.b import each other: a cycle"),
        ("cli/a.py", "from kolora.cli import c", "kolora.cli, kolora.cli.a import each other: a cycle"),
        ("spec/a.py", "pairs = [a for b in c for a in b]", NESTED),
        ("spec/a.py", "pairs = {a: [b for b in c] for a in d}", NESTED),
        ("spec/a.py", "def f():\n    return any(all(b for b in c) for c in d)", NESTED),
        ("spec/a.py", "class Thrice: ...", "class Thrice is defined in 3 modules"),
    ],
)
def test_a_planted_fault_is_found(tmp_path, path, text, found):
    modules = {
        "spec/b.py": "import kolora.spec.a",
        "cli/__init__.py": "import kolora.cli.a",
        "cli/c.py": "class Thrice: ...",
        "models/__init__.py": "import torch",
        "models/b.py": "import numpy",
        "models/c.py": "class Thrice: ...",
        "planning.py": "",
        path: text,
    }
    assert any(found in fault for fault in faults(_written(tmp_path, modules)))


def test_what_is_allowed_is_not_a_fault(tmp_path):
    modules = {
        "__init__.py": "from kolora.planning import plan",
        "errors.py": "",
        "models/checkpoint.py": "import torch, diffsynth\nfrom kolora.errors import KoloraError\nclass Twice: ...",
        "spec/__init__.py": "from kolora.spec.story import Story",
        "spec/story.py": "import kolora.spec.faults as faults\nclass _Private: ...",
        "spec/faults.py": "class _Private: ...\nclass Twice: ...",
        "stages/grid.py": "class Config: ...\nclass _Private: ...",
        "stages/render.py": "class Config: ...",
        "stages/train.py": "def run():\n    from kolora.training import loop\nclass Config: ...",
        "training/loop.py": "from kolora.models.checkpoint import Checkpoint\nsquares = [a * a for a in range(3)]",
        "planning.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING: import torch\nimport kolora.stages.train",
    }
    assert faults(_written(tmp_path, modules)) == []


def _written(root, modules):
    """Write a package of ``modules``, text by path."""
    for name, text in modules.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text)
    return root
