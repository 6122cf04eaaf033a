"""The command line: the only package that prints, configures logging or exits."""

from __future__ import annotations

import json
import logging
import sys
import traceback
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import click

from kolora.cli.batch import batch
from kolora.cli.bench import bench_table
from kolora.cli.cache import cache
from kolora.cli.console import print_error
from kolora.cli.diff import diff
from kolora.cli.doctor import diagnose
from kolora.cli.emit import emit
from kolora.cli.export import export
from kolora.cli.options import DEVICE
from kolora.cli.plan import fetch, plan, validate
from kolora.cli.publish import publish
from kolora.cli.run import run
from kolora.cli.streams import guard_streams
from kolora.cli.verify import verify_command
from kolora.device import find_device
from kolora.environment import keep_kernels, set_environment
from kolora.errors import InputAbsent, KoloraError, UsageError
from kolora.execution.signals import say_farewell
from kolora.files import REFUSED, is_file, writing
from kolora.hubs.catalogue import POCKET
from kolora.places import kernel_folder
from kolora.report import report_json_schema
from kolora.runfolder import layout
from kolora.runfolder.store import RunFolder
from kolora.session import write_and_seal
from kolora.spec import new_story, story_json_schema
from kolora.spec.words import nearest
from kolora.version import __version__


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
            f"unknown command {words[0]!r}", hint=f"kolora {nearest(words[0], kolora.commands) or '--help'}"
        )


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="kolora")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def kolora(debug: bool) -> None:
    """Turn one story file into a finished, checkable picture story.

    STORY is a file, - for standard input, or the name of a shipped story such as quickstart.
    """


@kolora.command()
@click.argument("out", type=click.Path(path_type=Path, file_okay=False))
def report(out: Path) -> None:
    """Render the reports of the run folder OUT again, from its records."""
    if not is_file(out / layout.RUN_RECORD):
        raise InputAbsent(
            f"{out} is not a run folder: it has no {layout.RUN_RECORD}", hint="kolora report out/quickstart"
        )
    for path in write_and_seal(out, seal=RunFolder(out).is_sealed()):
        click.echo(str(path))


@kolora.command()
@click.argument("path", type=click.Path(path_type=Path, dir_okay=False), default="story.yaml")
@click.option("--language", type=click.Choice(["zh", "en"]), default="zh", show_default=True)
def new(path: Path, language: Literal["zh", "en"]) -> None:
    """Write a commented story to start from."""
    with writing(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            # Made here and now: a link that leads to nothing yet would be written through.
            with path.open("x", encoding="utf-8") as file:
                file.write(new_story(language))
        except FileExistsError as problem:
            raise UsageError(
                f"{path} already exists and is not overwritten", hint="kolora new another.yaml"
            ) from problem
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
@DEVICE
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
        raise UsageError(f"--size {size} is not a multiple of 64", hint="kolora bench --size 1024")
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
    """Check this machine: what works, what does not, and what to do."""
    for is_well, what, cure in diagnose():
        click.echo(f"{'ok  ' if is_well else 'warn'} {what}" + ("" if is_well else f" - {cure}"))


for command in (run, validate, plan, fetch):
    kolora.add_command(command)
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
    # Before anything can fail: from here on nothing reaches the terminal or a log but through these.
    guard_streams()
    # Before anything heavy loads: hubs' clients and CUDA read their variables once, when they start.
    set_environment()
    keep_kernels(kernel_folder)
    _quieten()
    say_farewell(print_error)
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
        print_error(problem)
        return problem.code
    except click.exceptions.NoArgsIsHelpError as asked:
        click.echo(asked.format_message(), err=True)
        return UsageError.code
    except click.ClickException as problem:
        print_error(UsageError(problem.format_message(), hint="kolora --help"))
        return UsageError.code
    except click.Abort:
        return 75
    except SystemExit:
        # click leaves so where who read our output has gone, as `head` does, and puts a deaf stdout in its place.
        if sys.stdout is stdout:
            raise
        return 0
    except Exception as problem:
        refused = _as_refused(problem)
        _trace(given, always=refused is None)
        print_error(
            refused
            or KoloraError(f"this is a bug of kolora: {type(problem).__name__}: {problem}", hint="please report it")
        )
        return refused.code if refused else KoloraError.code
    return 0


def _as_refused(problem: Exception) -> KoloraError | None:
    """Return the error that says that the system refuses a file, where that is what happened: no bug of ours."""
    if not isinstance(problem, OSError) or problem.errno not in REFUSED or problem.filename is None:
        return None
    return InputAbsent(f"{problem.filename} cannot be used: {problem.strerror}", hint="check its name and its rights")


def _trace(given: list[str], *, always: bool = False) -> None:
    if always or "--debug" in given:
        traceback.print_exc()


def _quieten() -> None:
    """Keep libraries' chatter out of the output; warnings and errors still come through."""
    warnings.filterwarnings("ignore", message=r"`isinstance\(treespec, LeafSpec\)` is deprecated")
    warnings.filterwarnings("ignore", message="The pynvml package is deprecated", category=FutureWarning)
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")
