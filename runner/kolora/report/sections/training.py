"""How the LoRA was trained: its loss, and what was drawn on the way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from kolora.report.curve import Curve, draw_curve
from kolora.report.section import PictureGroup
from kolora.report.values import ReportModel, Words
from kolora.runfolder.layout import HISTORY
from kolora.runfolder.reader import RunReader
from kolora.runfolder.records import StepRecord
from kolora.stages import train

if TYPE_CHECKING:
    from kolora.report.data import ReportData

NAME = "training"
IS_LISTED = True
SAMPLE_WIDTH = 192


class Sample(ReportModel):
    """A picture drawn while the LoRA was being trained."""

    step: int
    scene: int | None
    path: str


class Training(ReportModel):
    """How the LoRA was trained."""

    steps: int | None
    rank: int | None
    alpha: float | None
    parameters: int | None
    samples_per_second: float | None
    loss_first: float | None
    """Mean of the first tenth of the steps."""
    loss_last: float | None
    """Mean of the last tenth."""
    resumed_at: int | None
    step: tuple[int, ...] = ()
    loss: tuple[float | None, ...] = ()
    """One a step; null where the loss was not a finite number."""
    learning_rate: tuple[float | None, ...] = ()
    samples: tuple[Sample, ...] = ()


class Fields(ReportModel):
    """The training, where there was one."""

    training: Training | None


def gather(reader: RunReader) -> Fields:
    """Read what training found, with the loss of every step."""
    record, facts = reader.record("train"), reader.facts("train", train.Facts)
    if record is None or facts is None:
        return Fields(training=None)
    content = reader.content(record, "history.json")
    history = reader.parse_json(content, HISTORY, train.History) if content is not None else None
    return Fields(
        training=Training(
            steps=facts.steps,
            rank=facts.rank,
            alpha=facts.alpha,
            parameters=facts.parameters,
            samples_per_second=facts.samples_per_second,
            loss_first=facts.loss_first,
            loss_last=facts.loss_last,
            resumed_at=facts.resumed_at,
            step=history.step if history else (),
            loss=history.loss if history else (),
            learning_rate=history.learning_rate if history else (),
            samples=tuple(_samples(reader, record, facts.samples)),
        )
    )


def scope(report: ReportData, _words: Mapping[str, str]) -> Mapping[str, Any]:
    """Give the templates the curves, ready to be drawn."""
    training = report.training
    if training is None:
        return {"curve": None, "rate": None}
    return {"curve": draw_curve(training.step, training.loss, training.learning_rate), "rate": _rate_curve(training)}


def picture_groups(report: ReportData) -> Sequence[PictureGroup]:
    """List what was drawn on the way."""
    samples = report.training.samples if report.training else ()
    return (PictureGroup(width=SAMPLE_WIDTH, share=5, paths=[each.path for each in samples]),)


def _rate_curve(training: Training) -> Curve | None:
    """Draw the learning rate, where it changed."""
    rates = training.learning_rate
    if len(rates) != len(training.step) or len(set(rates)) < 2:
        return None
    return draw_curve(training.step, rates)


def _samples(reader: RunReader, record: StepRecord, samples: tuple[train.SampleFacts, ...]) -> Iterator[Sample]:
    for sample in samples:
        path = reader.path(record, sample.file)
        if path is not None:
            yield Sample(step=sample.step, scene=sample.scene, path=path)


WORDS: Words = {
    "en": {
        "training": "Training",
        "training_none": "No LoRA has been trained here.",
        "loss": "Loss",
        "loss_each": "each step",
        "loss_smooth": "mean over {} steps",
        "loss_axis": "training step",
        "loss_first": "Loss, first tenth",
        "loss_last": "Loss, last tenth",
        "loss_table": "The curve in numbers",
        "loss_all": "Every step",
        "loss_infinite": "Steps without a finite loss",
        "learning_rate": "Learning rate",
        "training_steps": "Training steps",
        "rank": "Rank",
        "alpha": "Alpha",
        "parameters": "Trained parameters",
        "samples_per_second": "Speed",
        "samples_unit": "samples/s",
        "resumed_at": "Resumed at step",
        "samples": "Drawn while it was trained",
    },
    "zh": {
        "training": "训练",
        "training_none": "这里没有训练过 LoRA。",
        "loss": "损失",
        "loss_each": "每一步",
        "loss_smooth": "{} 步平均",
        "loss_axis": "训练步",
        "loss_first": "前十分之一的损失",
        "loss_last": "后十分之一的损失",
        "loss_table": "曲线的数值",
        "loss_all": "每一步的数值",
        "loss_infinite": "损失不是有限数的步数",
        "learning_rate": "学习率",
        "training_steps": "训练步数",
        "rank": "秩 rank",
        "alpha": "Alpha",
        "parameters": "训练参数量",
        "samples_per_second": "速度",
        "samples_unit": "样本/秒",
        "resumed_at": "续训起点",
        "samples": "训练途中的样图",
    },
}
