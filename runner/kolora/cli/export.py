"""kolora export: a finished run as files that other tools load, or as the contest's submission."""

from __future__ import annotations

from pathlib import Path

import click

from kolora.errors import UsageError
from kolora.export.finished import read_finished
from kolora.export.submission import pack_submission
from kolora.export.tools import TOOLS, export_for
from kolora.files import writing
from kolora.runfolder.layout import EXPORT
from kolora.signatures import read_signing_key

TEAM = click.option("--team", help="Team that submits it [the story's].")
PRACTICE = click.option("--practice", is_flag=True, help="Pack pocket's pictures, as the exercise that they are.")
SIGN = click.option("--sign", type=click.Path(path_type=Path), metavar="KEY", help="Sign with this ssh-ed25519 key.")


@click.command()
@click.argument("out", type=click.Path(path_type=Path, file_okay=False))
@click.option("--to", "goal", type=click.Choice([*TOOLS, "submission"]), required=True, help="What it is for.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder [OUT/export/TOOL; OUT/export for a submission].",
)
@TEAM
@PRACTICE
@SIGN
def export(out: Path, goal: str, output: Path | None, team: str | None, practice: bool, sign: Path | None) -> None:
    """Write what another tool loads of the run in OUT, or the contest's folder and zip."""
    for option, given in (("--practice", practice), ("--sign", sign)):
        if given and goal != "submission":
            raise UsageError(f"{option} is for a submission, not for {goal}", hint=f"--to submission {option}")
    # Read first: a key of the wrong kind is told before anything is written.
    key = read_signing_key(sign) if sign else None
    run = read_finished(out)
    into = output or out / EXPORT / ("" if goal == "submission" else goal)
    with writing(into):
        if goal == "submission":
            packed = pack_submission(run, into=into, team=team, practice=practice, key=key)
            paths: tuple[Path, ...] = (packed.folder, packed.archive)
        else:
            paths = export_for(goal, run, into=into)
    for path in paths:
        click.echo(str(path))
