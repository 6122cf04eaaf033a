"""Bench: no stage of a story, but like one the place where its worker, and torch with it, is loaded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any


def run_bench(
    *,
    device: str,
    checkpoint: Path | None,
    size: int,
    train_steps: int,
    render_steps: int,
    batch_sizes: tuple[int, ...],
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Measure this machine on the notebook's way and on kolora's; ``kolora.benchmark.bench`` says what is returned."""
    from kolora.benchmark.bench import bench

    return bench(
        device=device,
        checkpoint=checkpoint,
        size=size,
        train_steps=train_steps,
        render_steps=render_steps,
        batch_sizes=batch_sizes,
        say=say,
    )
