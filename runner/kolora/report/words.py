"""The report's words in both languages: those that several sections share, and all of them together."""

from __future__ import annotations

from kolora.report.data import SECTIONS
from kolora.report.values import Language, Words

COMMON: Words = {
    "en": {
        "checkpoint": "Drawn by",
        "checkpoint_unknown": "unknown checkpoint",
        "complete": "Complete",
        "failed": "Failed",
        "stopped": "Stopped",
        "partial": "Not finished",
        "hint": "What to do",
        "exit_code": "exit code",
        "of": "of",
        "scene": "Scene",
        "picture": "Picture",
        "picture_unreadable": "This picture cannot be shown.",
        "reason": "Reason",
        "step": "Step",
        "digest": "Digest",
        "made_by": "Made by",
        "contents": "Contents",
        "other_language": "中文",
        "copied": "Copied",
        "comma": ", ",
        "semicolon": "; ",
        "colon": ": ",
    },
    "zh": {
        "checkpoint": "绘图模型",
        "checkpoint_unknown": "未知模型",
        "complete": "已完成",
        "failed": "失败",
        "stopped": "已停止",
        "partial": "未完成",
        "hint": "如何解决",
        "exit_code": "退出码",
        "of": "/",
        "scene": "画面",
        "picture": "图片",
        "picture_unreadable": "无法显示此图片。",
        "reason": "原因",
        "step": "步骤",
        "digest": "摘要",
        "made_by": "制作",
        "contents": "目录",
        "other_language": "English",
        "copied": "已复制",
        "comma": "，",
        "semicolon": "；",
        "colon": "：",
    },
}


def _all_words(language: Language) -> dict[str, str]:
    words = dict(COMMON[language])
    for section in SECTIONS:
        words.update(section.WORDS[language])
    return words


WORDS: Words = {"en": _all_words("en"), "zh": _all_words("zh")}
"""What templates find in ``w``."""
