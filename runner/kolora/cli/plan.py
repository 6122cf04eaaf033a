"""kolora validate, plan and fetch: what is known of a story before it runs."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from kolora.cli.console import console_for, plan_lines
from kolora.cli.memory import MEMORY, memory_lines
from kolora.cli.options import OUT, SET, STORY
from kolora.device import find_device
from kolora.errors import UsageError
from kolora.execution.downloads import download_for, requests_of
from kolora.execution.duration import duration_text, estimate_seconds
from kolora.execution.locks import find_lock
from kolora.execution.signals import Halt
from kolora.hubs.hub import HUBS
from kolora.hubs.store import RepoRequest
from kolora.inputs import ResolvedInputs
from kolora.limits import MAX_HOURS
from kolora.places import cache_folder, is_offline, out_folder
from kolora.planning import Decision
from kolora.session import plan_in_detail
from kolora.stories import LoadedStory, find_story
from kolora.tokens import TOKEN_LIMIT, count_tokens


@click.command()
@STORY
@SET
def validate(story: str, overrides: tuple[str, ...]) -> None:
    """List every problem of STORY at once, with line and column."""
    loaded = find_story(story, overrides).story
    click.echo(f"{story} is a valid story: {loaded.title or loaded.name}, {len(loaded.scenes)} scenes")


@click.command()
@STORY
@OUT
@SET
@MEMORY
def plan(story: str, out: Path | None, overrides: tuple[str, ...], memory: float | None) -> None:
    """Show what a run of STORY would do, and why."""
    loaded = find_story(story, overrides)
    planned = plan_in_detail(loaded, out=out)
    resolved = planned.resolved
    for name, runs, reason in plan_lines(planned.decisions):
        click.echo(f"{'run ' if runs else 'keep'} {name:<36} {reason}")
    _show_tokens(loaded)
    for request in requests_of(loaded, pins=planned.lock.pins):
        click.echo(f"to download: {request.id} from {HUBS[request.hub].title}, {_size(request)}")
    for line in memory_lines(loaded.story, resolved, memory=memory):
        click.echo(f"memory: {line}")
    for line in duration_lines(planned.decisions, resolved):
        click.echo(line)
    for each in planned.lock.drift(resolved, device=find_device()) if not resolved.absent else ():
        click.echo(f"drifted from {planned.lock.name}: {each.message}")
    for problem in resolved.absent:
        click.echo(f"missing: {problem.error}\n  hint: {problem.hint}")


@click.command()
@STORY
@SET
def fetch(story: str, overrides: tuple[str, ...]) -> None:
    """Fill the cache with what STORY needs, and check whether the hubs have newer revisions; then --offline works."""
    if is_offline(False):
        raise UsageError("KOLORA_OFFLINE is set, and kolora fetch asks the hubs", hint="KOLORA_OFFLINE=0 kolora fetch")
    loaded = find_story(story, overrides)
    active_lock = find_lock(loaded, out=out_folder(loaded.story.name, None))
    console, halt = console_for(sys.stdout), Halt()
    try:
        with halt.listening():
            download_for(loaded, on_event=console.on_event, halt=halt, refresh=True, pins=active_lock.pins)
    finally:
        console.close()
    # As JSON where the lines before it were.
    console.say(f"the cache {cache_folder()} has all that {loaded.story.name} needs")


def duration_lines(decisions: Sequence[Decision], resolved: ResolvedInputs) -> Iterator[str]:
    """Say how long a run may take, and what it asks for where that is longer than the owner allows."""
    checkpoint = resolved.checkpoint if resolved.inputs.checkpoint != "absent" else None
    device = find_device()
    seconds = estimate_seconds(decisions, checkpoint, device=device)
    if seconds:
        # --memory asks about another card, and the time is still this machine's.
        machine = "this machine" if device == "cuda" else "this machine, without a GPU"
        yield f"time on {machine}, estimated by operations: {duration_text(seconds)}"
    if seconds > MAX_HOURS.value * 3600:
        yield f"that is more than {MAX_HOURS}: a run of it asks for --yes-large"


def _show_tokens(loaded: LoadedStory) -> None:
    counts = [count_tokens(scene.prompt) for scene in loaded.story.scenes]
    click.echo(f"tokens per prompt, at most {TOKEN_LIMIT}: {', '.join(map(str, counts))}")
    for number, count in enumerate(counts, 1):
        if count > TOKEN_LIMIT:
            click.echo(f"scene {number} has {count} tokens: the last {count - TOKEN_LIMIT} are cut off")


def _size(request: RepoRequest) -> str:
    return "size unknown" if request.about is None else f"about {request.about / 1e9:.1f} GB"
