"""The bench's table, in Markdown, as it stands in the README."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

GIB = 2**30


def bench_table(facts: Mapping[str, Any]) -> str:
    """Put what the bench measured into one Markdown table."""
    return "\n".join(_lines(facts)) + "\n"


def _lines(facts: Mapping[str, Any]) -> Iterator[str]:
    theirs, drawn = facts["notebook"], facts["rendering"]
    rates = {kind: f"{rate / 1e12:,.1f}" for kind, rate in facts["matrix_rate"].items()}
    yield (
        f"{facts['device']}, torch {facts['torch']}, {facts['checkpoint']} with made-up weights, "
        f"{facts['size']} x {facts['size']}. Matrix rate {rates['training']} TFLOP/s for training, "
        f"{rates['rendering']} for rendering."
    )
    yield ""
    yield "| | notebook's way | kolora | ratio | share of the matrix rate | peak GPU memory, theirs / ours |"
    yield "|---|---|---|---|---|---|"
    for each in facts["training"]:
        yield _row(
            f"training, {each['batch_size']} a step (theirs: 1), samples a second",
            f"{1 / theirs['step_seconds']:.2f}",
            f"{each['samples_per_second']:.2f}",
            each["ratio"],
            each["share"],
            _memory(theirs["training_peak"], each["peak"]),
        )
    yield _row(
        f"one picture of {facts['render_steps']} steps, seconds",
        f"{theirs['picture_seconds']:.2f}",
        f"{drawn['picture_seconds']:.2f}",
        drawn["ratio"],
        drawn["share"],
        _memory(theirs["rendering_peak"], drawn["peak"]),
    )
    story = facts["story"]
    yield _row(
        "500 samples and eight pictures, seconds, computed",
        f"{story['notebook_seconds']:.0f}",
        f"{story['kolora_seconds']:.0f}",
        story["ratio"],
        None,
        "",
    )


def _row(what: str, theirs: str, ours: str, ratio: float, share: float | None, memory: str) -> str:
    shown = "" if share is None else f"{share:.0%}"
    return f"| {what} | {theirs} | {ours} | {ratio:.1f} x | {shown} | {memory} |"


def _memory(theirs: int | None, ours: int | None) -> str:
    return "" if theirs is None or ours is None else f"{theirs / GIB:.1f} / {ours / GIB:.1f} GiB"
