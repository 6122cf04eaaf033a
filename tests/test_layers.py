"""The direction of imports: the real package keeps it, and planted faults are found."""

from pathlib import Path

import pytest

from tests.layers import LAYERS, faults, read_imports

ROOT = Path(__file__).parents[1] / "runner"


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
        ("spec/a.py", "from runner.plan import Step", "runner.spec.a:1 imports runner.plan: upwards or sideways"),
        ("spec/a.py", "import runner.stages.train", "runner.spec.a:1 imports runner.stages.train: upwards"),
        ("models/a.py", "from runner.training import draws", "runner.models.a:1 imports runner.training: upwards"),
        ("rendering/a.py", "import runner.scoring.judges", "upwards or sideways"),
        ("report/a.py", "from runner.execute import run_story", "upwards or sideways"),
        ("training/a.py", "import diffsynth", "DiffSynth stays behind runner.models"),
        ("plan.py", "import click", "only runner.cli talks to the command line"),
        ("plan.py", "def f():\n    import json", "runner.plan:2 imports json inside a function"),
        ("plan.py", "import torch.nn", "runner.plan loads torch.nn at its start, by runner.plan:1"),
        ("stages/a.py", "from runner.models import b", "runner.stages.a loads numpy at its start, by runner.models.b"),
        ("strange/a.py", "from runner.spec import Story", "strange has no layer"),
        ("spec/a.py", "import runner.spec.b", "runner.spec.a imports itself through others: a cycle"),
    ],
)
def test_a_planted_fault_is_found(tmp_path, path, line, found):
    modules = {"spec/b.py": "import runner.spec.a", "models/b.py": "import numpy", "plan.py": "", path: line}
    for name, text in modules.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert any(found in fault for fault in faults(tmp_path))


def test_what_is_allowed_is_not_a_fault(tmp_path):
    modules = {
        "errors.py": "",
        "models/parts.py": "import torch, diffsynth\nfrom runner import errors",
        "training/loop.py": "from runner.models.parts import Parts",
        "stages/train.py": "def run():\n    from runner.training import loop",
        "plan.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch\nimport runner.stages.train",
    }
    for name, text in modules.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert faults(tmp_path) == []
