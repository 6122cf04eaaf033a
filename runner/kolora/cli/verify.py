"""kolora verify: draw somebody's submission again and say whether it is what it claims."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import click

from kolora.cli.console import console_for
from kolora.errors import VerifyDifferent
from kolora.execution.signals import Halt
from kolora.verification.contest import contest_lines
from kolora.verification.resolve import Folders
from kolora.verification.verify import Verification, verify

SHOWN = 5
FOLDER = click.Path(path_type=Path, file_okay=False, exists=True)


@click.command("verify")
@click.argument("submission", type=click.Path(path_type=Path))
@click.option("-o", "--out", type=click.Path(path_type=Path, file_okay=False), help="Folder [verify-NAME, beside out].")
@click.option(
    "--retrain/--no-retrain",
    default=None,
    help="Train again in any case, or in none [where the data set can be had here].",
)
@click.option("--checkpoint", type=FOLDER, help="Your folder for a story that names one; must be what the lock pins.")
@click.option("--dataset", type=FOLDER, help="Your folder of the pictures; must be what the lock pins.")
@click.option("--aesthetics", type=FOLDER, help="Your folder of the aesthetic predictor.")
@click.option("--clip", type=FOLDER, help="Your folder of CLIP.")
@click.option("--device", type=click.Choice(["cuda", "cpu"]), help="Where to compute [a GPU where there is one].")
@click.option("--signer", type=click.Path(path_type=Path), help="Demand the signature of a key in this file.")
@click.option("--json", "as_json", is_flag=True, help="Print verify.json.")
def verify_command(
    submission: Path,
    out: Path | None,
    retrain: bool | None,
    checkpoint: Path | None,
    dataset: Path | None,
    aesthetics: Path | None,
    clip: Path | None,
    device: Literal["cuda", "cpu"] | None,
    signer: Path | None,
    as_json: bool,
) -> None:
    """Do the run of SUBMISSION again: identical, equivalent or different (76).

    SUBMISSION is a run folder, or a submission's folder or zip; it is read, never trusted.
    """
    # With --json, stdout holds the JSON and nothing else.
    console, halt = console_for(sys.stderr if as_json else sys.stdout), Halt()
    try:
        with halt.listening():
            verified = verify(
                submission,
                out=out,
                device=device,
                folders=Folders(checkpoint, dataset, aesthetics, clip),
                retrain=retrain,
                signer=signer,
                on_event=console.on_event,
                halt=halt,
            )
    finally:
        console.close()
    if as_json:
        click.echo(json.dumps(verified.facts, ensure_ascii=False, indent=1))
    for line in contest_lines(verified.facts):
        console.say(line)
    console.say(_summary(verified), verdict=verified.verdict)
    if verified.verdict == "different":
        raise _different(submission, verified)


def _summary(verified: Verification) -> str:
    """Say the verdict in a line, and below it what was written over the story and what lowers the verdict."""
    facts = verified.facts
    again = facts["retrained"]
    trained = f"; trained again: {'the same' if again['same_lora'] else 'another'} LoRA" if again else ""
    lines = [f"{verified.verdict}{trained}; side by side: {verified.page}"]
    lines += _first([f"{each['key']} is not the story's: run with --set" for each in facts["overrides"]])
    if verified.verdict == "equivalent":
        lines.append("nothing speaks against it, but not everything could be checked here:")
        lines += _first(facts["unchecked"])
    return "\n  ".join(lines)


def _first(reasons: Sequence[str]) -> list[str]:
    """Return the first few reasons, and how many more there are."""
    more = [f"and {len(reasons) - SHOWN} more"] if len(reasons) > SHOWN else []
    return [*reasons[:SHOWN], *more]


def _different(submission: Path, verified: Verification) -> VerifyDifferent:
    """Say what makes a submission different, the first few reasons in full."""
    facts = verified.facts
    reasons = [each["what"] for each in facts["findings"] if each["verdict"] == "different"]
    for scene in facts["scenes"]:
        reasons += [f"scene {scene['number']}: {reason['what']}" for reason in scene["reasons"]]
    reasons += [f"grid: {reason['what']}" for reason in (facts["grid"] or {}).get("reasons", ())]
    reasons += (
        [f"trained again, the scores are apart: {facts['retrained']['scores_apart']}"] if _is_apart(facts) else []
    )
    lines = [f"{submission} is different:", *_first(reasons)]
    lines += _first([f"note: {each['key']} is not the story's: run with --set" for each in facts["overrides"]])
    return VerifyDifferent("\n  ".join(lines), hint=f"open {verified.page}")


def _is_apart(facts: Mapping[str, Any]) -> bool:
    return facts["retrained"] is not None and facts["retrained"]["verdict"] == "different"
