"""kolora publish: the submission of a finished run, uploaded to a hub."""

from __future__ import annotations

import re
from pathlib import Path

import click

from kolora.cli.export import PRACTICE, SIGN, TEAM
from kolora.errors import UsageError
from kolora.export.finished import read_finished
from kolora.export.submission import pack_submission
from kolora.files import writing
from kolora.hubs.hub import HUBS
from kolora.places import cache_folder, is_offline
from kolora.runfolder.layout import EXPORT
from kolora.signatures import read_signing_key
from kolora.spec.types import HUB_ID


@click.command()
@click.argument("out", type=click.Path(path_type=Path, file_okay=False))
@click.option("--to", "hub", type=click.Choice(list(HUBS)), required=True, help="The hub.")
@click.option("--repo", required=True, metavar="OWNER/NAME", help="The model repository; it is made if need be.")
@click.option("--public", is_flag=True, help="Let everybody see it.")
@TEAM
@PRACTICE
@SIGN
def publish(out: Path, hub: str, repo: str, public: bool, team: str | None, practice: bool, sign: Path | None) -> None:
    """Pack the run in OUT as a submission and upload it to a hub, private unless asked otherwise.

    The token comes from MODELSCOPE_API_TOKEN or HF_TOKEN.
    """
    from kolora.hubs.upload import upload

    if not re.fullmatch(HUB_ID, repo):
        raise UsageError(f"--repo is {repo!r}; expected owner/name", hint="--repo owner/name")
    if is_offline(False):
        raise UsageError("KOLORA_OFFLINE is set, and kolora publish uploads", hint="KOLORA_OFFLINE=0 kolora publish")
    key = read_signing_key(sign) if sign else None
    with writing(out):
        packed = pack_submission(read_finished(out), into=out / EXPORT, team=team, practice=practice, key=key)
    state = cache_folder() / "upload"
    with writing(state):
        state.mkdir(parents=True, exist_ok=True)
        upload(packed.folder, hub=hub, id=repo, public=public, message=packed.name, state=state)
    seen = "everybody sees it" if public else "only its owner sees it"
    click.echo(f"{packed.name} is on {HUBS[hub].title} as {repo}; {seen}")
