"""Folders for other tools: the file each looks for, and graphs that name the LoRA they come with."""

from __future__ import annotations

import errno
import json
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO

import pytest
from kolora.folders import Folder

from tests.commands import left


@pytest.mark.parametrize(
    ("tool", "name", "source"),
    [
        ("diffusers", "pytorch_lora_weights.safetensors", "pytorch_lora_weights.safetensors"),
        ("kohya", "tiny.safetensors", "kohya.safetensors"),
        ("diffsynth", "tiny.safetensors", "diffsynth.safetensors"),
    ],
)
def test_a_tool_gets_its_file(finished: Path, tmp_path: Path, tool: str, name: str, source: str) -> None:
    for _ in range(2):
        assert left("export", finished, "--to", tool, "-o", tmp_path / "for") == 0
    assert [path.name for path in (tmp_path / "for").iterdir()] == [name]
    assert (tmp_path / "for" / name).read_bytes() == (finished / "lora" / source).read_bytes()
    assert not (tmp_path / "for" / name).samefile(finished / "lora" / source)


def test_comfyui_gets_graphs_and_the_lora_they_name(finished: Path, tmp_path: Path) -> None:
    assert left("export", finished, "--to", "comfyui", "-o", tmp_path / "for") == 0
    assert {path.name for path in (tmp_path / "for").glob("*.json")} == {
        "story.json",
        *(f"{number:02d}.json" for number in range(1, 9)),
    }
    (lora,) = (tmp_path / "for" / "models" / "loras").iterdir()
    assert lora.read_bytes() == (finished / "lora" / "kohya.safetensors").read_bytes()
    for path in (tmp_path / "for").glob("*.json"):
        graph = json.loads(path.read_text(encoding="utf-8"))
        loaders = [node["inputs"] for node in graph.values() if node["class_type"] == "LoraLoaderModelOnly"]
        assert {inputs["lora_name"] for inputs in loaders} == {lora.name}
        assert len(loaders) == (8 if path.name == "story.json" else 1)
    second = json.loads((tmp_path / "for" / "02.json").read_text(encoding="utf-8"))
    assert "一只小猫，｛第2幕|?｝" in [node["inputs"].get("text") for node in second.values()]


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES, errno.EPERM])
@pytest.mark.parametrize("tool", ["diffusers", "kohya", "diffsynth", "comfyui"])
def test_a_run_that_is_mounted_to_be_read_is_exported_elsewhere(
    out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tool: str, code: int
) -> None:
    replacing = Folder.replacing

    def refuse(self: Folder, name: str, **options: str | None) -> AbstractContextManager[IO[bytes]]:
        if self.path == out:
            raise OSError(code, "not to be written", name)
        return replacing(self, name, **options)

    monkeypatch.setattr(Folder, "replacing", refuse)
    assert left("export", out, "--to", tool, "-o", tmp_path / "for") == 0
    assert any(path.suffix == ".safetensors" for path in (tmp_path / "for").rglob("*"))


def test_exports_lie_in_the_run_folder_and_break_no_promise(out: Path) -> None:
    before = (out / "manifest.sha256").read_bytes()
    assert left("export", out, "--to", "diffusers") == 0
    assert (out / "export" / "diffusers" / "pytorch_lora_weights.safetensors").is_file()
    assert left("report", out) == 0
    assert (out / "manifest.sha256").read_bytes() == before


def test_only_a_complete_run_is_exported(out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert left("export", tmp_path, "--to", "kohya") == 66
    assert "is not a run folder" in capsys.readouterr().err
    (out / "manifest.sha256").unlink()
    assert left("export", out, "--to", "kohya") == 65
    assert "only a complete one" in capsys.readouterr().err
    assert not (out / "export").exists()
