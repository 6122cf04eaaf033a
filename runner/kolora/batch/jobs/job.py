"""What every service is asked for: the image, the stories, how many tasks share them, and the rules of retrying."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

RETRYABLE = (69, 75, 143)
"""Exit codes that a retry can cure: a hub that did not answer; a stop, saved; a signal before kolora could hear it."""
RETRIES = 5
GRACE_SECONDS = 30
"""Between a service's signal and its kill; kolora needs ten."""
HOURS = 24
CPUS, MEMORY_GIB, DISK_GIB = 4, 32, 200
"""Of a task. Kolors' text encoder is read by way of the processor's memory: 12.5 GB."""
UID, GID = 1000, 0
"""A user without rights, and the group that the image's folders are open to."""
STORIES = "/stories"
"""Where a task finds the stories."""


@dataclass(frozen=True)
class Job:
    """A job of one or more tasks.

    name: lower-case letters, digits and hyphens. stories: texts by file name; a shipped story needs no text (None).
    tasks: how many share the stories. out, cache: what the service calls the volumes.
    """

    name: str
    image: str
    stories: Mapping[str, str | None]
    tasks: int
    out: str
    cache: str

    @property
    def variables(self) -> dict[str, str]:
        """What to tell a task by its environment: the image's digest, where the image is named by it."""
        _, _, digest = self.image.partition("@")
        return {"KOLORA_IMAGE_DIGEST": digest} if digest else {}

    @property
    def texts(self) -> dict[str, str]:
        """The stories that have to be brought along."""
        return {name: text for name, text in self.stories.items() if text is not None}

    def arguments(self, folder: str = STORIES) -> list[str]:
        """Give kolora's command line, the stories lying in ``folder``."""
        paths = [name if text is None else f"{folder}/{name}" for name, text in self.stories.items()]
        command = ["run"] if len(paths) == 1 else ["batch"]
        return [*command, *paths, "--out", f"/out/{self.name}"]

    def line(self, folder: str = STORIES) -> str:
        """Give kolora's command line for a shell."""
        return shlex.join(["kolora", *self.arguments(folder)])


Files = dict[str, str]
"""Texts by the names of the files to write."""


def as_yaml(*documents: Mapping[str, Any], head: str) -> str:
    """Write YAML documents under a comment."""
    text = "---\n".join(_dump(document) for document in documents)
    return f"# {head}\n{text}"


def as_json(value: Mapping[str, Any]) -> str:
    """Write JSON as people read it."""
    return json.dumps(value, ensure_ascii=False, indent=2) + "\n"


class _Dumper(yaml.SafeDumper):
    """Texts of several lines as blocks."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def _dump(document: Mapping[str, Any]) -> str:
    return yaml.dump(document, Dumper=_Dumper, allow_unicode=True, sort_keys=False, width=120)
