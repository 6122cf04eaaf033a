"""Arguments and options that several commands take."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])

STORY = click.argument("story")
OUT = click.option(
    "-o", "--out", type=click.Path(path_type=Path, file_okay=False), help="Run folder [KOLORA_OUT, else out/NAME]."
)
SET = click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key of the story: lora.steps=50."
)
OFFLINE = click.option("--offline", is_flag=True, help="Do not use the network [KOLORA_OFFLINE].")
DEVICE = click.option(
    "--device", type=click.Choice(["cuda", "cpu"]), help="Where to compute [a GPU where there is one]."
)


YES_LARGE = click.option(
    "--yes-large", is_flag=True, help="Also what is estimated to take over a day [KOLORA_YES_LARGE]."
)


def lock_options(command: Command) -> Command:
    """Add ``--lock``, ``--no-lock`` and ``--accept-environment``."""
    path = click.Path(path_type=Path, dir_okay=False)
    # In reverse: click shows the option that was added last first.
    for option in (
        click.option(
            "--accept-environment",
            is_flag=True,
            help="Go on where packages, device or image are not the lock's; inputs must be.",
        ),
        click.option("--no-lock", is_flag=True, help="Ignore a lock beside the story."),
        click.option("--lock", type=path, help="Hold to this lock [STORY's: story.lock.yaml beside it]."),
    ):
        command = option(command)
    return command
