"""Finding the story a command line names, and the folders it may use."""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from kolora.errors import InputAbsent, UsageError
from kolora.hubs.store import NO_PINS, Pins
from kolora.inputs import ResolvedInputs, check_paths, paths_of, resolve_inputs
from kolora.spec import Story, load_story

SHIPPED = Path(str(files("kolora") / "specs"))
OUT_VOLUME = Path("/out")
CACHE_VOLUME = Path("/cache")
LARGEST_STORY = 2**20
"""Bytes read of a story at most; what is longer is refused by the reader of stories."""


@dataclass(frozen=True)
class LoadedStory:
    """A story as found: what it says, its bytes, the folder its relative paths start from, and its file, if any."""

    story: Story
    source: bytes
    base: Path
    overrides: tuple[str, ...]
    path: Path | None = None


def find_story(name: str, overrides: Sequence[str]) -> LoadedStory:
    """Read the story that ``name`` means: a file, ``-`` for standard input, or a shipped spec.

    A relative name is looked for in the working directory, in /out, and among the shipped specs.
    """
    if name == "-":
        source, base, shown = sys.stdin.buffer.read(LARGEST_STORY + 1), Path.cwd(), "standard input"
        path = None
    else:
        path = _find(name)
        base, shown = path.parent, str(path)
        with path.open("rb") as file:
            source = file.read(LARGEST_STORY + 1)
    return LoadedStory(load_story(source, name=shown, overrides=overrides), source, base, tuple(overrides), path)


def inputs_of(given: LoadedStory, *, out: Path, strict: bool = True, pins: Pins = NO_PINS) -> ResolvedInputs:
    """Find what a story stands on."""
    return resolve_inputs(
        given.story,
        base=given.base,
        cache=cache_folder(),
        roots=_roots(given, out),
        strict=strict,
        pins=pins,
    )


def check_paths_of(given: LoadedStory, *, out: Path) -> None:
    """Refuse a path that a story may not use or that leads nowhere, before anything is downloaded for it."""
    check_paths(given.story, base=given.base, cache=cache_folder(), roots=_roots(given, out))


def _roots(given: LoadedStory, out: Path) -> Sequence[Path]:
    """List the folders that a story's paths may lead into; one from ``--set`` may lead anywhere."""
    overridden = tuple(f"{each.partition('=')[0].strip()}." for each in given.overrides)
    named = [given.base / path for key, path in paths_of(given.story).items() if f"{key}.".startswith(overridden)]
    roots = [Path(each) for each in os.environ.get("KOLORA_ROOTS", "").split(os.pathsep) if each]
    return [Path.cwd(), out, *roots, *named]


def out_folder(given: Story, chosen: Path | None) -> Path:
    """Choose OUT: what was asked for, else KOLORA_OUT (the image sets it to /out), else out/<name>."""
    if chosen is not None:
        return chosen
    named = os.environ.get("KOLORA_OUT")
    return Path(named) if named else Path("out") / given.name


def cache_folder() -> Path:
    """Choose the cache: KOLORA_CACHE, else the volume /cache where it is mounted, else the user's own."""
    named = os.environ.get("KOLORA_CACHE")
    if named:
        return Path(named)
    return CACHE_VOLUME if CACHE_VOLUME.is_dir() else Path.home() / ".cache" / "kolora"


def kernel_folder() -> Path:
    """Choose where compiled kernels are kept: in the cache, else in a folder that goes when this process does.

    Their launchers load into one kind of Python alone, which Triton does not tell apart. No name under TMPDIR is one
    that others could guess, and put their code there first.
    """
    folder = cache_folder().absolute() / "triton" / str(sysconfig.get_config_var("SOABI"))
    if os.access(next(each for each in (folder, *folder.parents) if os.path.lexists(each)), os.W_OK | os.X_OK):
        return folder
    fleeting = tempfile.mkdtemp(prefix="kolora-triton-")
    atexit.register(shutil.rmtree, fleeting, ignore_errors=True)
    return Path(fleeting)


def _find(name: str) -> Path:
    given = Path(name)
    places = [given] if given.is_absolute() else [Path.cwd() / given, OUT_VOLUME / given, SHIPPED / given]
    if given.suffix == "" and given.parent == Path():
        places.append(SHIPPED / f"{name}.yaml")
    for place in places:
        if place.is_file():
            return place
        if place.is_dir() and (place / "story.yaml").is_file():
            return place / "story.yaml"
    if given.suffix and given.suffix not in (".yaml", ".yml"):
        raise UsageError(f"{name!r} is no story file and no command", hint="kolora --help")
    shipped = ", ".join(sorted(path.stem for path in SHIPPED.glob("*.yaml")))
    raise InputAbsent(
        f"there is no story {name!r} here, in {OUT_VOLUME}, or among the shipped ones ({shipped})",
        hint="kolora new writes a story to start from",
    )
