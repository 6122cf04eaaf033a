"""What each step took, in time and memory, and why it ran or was kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from kolora.report.section import no_picture_groups
from kolora.report.values import Language, ReportModel, Words
from kolora.runfolder.reader import RunReader
from kolora.runfolder.records import StepLine, StepRecord

if TYPE_CHECKING:
    from kolora.report.data import ReportData

NAME = "timings"
IS_LISTED = True
picture_groups = no_picture_groups


class Step(ReportModel):
    """One step of the run: done again or kept, why, and what it cost when it ran."""

    name: str
    stage: str
    action: Literal["kept", "ran", "failed", "pending", "unknown"]
    reason: str
    why: tuple[tuple[str, ...], ...] = ()
    """The reason as keys and values, so that it can be said in any language."""
    seconds: float | None
    peak_memory_bytes: dict[str, int | None] = Field(default_factory=dict)
    digest: str | None


class Fields(ReportModel):
    """The steps, in their order."""

    steps: tuple[Step, ...]


@dataclass(frozen=True)
class StageTime:
    """All steps of one stage: what they took together and how many were done in which way."""

    stage: str
    seconds: float | None
    """None where no step of it has been timed."""
    share: float
    """Of the longest stage."""
    kept: bool
    """Whether nothing of it ran this time."""
    actions: Mapping[str, int]
    reasons: tuple[str, ...]
    memory: Mapping[str, int]
    """Peak bytes by device, the largest of its steps."""


def gather(reader: RunReader) -> Fields:
    """Read the run's steps; without the run's own record, those that left one."""
    if reader.run:
        steps = [_planned_step(step, reader.records.get(step.step)) for step in reader.run.steps]
    else:
        steps = [_recorded_step(record) for record in reader.records.values()]
    return Fields(steps=tuple(steps))


def scope(report: ReportData, _words: Mapping[str, str]) -> Mapping[str, Any]:
    """Give the templates the stages' sums, the devices whose memory was measured, and reasons in words."""
    devices = set()
    for step in report.steps:
        devices |= {device for device, used in step.peak_memory_bytes.items() if used}
    return {
        # A report without its provenance names its steps and tells nothing of them.
        "is_shown": not report.steps or any(_is_told(step) for step in report.steps),
        "stages": stage_times(report.steps, report.language),
        "devices": sorted(devices),
        "reason": partial(step_reason, language=report.language),
    }


def _is_told(step: Step) -> bool:
    return step.action != "unknown" or step.seconds is not None or bool(step.peak_memory_bytes)


def stage_times(steps: Sequence[Step], language: Language = "en") -> tuple[StageTime, ...]:
    """Sum up the steps by stage, in the order of their first step."""
    stages: dict[str, list[Step]] = {}
    for step in steps:
        stages.setdefault(step.stage, []).append(step)
    totals = {stage: _total(group) for stage, group in stages.items()}
    longest = max((total for total in totals.values() if total), default=1.0)
    return tuple(
        StageTime(
            stage=stage,
            seconds=totals[stage],
            share=(totals[stage] or 0) / longest,
            kept=_count_actions(group).keys() == {"kept"},
            actions=_count_actions(group),
            reasons=_reasons(group, language),
            memory=_peaks(group),
        )
        for stage, group in stages.items()
    )


def _count_actions(steps: Sequence[Step]) -> Mapping[str, int]:
    return Counter(step.action for step in steps)


def _total(steps: Sequence[Step]) -> float | None:
    seconds = [step.seconds for step in steps if step.seconds is not None]
    return sum(seconds) if seconds else None


def step_reason(step: Step, language: Language) -> str:
    """Say why a step ran or was kept; in English as it was recorded."""
    texts = REASONS.get(language, {})
    if not step.why or any(key not in texts for key, *_ in step.why):
        return step.reason
    return "，".join(texts[key].format(*values) for key, *values in step.why)


def _reasons(steps: Sequence[Step], language: Language) -> tuple[str, ...]:
    """List each reason once."""
    reasons = [step_reason(step, language) for step in steps]
    return tuple(dict.fromkeys(reason for reason in reasons if reason))


def _peaks(steps: Sequence[Step]) -> dict[str, int]:
    peaks: dict[str, int] = {}
    for step in steps:
        for device, used in step.peak_memory_bytes.items():
            if used is not None:
                peaks[device] = max(used, peaks.get(device, 0))
    return peaks


def _planned_step(step: StepLine, record: StepRecord | None) -> Step:
    return Step(
        name=step.step,
        stage=step.stage,
        action=step.action,
        reason=step.reason,
        why=step.why,
        # A kept step costs nothing now: its bar shows what keeping it saved.
        seconds=record.seconds if record else step.seconds,
        peak_memory_bytes=record.peak_memory_bytes if record else {},
        digest=step.digest,
    )


def _recorded_step(record: StepRecord) -> Step:
    return Step(
        name=record.step,
        stage=record.stage,
        action="unknown",
        reason="",
        seconds=record.seconds,
        peak_memory_bytes=record.peak_memory_bytes,
        digest=record.digest,
    )


WORDS: Words = {
    "en": {
        "timings": "Time and memory",
        "timings_none": "No step has been recorded.",
        "timings_note": "Pale bars were kept from an earlier run and cost nothing now; they show what they took then.",
        "timings_table": "Step by step",
        "total": "This run took",
        "started": "Started",
        "action": "Done how",
        "seconds": "Time taken",
        "memory": "Peak memory",
        "action_kept": "kept",
        "action_ran": "ran",
        "action_failed": "failed",
        "action_pending": "not run",
        "action_unknown": "done",
        "stage_fetch": "Fetch",
        "stage_filter": "Filter",
        "stage_encode_prompt": "Encode prompts",
        "stage_encode_prior": "Encode the class prompt",
        "stage_cache_latents": "Encode pictures",
        "stage_prior": "Draw the class",
        "stage_train": "Train",
        "stage_export_lora": "Export the LoRA",
        "stage_render": "Render",
        "stage_baseline": "Render without the LoRA",
        "stage_grid": "Grid",
        "stage_score": "Score",
        "memory_cpu": "Memory",
        "memory_gpu": "GPU memory",
    },
    "zh": {
        "timings": "用时与内存",
        "timings_none": "尚无步骤记录。",
        "timings_note": "浅色条沿用自先前的运行，本次未花时间，所示为当时用时。",
        "timings_table": "逐步明细",
        "total": "本次运行用时",
        "started": "开始于",
        "action": "处理",
        "seconds": "用时",
        "memory": "峰值内存",
        "action_kept": "沿用",
        "action_ran": "已运行",
        "action_failed": "失败",
        "action_pending": "未运行",
        "action_unknown": "已完成",
        "stage_fetch": "取图",
        "stage_filter": "过滤",
        "stage_encode_prompt": "编码提示词",
        "stage_encode_prior": "编码同类提示词",
        "stage_cache_latents": "编码图片",
        "stage_prior": "画同类图",
        "stage_train": "训练",
        "stage_export_lora": "导出 LoRA",
        "stage_render": "渲染",
        "stage_baseline": "不用 LoRA 渲染",
        "stage_grid": "拼图",
        "stage_score": "评分",
        "memory_cpu": "内存",
        "memory_gpu": "显存",
    },
}

REASONS: Words = {
    "zh": {
        "forced": "由 --force 指定",
        "same": "所依赖的内容均无变化",
        "interrupted": "曾中断，从保存处继续",
        "first": "没有先前运行的结果",
        "former": "此版本不沿用 kolora {} 的结果",
        "damaged": "结果文件丢失或损坏",
        "version": "阶段版本变化：{} → {}",
        "changed": "{} 有变化",
        "changed_from": "{} 由 {} 改为 {}",
        "more": "另有 {} 处变化",
        "otherwise": "所依赖的步骤与先前不同",
    }
}
"""Why a step ran or was kept, by the keys that the plan gives; in English the plan's own words are shown."""
