"""The process's environment: set in one module, before anything heavy, and never over what the user set."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest
from kolora.environment import DEFAULTS, OFFLINE, go_offline, keep_kernels, limit_threads, set_environment

ROOT = Path(__file__).parents[1] / "runner" / "kolora"
CHANGING = ("setdefault", "update", "pop", "popitem", "clear", "__setitem__", "__delitem__", "__ior__")
NAMES = ("environ", "environb", "putenv", "unsetenv")


def writes(source: str) -> list[int]:
    """List the lines that change the environment of the process."""
    return [node.lineno for node in ast.walk(ast.parse(source)) if _writes(node)]


def _writes(node: ast.AST) -> bool:
    match node:
        case ast.Subscript(value=ast.Attribute(attr="environ" | "environb"), ctx=ast.Store() | ast.Del()):
            return True
        case ast.AugAssign(target=ast.Attribute(attr="environ" | "environb")):
            return True
        case ast.Attribute(value=ast.Attribute(attr="environ" | "environb"), attr=attribute):
            return attribute in CHANGING
        case ast.Attribute(attr="putenv" | "unsetenv"):
            return True
        # Another name for it would hide a change.
        case ast.ImportFrom(module="os", names=names):
            return any(each.name in NAMES for each in names)
        case ast.Assign(value=ast.Attribute(attr="environ" | "environb")):
            return True
    return False


def test_one_module_alone_sets_variables() -> None:
    sources = {path: path.read_text(encoding="utf-8") for path in sorted(ROOT.rglob("*.py"))}
    assert len(sources) > 100
    assert {path.relative_to(ROOT).as_posix() for path, source in sources.items() if writes(source)} == {
        "environment.py"
    }


@pytest.mark.parametrize(
    "line",
    [
        "os.environ['A'] = '1'",
        "os.environ['A'] += '1'",
        "del os.environ['A']",
        "os.environ |= {'A': '1'}",
        "os.environ.setdefault('A', '1')",
        "def f():\n    os.environ.update(A='1')",
        "os.environ.pop('A', None)",
        "os.putenv('A', '1')",
        "from os import environ",
        "variables = os.environ",
    ],
)
def test_a_planted_write_is_found(line: str) -> None:
    assert writes(f"import os\n{line}") != []


@pytest.mark.parametrize("line", ["os.environ['A']", "os.environ.get('A')", "f(os.environ)", "{**os.environ, 'A': 1}"])
def test_reading_is_no_write(line: str) -> None:
    assert writes(f"import os\n{line}") == []


@pytest.fixture
def clean(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Take every variable that kolora sets out, and bring it back after the test."""
    for name in (*(each.name for each in DEFAULTS), *OFFLINE, "OMP_NUM_THREADS", "OMP_WAIT_POLICY", "TRITON_CACHE_DIR"):
        # Set first: what was absent before is absent afterwards.
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    return monkeypatch


def test_what_the_user_set_stays(clean: pytest.MonkeyPatch, tmp_path: Path) -> None:
    clean.setenv("TQDM_DISABLE", "0")
    clean.setenv("OMP_WAIT_POLICY", "active")
    clean.setenv("OMP_NUM_THREADS", "3")
    clean.setenv("TRITON_CACHE_DIR", "mine")
    set_environment()
    limit_threads(7)
    keep_kernels(lambda: tmp_path)
    assert os.environ["TQDM_DISABLE"] == "0"
    assert os.environ["OMP_NUM_THREADS"] == "3"
    assert os.environ["TRITON_CACHE_DIR"] == "mine"
    assert "GOMP_SPINCOUNT" not in os.environ
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"


def test_what_the_user_left_open_is_set(clean: pytest.MonkeyPatch, tmp_path: Path) -> None:
    clean.setenv("HF_HUB_OFFLINE", "0")
    set_environment()
    limit_threads(7)
    keep_kernels(lambda: tmp_path)
    go_offline()
    assert {each.name: os.environ[each.name] for each in DEFAULTS} == {each.name: each.value for each in DEFAULTS}
    assert [os.environ[name] for name in OFFLINE] == ["1", "1", "1"]
    assert (os.environ["OMP_NUM_THREADS"], os.environ["TRITON_CACHE_DIR"]) == ("7", str(tmp_path))


def test_a_cache_without_room_leaves_triton_alone(clean: pytest.MonkeyPatch) -> None:
    def refuse() -> Path:
        raise OSError("no room")

    keep_kernels(refuse)
    assert "TRITON_CACHE_DIR" not in os.environ


def test_every_variable_is_named_once_with_its_reason() -> None:
    assert len({each.name for each in DEFAULTS}) == len(DEFAULTS)
    assert all(each.why for each in DEFAULTS)


def test_the_command_line_sets_it_before_anything_heavy_loads() -> None:
    code = (
        "import sys, kolora.environment\n"
        "from kolora import cli\n"
        "def watch(): print(sorted({'torch', 'numpy', 'huggingface_hub', 'modelscope_hub'} & set(sys.modules)))\n"
        "cli.set_environment = watch\n"
        "cli.main(['--version'])"
    )
    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert told.stdout.splitlines()[0] == "[]"
