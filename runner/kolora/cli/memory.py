"""How a story would fit into a GPU's memory, in words."""

from __future__ import annotations

import re
from collections.abc import Iterator

import click

from kolora.device import gpu_memory
from kolora.inputs import ResolvedInputs
from kolora.memory.plan import GIB, describe
from kolora.memory.story import plan_story
from kolora.spec import Story


class _Amount(click.ParamType[float]):
    """An amount of memory: 8GiB, or 8."""

    name = "GiB"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(?:GiB)?", str(value), re.IGNORECASE)
        if match is None or not float(match[1]):
            self.fail(f"{value!r} is not an amount of memory such as 8GiB", param, ctx)
        return float(match[1])


MEMORY = click.option("--memory", type=_Amount(), help="Plan for a GPU of that much memory [the present one's].")


def memory_lines(story: Story, resolved: ResolvedInputs, *, memory: float | None) -> Iterator[str]:
    """Say for each part of the work how it is done, and what it is expected to need; memory: GiB.

    Pocket needs no GPU, and without one there is nothing to say of it.
    """
    gpu_bytes = gpu_memory() if memory is None else int(memory * GIB)
    is_pocket = story.model.checkpoint == "pocket"
    if is_pocket and gpu_bytes is None:
        return
    is_here = is_pocket or resolved.inputs.checkpoint != "absent"
    plan = plan_story(story, resolved.checkpoint if is_here else None, gpu_bytes=gpu_bytes)
    for name, line in describe(plan):
        yield f"{name:<13} {line}"
