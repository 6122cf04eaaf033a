"""Commands that look after the cache of downloads."""

from __future__ import annotations

import time

import click

from kolora.errors import InputAbsent
from kolora.files import writing
from kolora.hubs.store import Store
from kolora.places import cache_folder


@click.group()
def cache() -> None:
    """Look after the cache of downloads [KOLORA_CACHE]."""


@cache.command()
@click.option("--drop", is_flag=True, help="Remove damaged files, so that they are downloaded again.")
def verify(drop: bool) -> None:
    """Read every file of the cache again and compare its sha256."""
    store, good, bad = Store(cache_folder()), 0, []
    for snapshot, path, fault in store.verify():
        if fault is None:
            good += 1
        else:
            bad.append((snapshot, path))
            click.echo(f"damaged: {snapshot.request.id} {path}: {fault}")
    if drop:
        with writing(store.cache):
            for snapshot, path in bad:
                store.drop(snapshot, path)
    elif bad:
        raise InputAbsent(
            f"{len(bad)} of {good + len(bad)} files in {store.cache} are damaged", hint="kolora cache verify --drop"
        )
    click.echo(f"{good} files in {store.cache} are intact" + (f", {len(bad)} were removed" if bad else ""))


@cache.command()
@click.argument("id", required=False, metavar="[OWNER/NAME]")
def prune(id: str | None) -> None:  # noqa: A002 - the hubs' own word
    """Remove what nothing refers to, downloads never finished, and all of OWNER/NAME."""
    store = Store(cache_folder())
    with writing(store.cache), store.lock("cache", wait=lambda: time.sleep(0.2)):
        freed = store.prune(id=id)
    click.echo(f"{freed / 1e9:.1f} GB freed in {store.cache}")
