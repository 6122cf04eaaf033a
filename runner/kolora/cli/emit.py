"""Writing the job files of batch services."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

import click

from kolora.batch.jobs import aws, dlc, gcp, kubernetes, skypilot, slurm
from kolora.batch.jobs.job import Job
from kolora.batch.work import find_tasks
from kolora.files import write_text, writing
from kolora.inputs import paths_of
from kolora.ownership import set_aside
from kolora.spec.document import decode
from kolora.stories import SHIPPED, LoadedStory, find_story

TARGETS: dict[str, ModuleType] = {
    "kubernetes": kubernetes,
    "aws-batch": aws,
    "gcp-batch": gcp,
    "skypilot": skypilot,
    "slurm": slurm,
    "pai-dlc": dlc,
}
LONGEST_NAME = 40
"""Letters of a job's name: services add to it, and the shortest limit is 63."""


@click.command()
@click.argument("target", type=click.Choice(list(TARGETS)))
@click.argument("stories", nargs=-1, required=True)
@click.option(
    "-o", "--out", type=click.Path(path_type=Path, file_okay=False), help="Folder for the files [jobs/TARGET]."
)
@click.option("--image", default="kolora", show_default=True, help="The image, where the service finds it.")
@click.option("--name", help="Name of the job [the story's].")
@click.option("--tasks", type=click.IntRange(1), help="Tasks that share the stories [one a story].")
@click.option("--out-volume", help="What the service knows /out by: a claim, a file system, a share, a folder.")
@click.option("--cache-volume", help="The same for /cache.")
def emit(
    target: str,
    stories: tuple[str, ...],
    out: Path | None,
    image: str,
    name: str | None,
    tasks: int | None,
    out_volume: str | None,
    cache_volume: str | None,
) -> None:
    """Write the files that run STORIES as a job of a batch service.

    The job asks for one GPU a task, mounts /out and /cache, leaves time to save after a signal, and is tried again
    after the exit codes that a retry can cure (69, 75, 143) and no others. docker/README.md has a section for
    each service.
    """
    service = TARGETS[target]
    given = {task.label: find_story(task.story, ()) for task in find_tasks(stories)}
    job = Job(
        name=_slug(name or (next(iter(given.values())).story.name if len(given) == 1 else "kolora"), "kolora"),
        image=image,
        stories=_files(given),
        tasks=min(tasks or len(given), len(given)),
        out=out_volume or service.OUT,
        cache=cache_volume or service.CACHE,
    )
    folder = out or Path("jobs") / target
    files: dict[str, str] = service.emit(job)
    with writing(folder):
        for path, text in files.items():
            aside = set_aside(folder / path, unless=text.encode().__eq__)
            write_text(folder / path, text)
            if aside is not None:
                click.echo(f"note: {folder / path} said something else, and is now {aside}", err=True)
    for path in files:
        click.echo(str(folder / path))
    for label, each in given.items():
        for key, path in paths_of(each.story).items():
            # To stderr, as stdout lists the files alone.
            click.echo(f"note: {label} reads {path} ({key}): copy it to the service", err=True)


def _files(given: dict[str, LoadedStory]) -> dict[str, str | None]:
    """Name the stories' files as every service allows; shipped ones are in the image."""
    files: dict[str, str | None] = {}
    for number, (label, each) in enumerate(given.items(), 1):
        if each.base == SHIPPED:
            files[f"{label}.yaml"] = None
            continue
        slug = _slug(label, f"story-{number}")
        files[f"{slug}.yaml" if f"{slug}.yaml" not in files else f"{slug}-{number}.yaml"] = decode(each.source)
    return files


def _slug(text: str, otherwise: str) -> str:
    """Keep lower-case letters, digits and hyphens of a name; it begins with a letter."""
    slug = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:LONGEST_NAME].strip("-")
    return slug if slug[:1].isalpha() else otherwise
