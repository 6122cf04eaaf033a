"""Memory that does not do: a step tried once more in a more frugal way, and the error that names the key to change."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from kolora.errors import DeviceUnusable
from kolora.stages import STAGES
from kolora.stages.contract import Step

if TYPE_CHECKING:
    from kolora.models.checkpoint import Checkpoint

_Result = TypeVar("_Result")

ANY_MEMORY_KEYS = "lora.resolution or render.width and height"


def run_with_retry(
    work: Callable[[], _Result],
    step: Step,
    checkpoint: Callable[[], Checkpoint | None],
    notice: Callable[[str], None],
) -> _Result:
    """Run a step; if the GPU's memory does not hold it, once more in the next more frugal way, where there is one.

    checkpoint: gives the one that is open, if any. notice: called with what is tried. Raises DeviceUnusable.
    """
    try:
        return work()
    except Exception as problem:
        if not is_out_of_memory(problem) or checkpoint() is None:
            raise
        first = first_line(problem)
    # Only here, where the exception no longer holds what the failed attempt had made.
    loaded = checkpoint()
    assert loaded is not None
    if not loaded.step_down(step.stage):
        raise out_of_memory(first, step)
    options = "; ".join(f"{name}: {option}" for name, option in loaded.memory.options_of(step.stage).items())
    notice(f"{step.name} is out of memory, and is tried once more: {options}")
    try:
        return work()
    except Exception as problem:
        if not is_out_of_memory(problem):
            raise
        raise out_of_memory(first_line(problem), step) from problem


def is_out_of_memory(problem: Exception) -> bool:
    """Tell whether a problem is that the GPU's memory is full."""
    # Not imported for this: without torch there is no GPU whose memory could be full.
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(problem, torch.cuda.OutOfMemoryError)


def first_line(problem: Exception) -> str:
    """Return what a library says of it, without the rest of its advice."""
    return str(problem).splitlines()[0] if str(problem) else "no reason given"


def out_of_memory(message: str, step: Step | None) -> DeviceUnusable:
    """Return the error that names the key to change; step: the one at work, where that is known."""
    keys = getattr(STAGES[step.stage], "MEMORY_KEYS", ANY_MEMORY_KEYS) if step else ANY_MEMORY_KEYS
    return DeviceUnusable(
        f"{step.name if step else 'the run'} is out of memory: {message}",
        hint=f"lower {keys}; raise model.memory, if it is set; or free the GPU of other work",
    )
