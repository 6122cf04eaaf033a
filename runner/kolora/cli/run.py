"""kolora run: everything that a story says."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal

import click

from kolora.cli.console import console_for
from kolora.cli.options import DEVICE, OFFLINE, OUT, SET, STORY, YES_LARGE, lock_options
from kolora.session import run as run_session
from kolora.stories import find_story


@click.command()
@STORY
@OUT
@SET
@click.option("--until", metavar="STEP", help="Stop after this step or stage, as plan names it.")
@click.option("--fresh", is_flag=True, help="Forget all earlier results.")
@click.option("--force", "forced", multiple=True, metavar="STEP", help="Run this step or stage in any case.")
@OFFLINE
@DEVICE
@lock_options
@YES_LARGE
def run(
    story: str,
    out: Path | None,
    overrides: tuple[str, ...],
    until: str | None,
    fresh: bool,
    forced: tuple[str, ...],
    offline: bool,
    device: Literal["cuda", "cpu"] | None,
    lock: Path | None,
    no_lock: bool,
    accept_environment: bool,
    yes_large: bool,
) -> None:
    """Do everything STORY says; what is done already is kept."""
    loaded = find_story(story, overrides)
    console = console_for(sys.stdout)
    try:
        finished = run_session(
            loaded,
            out=out,
            device=device,
            on_event=console.on_event,
            until=until,
            fresh=fresh,
            forced=forced,
            offline=offline,
            lock=lock,
            ignore_lock=no_lock,
            accept_environment=accept_environment,
            handle_signals=True,
            yes_large=yes_large,
            command=("kolora", *click.get_current_context().find_root().obj),
        )
    finally:
        console.close()
    root = finished.folder
    if finished.worked:
        console.say(f"the report is {finished.report}", out=str(root))
    else:
        console.say(f"nothing to do: {root} is complete", out=str(root))
