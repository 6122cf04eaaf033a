"""The report without its provenance: what only the run itself can know, and nobody who computes it again."""

from __future__ import annotations

from collections.abc import Iterable

from kolora.report.data import ReportData
from kolora.report.sections.again import COMMAND
from kolora.report.sections.environment import Environment, Numerics
from kolora.report.sections.timings import Step
from kolora.report.sections.training import Training
from kolora.report.values import Scalar

LOCKED_NUMERICS = ("device", "device_class", "dtype", "torch", "kernels", "deterministic", "threads")
"""The arithmetic that a lock pins; the model of a device and what had to be offloaded are the machine's own."""


def without_provenance(report: ReportData) -> ReportData:
    """Leave out when and where a report's run was made, how long it took, by which command and what it kept.

    What stays is the same for everybody who computes the story again under its lock, so that `verify` can rebuild it.
    """
    return report.model_copy(
        update={
            "started": None,
            "seconds": None,
            # They tell the state of one folder on one disk.
            "gaps": (),
            "training": _training(report.training),
            "steps": tuple(_step(step) for step in report.steps),
            "numerics": _numerics(report.numerics),
            "environment": Environment(image=report.environment.image, packages=report.environment.packages),
            "again": report.again.model_copy(update={"command": COMMAND}),
        }
    )


def _training(training: Training | None) -> Training | None:
    if training is None:
        return None
    return training.model_copy(update={"samples_per_second": None, "resumed_at": None})


def _step(step: Step) -> Step:
    # "unknown" is what a report says of a step that is finished and of which no run tells whether it was kept.
    return Step(name=step.name, stage=step.stage, action="unknown", reason="", seconds=None, digest=step.digest)


def _numerics(groups: Iterable[Numerics]) -> tuple[Numerics, ...]:
    """Keep what a lock pins; steps that differed in nothing else become one group."""
    merged: dict[tuple[tuple[str, Scalar], ...], tuple[str, ...]] = {}
    for group in groups:
        pinned = tuple((name, group.values[name]) for name in LOCKED_NUMERICS if group.values.get(name) is not None)
        merged[pinned] = merged.get(pinned, ()) + group.steps
    return tuple(Numerics(steps=steps, values=dict(pinned)) for pinned, steps in merged.items())
