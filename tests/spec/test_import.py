"""What `import kolora.spec` brings with it: nothing heavy."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
HEAVY = (
    "torch",
    "numpy",
    "transformers",
    "diffsynth",
    "peft",
    "lightning",
    "datasets",
    "data_juicer",
    "modelscope",
)


def test_a_story_is_read_without_anything_heavy() -> None:
    code = (
        "import sys; from kolora.spec import read_story, story_json_schema; read_story('specs/quickstart.yaml');"
        "story_json_schema(); print(*sorted({name.split('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = done.stdout.split()
    assert "kolora" in loaded
    assert [name for name in HEAVY if name in loaded] == []
