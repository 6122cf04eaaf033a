"""The command that sets two runs side by side."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import click

from kolora.report.diff import read_difference, write_difference
from kolora.report.formats import number
from kolora.report.pages import shortened, yaml_value
from kolora.report.words import WORDS

SHOWN_LETTERS = 60
FOLDER = click.Path(path_type=Path, file_okay=False)


@click.command()
@click.argument("one", type=FOLDER, metavar="OUT_A")
@click.argument("other", type=FOLDER, metavar="OUT_B")
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default="diff.html",
    show_default=True,
    help="The page that shows both.",
)
def diff(one: Path, other: Path, out: Path) -> None:
    """Set the runs of OUT_A and OUT_B side by side: settings, scores, pictures."""
    difference = read_difference(one, other)
    for changed in difference.settings:
        values = [
            shortened(yaml_value(each.value), SHOWN_LETTERS) if each else "not set"
            for each in (changed.one, changed.other)
        ]
        click.echo(f"{changed.key}: {values[0]} -> {values[1]}")
    if not difference.settings:
        click.echo("both stories say the same")
    for score in difference.scores:
        unit = " s" if score.name == "total" else ""
        values = ["-" if each is None else f"{number(each)}{unit}" for each in (score.one, score.other)]
        change = "" if score.change is None else f" ({score.change:+.3g}{unit})"
        click.echo(f"{WORDS['en'][score.name]}: {values[0]} -> {values[1]}{change}")
    states = Counter(pair.state for pair in difference.scenes)
    click.echo(
        f"pictures: {states['identical']} identical, {states['different']} different, {states['one_sided']} not in both"
    )
    aside = write_difference(difference, one, other, out)
    if aside is not None:
        click.echo(f"note: {out} was no such page, and is now {aside}", err=True)
    click.echo(f"side by side: {out}")
