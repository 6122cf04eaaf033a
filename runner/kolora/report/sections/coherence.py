"""How alike the scenes are, among each other and to the training pictures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kolora.report.matrix import shade_matrix
from kolora.report.section import no_picture_groups
from kolora.report.values import ReportModel, Words
from kolora.runfolder.reader import RunReader
from kolora.stages import score

if TYPE_CHECKING:
    from kolora.report.data import ReportData

NAME = "coherence"
IS_LISTED = True
picture_groups = no_picture_groups


class Likeness(ReportModel):
    """How alike pictures are: 100 x cosine of their CLIP embeddings, means over pairs; higher is more alike."""

    mean: float | None
    baseline_mean: float | None = None
    """The same of the scenes as drawn without the LoRA: what it is to be measured by."""
    training_mean: float | None = None
    """The same of the training pictures among each other."""
    matrix: tuple[tuple[float | None, ...], ...] = ()
    """Every scene with every scene, in their order; empty where only means are known."""


class Fields(ReportModel):
    """coherence: of the scenes among each other. style: of the scenes and the training pictures."""

    coherence: Likeness | None = None
    style: Likeness | None = None


def gather(reader: RunReader) -> Fields:
    """Read what CLIP measured."""
    facts = reader.facts("score", score.Facts)
    if facts is None:
        return Fields()
    return Fields(coherence=_likeness(facts.coherence), style=_likeness(facts.style))


def scope(report: ReportData, _words: Mapping[str, str]) -> Mapping[str, Any]:
    """Give the templates the matrix as cells to draw, null where nothing was measured."""
    return {"matrix": shade_matrix(report.coherence.matrix) if report.coherence else None}


def _likeness(found: score.Likeness | None) -> Likeness | None:
    if found is None:
        return None
    return Likeness(
        mean=found.mean, baseline_mean=found.baseline_mean, training_mean=found.training_mean, matrix=found.matrix
    )


WORDS: Words = {
    "en": {
        "coherence": "Coherence",
        "coherence_none": "How alike the pictures are was not measured.",
        "coherence_unit": "100 × cosine similarity of CLIP image embeddings, higher is more alike",
        "coherence_mean": "Scenes among each other",
        "style": "Style",
        "style_mean": "Scenes and training pictures",
        "likeness_baseline": "without the LoRA",
        "likeness_training": "training pictures among each other",
        "matrix": "Every scene and every other",
        "matrix_scale": "from {} (least alike) to {} (most alike)",
        "matrix_table": "The matrix in numbers",
        "scores_table": "Scene by scene",
        "threshold": "threshold",
    },
    "zh": {
        "coherence": "一致性",
        "coherence_none": "未测定图片之间的相似度。",
        "coherence_unit": "CLIP 图像向量的余弦相似度 × 100，越高越相似",
        "coherence_mean": "画面彼此之间",
        "style": "画风",
        "style_mean": "画面与训练图片",
        "likeness_baseline": "不用 LoRA 时",
        "likeness_training": "训练图片彼此之间",
        "matrix": "画面两两相似度",
        "matrix_scale": "由 {}（最不相似）至 {}（最相似）",
        "matrix_table": "矩阵的数值",
        "scores_table": "逐幅评分",
        "threshold": "门槛",
    },
}
