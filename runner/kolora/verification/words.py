"""What a verdict says, in both languages: findings are kept as a key and values, and said where they are read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kolora.report.values import Language

EXCERPT_LETTERS = 60
DIFFERENCE_GAIN = 8
"""Differences are shown this many times as strong: those of rounding would not be seen."""


@dataclass(frozen=True)
class Finding:
    """One thing found: ``different`` where a claim does not hold, ``note`` where that matters less.

    key: of FINDINGS. values: what fills its gaps.
    """

    key: str
    values: tuple[str, ...] = ()
    verdict: str = "different"

    @property
    def what(self) -> str:
        """Say it in English, the language of the command line."""
        return words_of_finding(self.facts, "en")

    @property
    def facts(self) -> dict[str, Any]:
        """Give it as JSON values, as verify.json has it."""
        values = {"verdict": self.verdict, "key": self.key, "values": list(self.values)}
        return values | {"what": words_of_finding(values, "en")}


def words_of_finding(finding: Mapping[str, Any], language: Language) -> str:
    """Say a finding in a language."""
    return FINDINGS[language][finding["key"]].format(*finding["values"])


def excerpt(value: Any) -> str:
    """Say a value of the story within a line."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= EXCERPT_LETTERS else f"{text[:EXCERPT_LETTERS]}…"


FINDINGS: Mapping[Language, Mapping[str, str]] = {
    "en": {
        "no_manifest": "manifest.sha256 is missing: the submission does not say that it is complete",
        "absent": "{} is missing",
        "not_as_listed": "{}: its sha256 differs from manifest.sha256",
        "not_as_locked": "{}: its sha256 differs from story.lock.yaml",
        "pickle": "{} may be a pickle, which can run code; it was not opened",
        "lora_not_in_lock": "{} is not one of the LoRA files in story.lock.yaml",
        "lora_unreadable": "{} cannot be loaded: {}",
        "lora_other": "the weights in {} differ from those in {}",
        "story": "story.yaml: {} is {}, in story.lock.yaml it is {}",
        "size": "{} has {} x {} pixels, the story asks for {} x {}",
        "unreadable": "{} is not a readable PNG: {}",
        "not_stated": "{} does not state its {}",
        "stated_otherwise": "{} states {} {}, the story has {}",
        "no_report": "report.json is missing",
        "report_unreadable": "report.json cannot be read: {}",
        "report_scene": "report.json: scene {}: {} is {}, in the story it is {}",
        "score": "report.json: scene {}: {} is {}, measured here {}",
        "mean": "report.json: mean {} is {}, measured here {}",
        "page": "{} does not match report.json",
        "page_of_other_version": "{} does not match what this kolora makes of report.json; kolora {} wrote it",
        "psnr": "PSNR is {} dB, below {}",
        "worst_block": "the error of the worst block is {}, above {}",
        "scores_apart": "scores differ: {} by {}, more than {}",
        "signature_malformed": "manifest.sha256.sig is no signature as OpenSSH writes one",
        "signature_key_type": "manifest.sha256.sig was made with a key that is not ssh-ed25519",
        "signature_namespace": "manifest.sha256.sig was made for something other than kolora",
        "signature_hash": "manifest.sha256.sig signs a digest of a kind that OpenSSH does not use",
        "signature_mismatch": "manifest.sha256 is not what was signed",
        "signature_no_manifest": "manifest.sha256.sig is there, and the manifest that it signs is not",
        "signature_other": "it is signed by {}, whom --signer does not name",
        "signature_none": "it is not signed, and --signer demands that it is",
    },
    "zh": {
        "no_manifest": "没有 manifest.sha256：提交没有说明自己是完整的",
        "absent": "缺少 {}",
        "not_as_listed": "{} 的 sha256 与 manifest.sha256 所写不同",
        "not_as_locked": "{} 的 sha256 与 story.lock.yaml 所写不同",
        "pickle": "{} 可能是 pickle，其中可以藏有代码，未予打开",
        "lora_not_in_lock": "{} 不是 story.lock.yaml 所列的 LoRA 文件",
        "lora_unreadable": "{} 无法载入：{}",
        "lora_other": "{} 的权重与 {} 不同",
        "story": "story.yaml 中 {} 是 {}，story.lock.yaml 中是 {}",
        "size": "{} 的尺寸是 {} × {}，故事要求 {} × {}",
        "unreadable": "{} 不是完好的 PNG：{}",
        "not_stated": "{} 没有写明 {}",
        "stated_otherwise": "{} 写明 {} 是 {}，故事中是 {}",
        "no_report": "没有 report.json",
        "report_unreadable": "report.json 无法读取：{}",
        "report_scene": "report.json 称第 {} 幅的 {} 是 {}，故事中是 {}",
        "score": "report.json 称第 {} 幅的 {} 是 {}，在此测得 {}",
        "mean": "report.json 称 {} 的平均值是 {}，在此测得 {}",
        "page": "{} 与 report.json 所说不同",
        "page_of_other_version": "{} 与本版 kolora 由 report.json 生成的不同；它由 kolora {} 写成",
        "psnr": "PSNR 为 {} dB，低于 {}",
        "worst_block": "最差块的误差为 {}，高于 {}",
        "scores_apart": "{} 相差 {}，超过 {}",
        "signature_malformed": "manifest.sha256.sig 不是 OpenSSH 格式的签名",
        "signature_key_type": "manifest.sha256.sig 所用的密钥不是 ssh-ed25519",
        "signature_namespace": "manifest.sha256.sig 是为 kolora 以外的用途签的",
        "signature_hash": "manifest.sha256.sig 所签摘要的种类是 OpenSSH 不用的",
        "signature_mismatch": "所签的内容不是这份 manifest.sha256",
        "signature_no_manifest": "有 manifest.sha256.sig，却没有它所签的清单",
        "signature_other": "签名者是 {}，不在 --signer 所列之中",
        "signature_none": "没有签名，而 --signer 要求有",
    },
}

DRIFT: Mapping[Language, str] = {"en": "{} is {}, in the lock it is {}", "zh": "{} 是 {}，锁文件中是 {}"}

WORDS: Mapping[Language, Mapping[str, str]] = {
    "en": {
        "verify": "Verification",
        "identical": "Identical",
        "equivalent": "Equivalent",
        "different": "Different",
        "note": "Note",
        "identical_note": "Every picture was drawn again here to the same pixels, and nothing speaks against the rest.",
        "equivalent_note": "Drawn again here, the pictures differ by no more than rounding; the bounds are below.",
        "different_note": "Something is not as the submission says, or its pictures are not those that it makes here.",
        "submitted": "Submitted",
        "again": "Drawn again here",
        "difference": f"Difference × {DIFFERENCE_GAIN}",
        "findings": "What was found",
        "nothing": "Nothing speaks against it.",
        "scenes": "Scenes",
        "scene": "Scene",
        "grid": "Grid",
        "environment": "How this machine differs from the lock's",
        "tolerance": "What still counts as equivalent",
        "tolerance_note": "For each picture, at this number format",
        "dtype": "Number format",
        "retrained": "Trained again",
        "same_lora": "the same LoRA, byte for byte",
        "other_lora": "another LoRA; the mean scores differ by",
        "changed": "Pixels changed",
        "none": "none",
        "psnr": "PSNR",
        "worst": "Worst block",
        "aesthetics": "Aesthetics",
        "clip": "CLIP",
        "checkpoint": "Drawn by",
        "aesthetics_mean": "aesthetics",
        "clip_mean": "CLIP",
        "or_more": "{} dB or more",
        "at_most": "at most {}",
        "of_255": "{} of 255",
        "comma": ", ",
        "colon": ": ",
        "made_by": "Made by",
        "measured_by": "measured by",
        "signature": "Signature",
        "signature_signed": "Signed by",
        "signature_unsigned": "Not signed.",
        "signature_wrong": "The signature is wrong.",
    },
    "zh": {
        "verify": "核验",
        "identical": "完全一致",
        "equivalent": "等效",
        "different": "不一致",
        "note": "提示",
        "identical_note": "每幅画都在此重新绘制，像素完全相同；其余各项也无不符。",
        "equivalent_note": "在此重新绘制的画只有舍入误差，界限见下。",
        "different_note": "有内容与提交所称不符，或其图片与在此绘制的不同。",
        "submitted": "提交的图",
        "again": "在此重新绘制",
        "difference": f"差异 × {DIFFERENCE_GAIN}",
        "findings": "检查结果",
        "nothing": "没有发现不符之处。",
        "scenes": "画面",
        "scene": "画面",
        "grid": "拼图",
        "environment": "本机与锁文件的环境差异",
        "tolerance": "“等效”的界限",
        "tolerance_note": "适用于每幅图，依数值格式而定",
        "dtype": "数值格式",
        "retrained": "重新训练",
        "same_lora": "LoRA 逐字节相同",
        "other_lora": "LoRA 不同；平均分相差",
        "changed": "改变的像素",
        "none": "无",
        "psnr": "PSNR",
        "worst": "最差块",
        "aesthetics": "美学分",
        "clip": "CLIP",
        "checkpoint": "绘图模型",
        "aesthetics_mean": "美学分",
        "clip_mean": "CLIP",
        "or_more": "不低于 {} dB",
        "at_most": "不超过 {}",
        "of_255": "{} / 255",
        "comma": "，",
        "colon": "：",
        "made_by": "制作",
        "measured_by": "打分模型",
        "signature": "签名",
        "signature_signed": "签名者",
        "signature_unsigned": "没有签名。",
        "signature_wrong": "签名不对。",
    },
}
