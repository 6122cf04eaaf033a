"""Stories as they are found: by file, by the name of a shipped one, on standard input, or as text."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import yaml

from kolora.errors import InputAbsent, StoryInvalid, UsageError
from kolora.files import is_file, is_folder
from kolora.hubs.store import NO_PINS, Pins
from kolora.inputs import ResolvedInputs, check_paths, paths_of, resolve_inputs
from kolora.places import cache_folder, owner_roots
from kolora.redaction import find_secret
from kolora.spec import Story, load_story
from kolora.spec.canonical import canonical
from kolora.spec.document import LARGEST_STORY, decode
from kolora.spec.flat import flatten

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
        story = load_story(source, name="standard input", overrides=overrides)
        return _without_secrets(LoadedStory(story, source, Path.cwd(), tuple(overrides)), name="standard input")
    path = _find(name)
    with path.open("rb") as file:
        source = file.read(LARGEST_STORY + 1)
    story = load_story(source, name=str(path), overrides=overrides)
    return _without_secrets(LoadedStory(story, source, path.parent, tuple(overrides), path), name=str(path))


def load_text(text: str, overrides: Sequence[str] = ()) -> LoadedStory:
    """Load a story from its text; relative paths start from the working directory."""
    story = load_story(text, overrides=overrides)
    return _without_secrets(LoadedStory(story, text.encode(), Path.cwd(), tuple(overrides)), name="story")


def from_values(story: Story) -> LoadedStory:
    """Wrap a story that was made in Python; its source is written from it."""
    text = yaml.safe_dump(canonical(story), allow_unicode=True, sort_keys=False, width=120)
    return _without_secrets(LoadedStory(story, text.encode(), Path.cwd()), name="story")


def _without_secrets(loaded: LoadedStory, *, name: str) -> LoadedStory:
    """Return a story, or raise StoryInvalid where it holds a secret, a comment included.

    What it says goes into records, pages, pictures and submissions, and cannot be covered there without changing it.
    """
    text, values = decode(loaded.source), flatten(loaded.story.model_dump(mode="json"))
    found = find_secret("\n".join([text, *loaded.overrides, *map(str, values.values())]))
    if not found:
        return loaded
    places = [(f"--set {each.partition('=')[0]}", each) for each in loaded.overrides]
    places += [(f"line {number}", line) for number, line in enumerate(text.split("\n"), 1)]
    # Last, as the places above say more: YAML's escapes can spell what no line shows.
    places += [(key, str(value)) for key, value in values.items()]
    place = next((place for place, each in places if find_secret(each)), "the story")
    raise StoryInvalid(
        f"{name}: {place} holds {found}, and a story is handed on with all that is made of it",
        hint="take it out: tokens and passwords are read from the environment; replace one that was shared",
    )


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
