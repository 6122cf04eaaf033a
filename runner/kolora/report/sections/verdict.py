"""Whether the story is valid, its scores in the mean, and which of the contest's rules it meets."""

from __future__ import annotations

from typing import Literal

from kolora.errors import InputAbsent
from kolora.report.section import no_picture_groups, no_scope
from kolora.report.sections.again import find_lora
from kolora.report.sections.outcome import is_practice
from kolora.report.sections.scenes import read_image, rendered_scenes
from kolora.report.values import ReportModel, Scalar, Words
from kolora.rules import Entry, RuleName, check_rules
from kolora.runfolder.reader import RunReader
from kolora.stages import score

NAME = "verdict"
IS_LISTED = False
picture_groups = no_picture_groups
scope = no_scope


class Rule(ReportModel):
    """One rule of a submission, and whether the run meets it."""

    name: RuleName
    met: bool | None
    """Null where nobody has measured it."""
    found: Scalar = None
    needed: Scalar = None


class Verdict(ReportModel):
    """Whether the story is valid: its mean aesthetic score against the threshold."""

    state: Literal["valid", "invalid", "not scored"]
    rules: tuple[Rule, ...] = ()
    threshold: float | None = None
    aesthetics_mean: float | None = None
    """1 to 10, higher is better."""
    clip_mean: float | None = None
    """100 x cosine similarity of prompt and picture, mean of the scenes; higher is better."""
    training_clip_mean: float | None = None
    """The same similarity over the training pictures and their captions."""


class Fields(ReportModel):
    """The verdict."""

    verdict: Verdict


def gather(reader: RunReader) -> Fields:
    """Read the mean scores, and ask the contest's rules."""
    facts = reader.facts("score", score.Facts)
    rules = _rules(reader, facts)
    if facts is None:
        return Fields(verdict=Verdict(state="not scored", rules=rules))
    return Fields(
        verdict=Verdict(
            state="not scored" if facts.valid is None else "valid" if facts.valid else "invalid",
            rules=rules,
            threshold=facts.threshold,
            aesthetics_mean=facts.aesthetics_mean,
            clip_mean=facts.clip_mean,
            training_clip_mean=facts.training.clip_mean if facts.training else None,
        )
    )


def _rules(reader: RunReader, scores: score.Facts | None) -> tuple[Rule, ...]:
    """Say which rules of a submission the run meets, so far as it can tell from inside."""
    run = reader.run
    entry = Entry(
        team=reader.story.team if reader.story else "",
        title=(run.title or run.name) if run else "",
        pictures=sum(read_image(reader, "render", number) is not None for number in rendered_scenes(reader)),
        aesthetics=scores.aesthetics_mean if scores else None,
        lora=None if find_lora(reader) else InputAbsent("there is no LoRA file"),
        is_practice=is_practice(reader),
        is_complete=reader.ran_to_end,
    )
    return tuple(
        Rule(name=rule.name, met=rule.met, found=rule.found, needed=rule.needed) for rule in check_rules(entry)
    )


WORDS: Words = {
    "en": {
        "verdict": "Verdict",
        "valid": "Valid",
        "invalid": "Not valid",
        "not scored": "Not scored",
        "valid_note": "mean aesthetic score reaches the threshold",
        "invalid_note": "mean aesthetic score is under the threshold",
        "not scored_note": "no aesthetic score was taken",
        "aesthetics": "Aesthetics",
        "aesthetics_mean": "Mean aesthetics",
        "aesthetics_unit": "1 to 10, higher is better",
        "clip": "CLIP",
        "clip_mean": "Mean CLIP",
        "clip_unit": "100 × cosine similarity of prompt and picture, higher is better",
        "clip_training": "training pictures",
        "scenes_done": "Scenes done",
        "rules": "Rules of a submission",
        "rule_pictures": "At least {} pictures",
        "rule_aesthetics": "Mean aesthetic score of {} or more",
        "rule_lora": "A LoRA to hand in",
        "rule_name": "Named by the rule: team and title",
        "rule_kolors": "Drawn by a Kolors checkpoint",
        "rule_complete": "The run came to its end",
        "met": "met",
        "unmet": "not met",
        "unmeasured": "not measured",
    },
    "zh": {
        "verdict": "评定",
        "valid": "有效",
        "invalid": "无效",
        "not scored": "未评分",
        "valid_note": "平均美学分达到门槛",
        "invalid_note": "平均美学分低于门槛",
        "not scored_note": "未计算美学分",
        "aesthetics": "美学分",
        "aesthetics_mean": "平均美学分",
        "aesthetics_unit": "1 至 10，越高越好",
        "clip": "CLIP",
        "clip_mean": "平均 CLIP",
        "clip_unit": "提示词与图片的余弦相似度 × 100，越高越好",
        "clip_training": "训练图片",
        "scenes_done": "已完成画面",
        "rules": "参赛规则",
        "rule_pictures": "至少 {} 张图片",
        "rule_aesthetics": "平均美学分不低于 {}",
        "rule_lora": "有可提交的 LoRA",
        "rule_name": "按规则命名：队伍名称与作品名",
        "rule_kolors": "由可图 Kolors 模型绘制",
        "rule_complete": "运行完整结束",
        "met": "符合",
        "unmet": "不符合",
        "unmeasured": "未测定",
    },
}
