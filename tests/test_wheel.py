"""kolora as others install it: wheel and source archive are whole, and the wheel works away from the repository."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.stories import write_story

ROOT = Path(__file__).parents[1]
SOURCES = ("runner", "specs", "templates", "tests")
FILES = ("LICENSE", "MANIFEST.in", "README.md", "pyproject.toml")

GUARD = """
import os, sys

def refuse(event, arguments):
    if event == "open" and isinstance(arguments[0], str | bytes | os.PathLike):
        path = os.path.realpath(os.fsdecode(arguments[0]))
        if path.startswith({folders}):
            raise PermissionError(f"{{path}} is of the repository, not of the wheel")

sys.addaudithook(refuse)
"""
"""A sitecustomize.py: opening a file of the repository fails."""


@dataclass(frozen=True)
class Built:
    """What was built: the source archive, the wheel of the repository, and the wheel of the archive."""

    archive: Path
    wheel: Path
    wheel_of_archive: Path


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("built")
    copy = folder / "repository"
    for name in SOURCES:
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(ROOT / name, copy / name, symlinks=True, ignore=ignored)
    for name in FILES:
        shutil.copy(ROOT / name, copy / name)
    code = f"from setuptools import build_meta; build_meta.build_sdist({str(folder)!r})"
    subprocess.run([sys.executable, "-c", code], cwd=copy, check=True, capture_output=True)
    (archive,) = folder.glob("*.tar.gz")
    return Built(archive, _wheel(copy, folder / "wheel"), _wheel(archive, folder / "again"))


@pytest.fixture(scope="module")
def kolora(built, tmp_path_factory):
    """Runs kolora from the installed wheel; returns what it printed. It may open no file of the repository."""
    folder = tmp_path_factory.mktemp("installed")
    _pip("install", built.wheel, "--no-deps", "--no-index", "--no-compile", f"--target={folder / 'site'}")
    guard = folder / "guard" / "sitecustomize.py"
    guard.parent.mkdir()
    guard.write_text(GUARD.format(folders=tuple(f"{ROOT / name}/" for name in SOURCES)))
    path = os.pathsep.join([str(guard.parent), str(folder / "site")])
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}

    def run(*arguments):
        return subprocess.run(
            [sys.executable, "-P", *map(str, arguments)],
            cwd=folder,
            env=environment,
            check=True,
            capture_output=True,
            text=True,
        ).stdout

    assert run("-c", "import kolora.cli; print(kolora.cli.__file__)").startswith(str(folder / "site"))
    with pytest.raises(subprocess.CalledProcessError):
        run("-c", f"open({str(ROOT / 'specs' / 'quickstart.yaml')!r})")
    return lambda *arguments: run("-m", "kolora", *arguments)


def _wheel(source, folder):
    _pip("wheel", source, "--no-deps", "--no-build-isolation", f"--wheel-dir={folder}")
    (wheel,) = folder.glob("*.whl")
    return wheel


def _pip(command, *arguments):
    pip = [sys.executable, "-m", "pip", command, "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, *map(str, arguments)], check=True, capture_output=True)


def _names(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_the_wheel_holds_every_file_of_the_package_and_nothing_else(built):
    root = ROOT / "runner"
    expected = set()
    for folder, _, names in os.walk(root / "kolora", followlinks=True):
        paths = [(Path(folder) / name).relative_to(root) for name in names if not folder.endswith("__pycache__")]
        expected |= {path.as_posix() for path in paths}
    names = {name for name in _names(built.wheel) if ".dist-info/" not in name}
    assert names == expected
    assert {
        *("kolora/templates/report.html.j2", "kolora/templates/report.css", "kolora/specs/quickstart.yaml"),
        *("kolora/specs/story.schema.json", "kolora/spec/starter.zh.txt", "kolora/pocket/checkpoint/unet/config.json"),
    } < names


def test_the_source_archive_holds_real_files_and_no_tests(built):
    with tarfile.open(built.archive) as archive:
        members = archive.getmembers()
    inside = {member.name.partition("/")[2] for member in members}
    assert not [member.name for member in members if member.issym() or member.islnk()]
    assert {f"runner/{name}" for name in _names(built.wheel) if ".dist-info/" not in name} < inside
    assert {"LICENSE", "README.md", "pyproject.toml"} < inside
    assert not [name for name in inside if name.startswith("tests/")]


def test_the_source_archive_builds_the_same_wheel(built):
    assert _names(built.wheel_of_archive) == _names(built.wheel)


def test_the_installed_wheel_validates_a_shipped_story_and_prints_the_schema(kolora):
    assert "quickstart is a valid story" in kolora("validate", "quickstart")
    assert "scenes" in json.loads(kolora("schema"))["properties"]


def test_the_installed_wheel_runs_a_story_to_the_end_and_reports_it_again(kolora, tiny_checkpoint, tmp_path):
    story = write_story(tmp_path, tiny_checkpoint)
    kolora("run", story, "-o", tmp_path / "out")
    assert (tmp_path / "out" / "manifest.sha256").is_file()
    (tmp_path / "out" / "report.html").unlink()
    kolora("report", tmp_path / "out")
    assert "早晨" in (tmp_path / "out" / "report.html").read_text()
