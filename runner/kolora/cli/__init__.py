"""The command line: the only package that prints, configures logging or exits."""

from __future__ import annotations

import contextlib
import json
import logging
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import click

from kolora.artifacts import RunFolder, writing
from kolora.cli.batch import batch
from kolora.cli.bench import bench_table
from kolora.cli.cache import cache
from kolora.cli.console import Teller, complain, plan_lines, teller
from kolora.cli.diff import diff
from kolora.cli.doctor import diagnose
from kolora.cli.downloads import bring, is_offline, to_download
from kolora.cli.emit import emit
from kolora.cli.export import export
from kolora.cli.locks import held_lock, lock_options
from kolora.cli.memory import MEMORY, memory_lines
from kolora.cli.publish import publish
from kolora.cli.stories import (
    LoadedStory,
    cache_folder,
    check_paths_of,
    find_story,
    inputs_of,
    kernel_folder,
    out_folder,
)
from kolora.cli.verify import verify_command
from kolora.device import find_device
from kolora.environment import go_offline, keep_kernels, set_environment
from kolora.errors import InputAbsent, KoloraError, UsageError
from kolora.execute import check_before_download, decisions_of, record_unbegun, run_story
from kolora.hubs.catalogue import POCKET
from kolora.hubs.store import NO_PINS, Pins
from kolora.plan import STAGES, scene_step
from kolora.report import report_json_schema, write_report
from kolora.spec import new_story, story_json_schema
from kolora.spec.words import nearest
from kolora.tokens import TOKEN_LIMIT, count_tokens
from kolora.version import __version__

STORY = click.argument("story")
OUT = click.option(
    "-o", "--out", type=click.Path(path_type=Path, file_okay=False), help="Run folder [KOLORA_OUT, else out/NAME]."
)
SET = click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key of the story: lora.steps=50."
)


class _Commands(click.Group):
    """``kolora STORY`` is ``kolora run STORY``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        first = next((index for index, each in enumerate(args) if each == "-" or not each.startswith("-")), None)
        if first is not None and args[first] not in self.commands:
            _refuse_misspelt(args[first:])
            args = [*args[:first], "run", *args[first:]]
        return super().parse_args(ctx, args)


def _refuse_misspelt(words: Sequence[str]) -> None:
    """Raise UsageError where the first word can only be meant as a command, as another follows it."""
    if len(words) > 1 and not words[1].startswith("-"):
        raise UsageError(
            f"{words[0]!r} is no command of kolora", hint=f"kolora {nearest(words[0], kolora.commands) or '--help'}"
        )


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="kolora")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def kolora(debug: bool) -> None:
    """Turn one story file into a finished, checkable picture story.

    STORY is a file, - for standard input, or the name of a shipped story such as quickstart.
    """


@kolora.command()
@STORY
@OUT
@SET
@click.option("--until", type=click.Choice(list(STAGES)), help="Stop after this stage.")
@click.option("--fresh", is_flag=True, help="Forget all earlier results.")
@click.option("--force", "forced", multiple=True, metavar="STEP", help="Run this step or stage in any case.")
@click.option("--offline", is_flag=True, help="Use the network for nothing [KOLORA_OFFLINE].")
@click.option("--device", type=click.Choice(["cuda", "cpu"]), help="Where to compute [a GPU where there is one].")
@lock_options
def run(
    story: str,
    out: Path | None,
    overrides: tuple[str, ...],
    until: str | None,
    fresh: bool,
    forced: tuple[str, ...],
    offline: bool,
    device: str | None,
    lock: Path | None,
    no_lock: bool,
    accept_environment: bool,
) -> None:
    """Do everything STORY says; what is done already is kept."""
    given = find_story(story, overrides)
    root = out_folder(given.story, out)
    held = held_lock(given, out=root, chosen=lock, ignored=no_lock)
    folder = RunFolder(root)
    source = given.source.decode("utf-8", errors="replace")
    command = ["kolora", *click.get_current_context().find_root().obj]
    tell = teller(sys.stdout)
    device = find_device(device)
    if is_offline(offline):
        go_offline()
    try:
        check_paths_of(given, out=root)
        check_before_download(given.story, cache=cache_folder(), device=device, until=until)
        if not is_offline(offline):
            _bring(given, tell, pins=held.pins)
        found = inputs_of(given, out=root, pins=held.pins)
    except KoloraError as problem:
        with _second_to(problem):
            if record_unbegun(given.story, folder, problem, source=source, command=command):
                write_report(root)
        raise
    held.refuse(found, device=device, accept_environment=accept_environment)
    held.take_numerics(device=device)
    steps = set(STAGES)
    for stage in STAGES:
        steps |= {scene_step(stage, number) for number in range(1, len(given.story.scenes) + 1)}
    unknown = [each for each in forced if each not in steps]
    if unknown:
        raise UsageError(
            f"--force {unknown[0]} is no step of this story", hint=f"give a stage ({', '.join(STAGES)}) or render-01"
        )
    try:
        worked = run_story(
            found,
            source=source,
            folder=folder,
            device=device,
            listener=tell,
            until=until,
            command=command,
            fresh=fresh,
            forced=forced,
            overrides=overrides,
        )
        if not worked:
            tell.say(f"nothing to do: {root} is complete", out=str(root))
            return
    except Exception as problem:
        if (folder.records / "run.json").is_file():
            with _second_to(problem):
                write_report(root)
        raise
    finally:
        tell.close()
    with writing(root):
        write_report(root)
        if until is None:
            folder.seal()
    tell.say(f"the report is {root / 'report.html'}", out=str(root))


def _bring(given: LoadedStory, tell: Teller, *, refresh: bool = False, pins: Pins = NO_PINS) -> None:
    try:
        bring(given, tell, refresh=refresh, pins=pins)
    finally:
        tell.close()


@contextlib.contextmanager
def _second_to(problem: Exception) -> Iterator[None]:
    """Report a run that failed; if that fails too, the first problem is the one to tell, with a note of the second."""
    try:
        yield
    except Exception as second:
        problem.add_note(f"the report could not be written either: {second}")


@kolora.command()
@STORY
@SET
def validate(story: str, overrides: tuple[str, ...]) -> None:
    """Tell every problem of STORY at once, with line and column."""
    given = find_story(story, overrides)
    click.echo(f"{story} is a valid story: {given.story.title or given.story.name}, {len(given.story.scenes)} scenes")


@kolora.command()
@STORY
@OUT
@SET
@MEMORY
def plan(story: str, out: Path | None, overrides: tuple[str, ...], memory: float | None) -> None:
    """Show what a run of STORY would do, and why."""
    given = find_story(story, overrides)
    root = out_folder(given.story, out)
    held = held_lock(given, out=root, chosen=None, ignored=False)
    found = inputs_of(given, out=root, strict=False, pins=held.pins)
    for name, runs, reason in plan_lines(decisions_of(found, RunFolder(root))):
        click.echo(f"{'run ' if runs else 'keep'} {name:<22} {reason}")
    counts = [count_tokens(scene.prompt) for scene in given.story.scenes]
    click.echo(f"tokens of {TOKEN_LIMIT} a prompt: {', '.join(map(str, counts))}")
    for number, count in enumerate(counts, 1):
        if count > TOKEN_LIMIT:
            click.echo(f"scene {number} has {count} tokens: the last {count - TOKEN_LIMIT} are not read")
    for line in to_download(given, pins=held.pins):
        click.echo(f"to download: {line}")
    for line in memory_lines(given.story, found, memory=memory):
        click.echo(f"memory: {line}")
    for each in held.drift(found, device=find_device()) if not found.absent else ():
        click.echo(f"drifted from {held.name}: {each.what}")
    for problem in found.absent:
        click.echo(f"absent: {problem.error}\n  hint: {problem.hint}")


@kolora.command()
@STORY
@SET
def fetch(story: str, overrides: tuple[str, ...]) -> None:
    """Fill the cache with what STORY needs, and look whether it has moved on the hubs; then --offline works."""
    if is_offline(False):
        raise UsageError("KOLORA_OFFLINE is set, and kolora fetch asks the hubs", hint="KOLORA_OFFLINE=0 kolora fetch")
    given = find_story(story, overrides)
    held = held_lock(given, out=out_folder(given.story, None), chosen=None, ignored=False)
    _bring(given, teller(sys.stdout), refresh=True, pins=held.pins)
    click.echo(f"the cache {cache_folder()} has all that {given.story.name} needs")


@kolora.command()
@click.argument("out", type=click.Path(path_type=Path, file_okay=False))
def report(out: Path) -> None:
    """Render the reports of the run folder OUT again, from its records."""
    if not (out / "records" / "run.json").is_file():
        raise InputAbsent(f"{out} is no run folder: it has no records/run.json", hint="kolora report out/quickstart")
    folder = RunFolder(out)
    with writing(out):
        was_sealed = folder.is_sealed()
        paths = write_report(out)
        if was_sealed:
            folder.seal()
    for path in paths:
        click.echo(str(path))


@kolora.command()
@click.argument("path", type=click.Path(path_type=Path, dir_okay=False), default="story.yaml")
@click.option("--language", type=click.Choice(["zh", "en"]), default="zh", show_default=True)
def new(path: Path, language: Literal["zh", "en"]) -> None:
    """Write a commented story to start from."""
    if path.exists():
        raise UsageError(f"{path} is there already and is not overwritten", hint="kolora new another.yaml")
    with writing(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(new_story(language), encoding="utf-8")
    click.echo(f"{path} is written; next: kolora plan {path}")


@kolora.command()
@click.option("--report", "of_report", is_flag=True, help="The schema of report.json instead.")
def schema(of_report: bool) -> None:
    """Print the JSON Schema of a story, for editors."""
    known = report_json_schema() if of_report else story_json_schema()
    click.echo(json.dumps(known, ensure_ascii=False, indent=2))


@kolora.command()
@click.option("--json", "as_json", is_flag=True, help="Print the facts as JSON instead of a table.")
@click.option("--steps", type=click.IntRange(1), default=32, show_default=True, help="Training steps to time.")
@click.option("--render-steps", type=click.IntRange(1), help="Denoising steps of a picture [50; 10 on a CPU].")
@click.option("--size", type=click.IntRange(64), help="Side of the pictures, in pixels [1024; 256 on a CPU].")
@click.option("--batch-sizes", default="1,4", show_default=True, help="Pictures a training step, several sizes.")
@click.option(
    "--checkpoint",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Folder whose configs give the shapes [Kolors'; pocket's on a CPU].",
)
@click.option("--device", type=click.Choice(["cuda", "cpu"]), help="Where to compute [a GPU where there is one].")
def bench(
    as_json: bool,
    steps: int,
    render_steps: int | None,
    size: int | None,
    batch_sizes: str,
    checkpoint: Path | None,
    device: str | None,
) -> None:
    """Time this machine on the notebook's way and on kolora's, side by side, with made-up weights."""
    from kolora.benchmark.bench import bench as measure

    device = find_device(device)
    if not all(each.strip().isdecimal() and int(each) for each in batch_sizes.split(",")):
        raise UsageError(f"--batch-sizes is {batch_sizes!r}", hint="kolora bench --batch-sizes 1,4")
    if size is not None and size % 64:
        raise UsageError(f"--size {size} is no multiple of 64", hint="kolora bench --size 1024")
    on_gpu = device == "cuda"
    facts = measure(
        device=device,
        checkpoint=checkpoint or (None if on_gpu else POCKET),
        size=size or (1024 if on_gpu else 256),
        train_steps=steps,
        render_steps=render_steps or (50 if on_gpu else 10),
        batch_sizes=tuple(map(int, batch_sizes.split(","))),
        say=lambda what: click.echo(f"measuring {what}", err=True),
    )
    click.echo(json.dumps(facts, indent=2) if as_json else bench_table(facts), nl=as_json)


@kolora.command()
def doctor() -> None:
    """Tell what is right and wrong with this machine."""
    for is_well, what, cure in diagnose():
        click.echo(f"{'ok  ' if is_well else 'look'} {what}" + ("" if is_well else f" - {cure}"))


kolora.add_command(batch)
kolora.add_command(cache)
kolora.add_command(emit)
kolora.add_command(export)
kolora.add_command(publish)
kolora.add_command(verify_command)
kolora.add_command(diff)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and leave with the code that the contract promises."""
    given = sys.argv[1:] if arguments is None else arguments
    set_environment()
    keep_kernels(kernel_folder)
    _quieten()
    code = _exit_code(given)
    sys.stdout.flush()
    sys.stderr.flush()
    sys.exit(code)


def _exit_code(given: list[str]) -> int:
    stdout = sys.stdout
    try:
        kolora.main(given, prog_name="kolora", standalone_mode=False, obj=tuple(given))
    except KoloraError as problem:
        _trace(given)
        complain(problem)
        return problem.code
    except click.exceptions.NoArgsIsHelpError as asked:
        click.echo(asked.format_message(), err=True)
        return UsageError.code
    except click.ClickException as problem:
        complain(UsageError(problem.format_message(), hint="kolora --help"))
        return UsageError.code
    except click.Abort:
        return 75
    except SystemExit:
        # click leaves so where who read our output has gone, as `head` does, and puts a deaf stdout in its place.
        if sys.stdout is stdout:
            raise
        return 0
    except Exception as problem:
        _trace(given, always=True)
        complain(KoloraError(f"this is a bug of kolora: {type(problem).__name__}: {problem}", hint="please report it"))
        return KoloraError.code
    return 0


def _trace(given: list[str], *, always: bool = False) -> None:
    if always or "--debug" in given:
        traceback.print_exc()


def _quieten() -> None:
    """Keep libraries' chatter out of the output; warnings and errors still come through."""
    warnings.filterwarnings("ignore", message=r"`isinstance\(treespec, LeafSpec\)` is deprecated")
    warnings.filterwarnings("ignore", message="The pynvml package is deprecated", category=FutureWarning)
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")
    for name in ("lightning.pytorch.accelerators.cuda", "lightning.pytorch.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.WARNING)
