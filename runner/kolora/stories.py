"""Stories as they are found: by file, by the name of a shipped one, on standard input, or as text."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import yaml

from kolora.errors import InputAbsent, UsageError
from kolora.files import is_file, is_folder
from kolora.hubs.store import NO_PINS, Pins
from kolora.inputs import ResolvedInputs, check_paths, paths_of, resolve_inputs
from kolora.places import cache_folder, owner_roots
from kolora.spec import Story, load_story
from kolora.spec.canonical import canonical
from kolora.spec.document import LARGEST_STORY

SHIPPED = Path(str(files("kolora") / "specs"))
_OUT_VOLUME = Path("/out")


@dataclass(frozen=True)
class LoadedStory:
    """A story as found: what it says, its bytes, the folder its relative paths start from, and its file, if any."""

    story: Story
    source: bytes
    base: Path
    overrides: tuple[str, ...] = ()
    path: Path | None = None

    @property
    def name(self) -> str:
        """What to call it on a command line."""
        if self.path is None:
            return "-"
        return self.path.name if self.base == SHIPPED else str(self.path)

    @property
    def source_name(self) -> str:
        """The name of its file; empty where it has none."""
        return self.path.name if self.path is not None else ""

    @property
    def has_name(self) -> bool:
        """Whether it says its name; others share the default."""
        return "name" in self.story.model_fields_set

    @property
    def text(self) -> str:
        """The source, as far as it is text."""
        return self.source.decode("utf-8", errors="replace")


def find_story(name: str, overrides: Sequence[str] = ()) -> LoadedStory:
    """Load the story that ``name`` means: a file, ``-`` for standard input, or a shipped spec.

    A relative name is looked for in the working directory, in /out, and among the shipped specs.
    """
    if name == "-":
        # One byte more than is allowed, so that the reader sees that it is too long, and an endless pipe ends.
        source = sys.stdin.buffer.read(LARGEST_STORY + 1)
        return LoadedStory(
            load_story(source, name="standard input", overrides=overrides), source, Path.cwd(), tuple(overrides)
        )
    path = _find(name)
    with path.open("rb") as file:
        source = file.read(LARGEST_STORY + 1)
    story = load_story(source, name=str(path), overrides=overrides)
    return LoadedStory(story, source, path.parent, tuple(overrides), path)


def load_text(text: str, overrides: Sequence[str] = ()) -> LoadedStory:
    """Load a story from its text; relative paths start from the working directory."""
    return LoadedStory(load_story(text, overrides=overrides), text.encode(), Path.cwd(), tuple(overrides))


def from_values(story: Story) -> LoadedStory:
    """Wrap a story that was made in Python; its source is written from it."""
    text = yaml.safe_dump(canonical(story), allow_unicode=True, sort_keys=False, width=120)
    return LoadedStory(story, text.encode(), Path.cwd())


def inputs_of(loaded: LoadedStory, *, out: Path, strict: bool = True, pins: Pins = NO_PINS) -> ResolvedInputs:
    """Resolve what a story uses from outside itself."""
    return resolve_inputs(
        loaded.story,
        base=loaded.base,
        cache=cache_folder(),
        roots=_roots(loaded, out),
        strict=strict,
        pins=pins,
    )


def check_paths_of(loaded: LoadedStory, *, out: Path) -> None:
    """Refuse a path that a story may not use or that leads nowhere, before anything is downloaded for it."""
    check_paths(loaded.story, base=loaded.base, cache=cache_folder(), roots=_roots(loaded, out))


def _roots(loaded: LoadedStory, out: Path) -> Sequence[Path]:
    """List the folders that a story's paths may lead into; one from ``--set`` may lead anywhere."""
    # The dots let `--set dataset=...` cover dataset.path, and keep a key from covering one that only begins like it.
    overridden = tuple(f"{each.partition('=')[0].strip()}." for each in loaded.overrides)
    named = [loaded.base / path for key, path in paths_of(loaded.story).items() if f"{key}.".startswith(overridden)]
    return [Path.cwd(), out, *owner_roots(), *named]


def _find(name: str) -> Path:
    given = Path(name)
    # Shipped stories last: a user's own file of such a name is the one that is meant.
    places = [given] if given.is_absolute() else [Path.cwd() / given, _OUT_VOLUME / given, SHIPPED / given]
    if given.suffix == "" and given.parent == Path():
        places.append(SHIPPED / f"{name}.yaml")
    for place in places:
        if is_file(place):
            return place
        if is_folder(place) and is_file(place / "story.yaml"):
            return place / "story.yaml"
    if given.suffix and given.suffix not in (".yaml", ".yml"):
        raise UsageError(f"unknown command or story {name!r}", hint="kolora --help")
    shipped = ", ".join(sorted(path.stem for path in SHIPPED.glob("*.yaml")))
    raise InputAbsent(
        f"unknown story {name!r}: not in this folder, not in {_OUT_VOLUME}, not among the shipped ones ({shipped})",
        hint="kolora new writes a story to start from",
    )
