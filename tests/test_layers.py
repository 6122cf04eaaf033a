"""The direction of imports: the real package keeps it, and planted faults are found."""

from pathlib import Path

import pytest

from tests.layers import LAYERS, faults, read_imports

ROOT = Path(__file__).parents[1] / "runner" / "kolora"


def test_the_package_keeps_its_direction():
    assert faults(ROOT) == []


def test_the_reader_reads_every_module_and_every_package_has_a_layer():
    modules = read_imports(ROOT)
    assert len(modules) == len(list(ROOT.rglob("*.py"))) > 40
    assert sum(map(len, modules.values())) > 300
    packages = {name.split(".")[1] for name in modules if "." in name}
    assert packages == {package for layer in LAYERS for package in layer}


@pytest.mark.parametrize(
    ("path", "line", "found"),
    [
        ("spec/a.py", "from kolora.plan import Step", "kolora.spec.a:1 imports kolora.plan: upwards or sideways"),
        ("spec/a.py", "import kolora.stages.train", "kolora.spec.a:1 imports kolora.stages.train: upwards"),
        ("models/a.py", "from kolora.training import draws", "kolora.models.a:1 imports kolora.training: upwards"),
        ("rendering/a.py", "import kolora.scoring.judges", "upwards or sideways"),
        ("report/a.py", "from kolora.execute import run_story", "upwards or sideways"),
        ("training/a.py", "import diffsynth", "DiffSynth stays behind kolora.models"),
        ("plan.py", "import click", "only kolora.cli talks to the command line"),
        ("plan.py", "def f():\n    import json", "kolora.plan:2 imports json inside a function"),
        ("plan.py", "import torch.nn", "kolora.plan loads torch.nn at its start, by kolora.plan:1"),
        ("stages/a.py", "from kolora.models import b", "kolora.stages.a loads numpy at its start, by kolora.models.b"),
        ("strange/a.py", "from kolora.spec import Story", "strange has no layer"),
        ("spec/a.py", "import kolora.spec.b", "kolora.spec.a imports itself through others: a cycle"),
    ],
)
def test_a_planted_fault_is_found(tmp_path, path, line, found):
    modules = {"spec/b.py": "import kolora.spec.a", "models/b.py": "import numpy", "plan.py": "", path: line}
    for name, text in modules.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert any(found in fault for fault in faults(tmp_path))


def test_what_is_allowed_is_not_a_fault(tmp_path):
    modules = {
        "errors.py": "",
        "models/parts.py": "import torch, diffsynth\nfrom kolora import errors",
        "training/loop.py": "from kolora.models.checkpoint import Checkpoint",
        "stages/train.py": "def run():\n    from kolora.training import loop",
        "plan.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch\nimport kolora.stages.train",
    }
    for name, text in modules.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert faults(tmp_path) == []
