"""The machine, the packages, and the numerics that were in force."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from pydantic import Field

from kolora.report.section import no_picture_groups
from kolora.report.sections.timings import Step
from kolora.report.values import ReportModel, Scalar, Words
from kolora.runfolder.reader import RunReader
from kolora.runfolder.records import Machine

if TYPE_CHECKING:
    from kolora.report.data import ReportData

NAME = "environment"
IS_LISTED = True
picture_groups = no_picture_groups


class Numerics(ReportModel):
    """Device, precision and determinism that were in force, and for which steps."""

    steps: tuple[str, ...]
    values: dict[str, Scalar]


class Service(ReportModel):
    """The batch service that ran this: its id of the run, which attempt it was, and the shard of how many."""

    name: str | None = None
    run: str | None = None
    attempt: int | None = None
    """From 1."""
    index: int | None = None
    """From 0."""
    count: int | None = None


class Environment(ReportModel):
    """The machine and the packages."""

    python: str | None = None
    platform: str | None = None
    cpu: str | None = None
    gpu: str | None = None
    image: str | None = None
    """The image it ran in: its digest, or what it was built from."""
    service: Service | None = None
    packages: dict[str, str] = Field(default_factory=dict)


class Fields(ReportModel):
    """Where it ran, and with which arithmetic."""

    numerics: tuple[Numerics, ...]
    environment: Environment


def gather(reader: RunReader) -> Fields:
    """Read machine and packages, and the numerics of each step that computed."""
    machine = reader.run.environment if reader.run else Machine()
    return Fields(
        numerics=_numerics(reader),
        environment=Environment(
            python=machine.python,
            platform=machine.platform,
            cpu=machine.cpu,
            gpu=machine.gpu,
            image=machine.image,
            service=Service(**dataclasses.asdict(machine.service)) if machine.service else None,
            packages=machine.packages,
        ),
    )


def scope(report: ReportData, words: Mapping[str, str]) -> Mapping[str, Any]:
    """Give the templates a way to say many steps briefly."""
    return {"brief": partial(brief_steps, steps=report.steps, words=words)}


def brief_steps(names: Sequence[str], steps: Sequence[Step], words: Mapping[str, str]) -> str:
    """Say many steps briefly, by stage: Encode, Train, Render × 8."""
    stages = {step.name: step.stage for step in steps}
    counts = Counter(stages.get(name, name) for name in names)
    return words["comma"].join(
        words.get(f"stage_{stage}", stage) + (f" × {times}" if times > 1 else "") for stage, times in counts.items()
    )


def _numerics(reader: RunReader) -> tuple[Numerics, ...]:
    """Group the steps by the numerics they had."""
    groups: dict[tuple[tuple[str, object], ...], list[str]] = {}
    for record in reader.records.values():
        # A step that computed nothing has no numerics to speak of.
        if record.numerics.get("torch") is not None:
            groups.setdefault(tuple(sorted(record.numerics.items())), []).append(record.step)
    return tuple(Numerics(steps=tuple(steps), values=reader.records[steps[0]].numerics) for steps in groups.values())


WORDS: Words = {
    "en": {
        "environment": "Environment",
        "service": "Batch service",
        "run_id": "Run",
        "attempt": "Attempt",
        "shard": "Shard",
        "numerics": "Numerics in force",
        "num_device": "device",
        "num_device_class": "class of device",
        "num_device_name": "model",
        "num_dtype": "number format",
        "num_kernels": "kernels",
        "num_deterministic": "repeatable",
        "num_threads": "threads",
        "yes": "yes",
        "no": "no",
        "packages": "Packages",
        "platform": "Platform",
        "image": "Image",
    },
    "zh": {
        "environment": "环境",
        "service": "批处理服务",
        "run_id": "运行编号",
        "attempt": "第几次尝试",
        "shard": "分片",
        "numerics": "所用数值设置",
        "num_device": "设备",
        "num_device_class": "设备类别",
        "num_device_name": "型号",
        "num_dtype": "数值格式",
        "num_kernels": "算子内核",
        "num_deterministic": "结果可重复",
        "num_threads": "线程数",
        "yes": "是",
        "no": "否",
        "packages": "软件包",
        "platform": "平台",
        "image": "镜像",
    },
}
