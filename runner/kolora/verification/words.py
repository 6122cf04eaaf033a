"""What a verdict says, in both languages: findings are kept as a key and values, and said where they are read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from kolora.report.values import Language
from kolora.spec.words import printable

EXCERPT_LETTERS = 60
NAMES_SHOWN = 4
LONGEST_VALUE = 400
"""Letters of what a finding tells: a few names, or a message."""
DIFFERENCE_GAIN = 8
"""Differences are shown this many times as strong: those of rounding would not be seen."""


Verdict = Literal["different", "unchecked", "note"]


@dataclass(frozen=True)
class Finding:
    """One thing found: ``different`` where a statement does not hold, ``unchecked`` where nobody here can tell whether
    it does, ``note`` for what a reader should know and that speaks neither way.

    key: of FINDINGS. values: what fills its gaps.
    """

    key: str
    values: tuple[str, ...] = ()
    verdict: Verdict = "different"

    @property
    def what(self) -> str:
        """Say it in English, the language of the command line."""
        return words_of_finding(self.facts, "en")

    @property
    def facts(self) -> dict[str, Any]:
        """Give it as JSON values, as verify.json has it; what a stranger wrote is made safe to print."""
        values = {
            "verdict": self.verdict,
            "key": self.key,
            "values": [printable(value, most=LONGEST_VALUE) for value in self.values],
        }
        return values | {"what": words_of_finding(values, "en")}


def words_of_finding(finding: Mapping[str, Any], language: Language) -> str:
    """Say a finding in a language."""
    return FINDINGS[language][finding["key"]].format(*finding["values"])


def excerpt(value: Any) -> str:
    """Say a value within a line."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= EXCERPT_LETTERS else f"{text[:EXCERPT_LETTERS]}…"


def brief(names: Sequence[str]) -> str:
    """Name the first few of many."""
    shown = ", ".join(names[:NAMES_SHOWN])
    return shown if len(names) <= NAMES_SHOWN else f"{shown} (+{len(names) - NAMES_SHOWN})"


FINDINGS: Mapping[Language, Mapping[str, str]] = {
    "en": {
        "missing": "{} is missing",
        "absent": "{} is missing, and manifest.sha256 promises it",
        "foreign": "{} is no file that a run or an export writes; it was not opened",
        "foreign_folder": "{}/ is no folder that a run or an export makes",
        "pickle": "{} is no file of a run's or an export's, and may be a pickle, which can run code; it was not opened",
        "passed_over": "what stands in these is not judged, as they are no part of what a run shows: {}",
        "work_other": "{} is not what the record of its step says",
        "work_unknown": "not compared, as they are of no finished step of this run: {}",
        "zip_comment": "the zip holds words that belong to no file",
        "zip_bytes": "the zip holds bytes that belong to no file",
        "no_manifest": "manifest.sha256 is missing: the submission does not say that it is complete",
        "not_as_listed": "{}: its sha256 differs from manifest.sha256",
        "unlisted": "{} is not in manifest.sha256",
        "manifest_form": "manifest.sha256 holds lines that kolora does not write",
        "not_as_locked": "{}: its sha256 differs from story.lock.yaml",
        "unreadable_text": "{} cannot be read: {}",
        "torn": "{} is not as it was written: its digest is of something else",
        "other_bytes": "{} is not the file that is made here, byte for byte; no difference in what it says was found",
        "statement": "{}: {} is {}, made here it is {}",
        "story": "story.yaml: {} is {}, in story.lock.yaml it is {}",
        "story_text": "story.yaml is not the file that an export of this run writes",
        "override": "{} was {} when the story was run, by --set; story.yaml says {}",
        "overrides": "the story was run with --set {}",
        "environment": "{} names another machine or other versions than are here, which nobody can check: {}",
        "other_version": "{} was written by another kolora; not checked: {}",
        "says_less": "{} lacks what is made here: {}",
        "rounding": "{}: these numbers differ from those measured here by no more than rounding: {}",
        "not_rebuilt": "{} tells of data and training that were not done again here: {}",
        "unopened": "not compared, as data and training were not done again here: {}",
        "told": "{} tells what only its run can know: {}",
        "told_by_run": "times, peak memory, commands and which steps were kept are told by the run's own records",
        "origin": "{}: the same files lie here from another place than it names: {}",
        "training_skipped": "the LoRA was not trained again: --no-retrain",
        "training_impossible": "the LoRA was not trained again here: {}",
        "training_differs": "trained again here, the LoRA is another one; what is told of its training is not checked",
        "lora_given": "the story brings its LoRA; where that file came from is not checked",
        "team": "the team in {} stands in no story, or is another than the story's",
        "lora_rank": "the LoRA has rank {}, the story trains with {}",
        "lora_unreadable": "{} cannot be loaded: {}",
        "lora_other": "{} holds other weights than the file that is made here: {}",
        "lora_header": "{}: its header says {} {}, made here it says {}",
        "lora_header_less": "{}: its header lacks {}",
        "size": "{} has {} x {} pixels, made here it has {} x {}",
        "unreadable": "{} is not a readable PNG: {}",
        "picture_form": "{} is of another kind of PNG than kolora writes: {}",
        "chunk": "{} holds {}, which kolora does not write",
        "trailing": "{} holds bytes behind its picture",
        "not_stated": "{} does not state {}",
        "stated_otherwise": "{} states {} {}, made here it states {}",
        "recompressed": "{} has the pixels and texts that are made here in another compression",
        "picture_other": "{} is another picture than the one made here: PSNR {} dB",
        "picture_near": "{} differs from the picture made here by no more than rounding",
        "report_unreadable": "report.json cannot be read: {}",
        "page": "{} is not the page that its report makes",
        "page_pictures": "{} has the words that its report makes; the pictures inside are not those made here",
        "page_of_other_version": "{} was written by kolora {} and is not checked; the report made here takes its place",
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
        "missing": "缺少 {}",
        "absent": "缺少 {}，而 manifest.sha256 中列有它",
        "foreign": "{} 不是运行或导出会写的文件，未予打开",
        "foreign_folder": "{}/ 不是运行或导出会建的文件夹",
        "pickle": "{} 不是运行或导出会写的文件，且可能是 pickle，其中可以藏有代码，未予打开",
        "passed_over": "未判断其内容（不属于运行所展示的结果）：{}",
        "work_other": "{} 与其步骤记录所写不同",
        "work_unknown": "未比较，因为不属于本次运行任何已完成的步骤：{}",
        "zip_comment": "zip 中有不属于任何文件的文字",
        "zip_bytes": "zip 中有不属于任何文件的字节",
        "no_manifest": "没有 manifest.sha256：提交没有说明自己是完整的",
        "not_as_listed": "{} 的 sha256 与 manifest.sha256 所写不同",
        "unlisted": "{} 没有列在 manifest.sha256 中",
        "manifest_form": "manifest.sha256 中有 kolora 不会写的行",
        "not_as_locked": "{} 的 sha256 与 story.lock.yaml 所写不同",
        "unreadable_text": "{} 无法读取：{}",
        "torn": "{} 已不是写下时的样子：其摘要与内容不符",
        "other_bytes": "{} 与在此生成的文件并非逐字节相同，但所说内容未见不同",
        "statement": "{}：{} 是 {}，在此得到的是 {}",
        "story": "story.yaml 中 {} 是 {}，story.lock.yaml 中是 {}",
        "story_text": "story.yaml 不是导出此次运行时会写的文件",
        "override": "运行时用 --set 把 {} 设为 {}，story.yaml 中是 {}",
        "overrides": "运行时用了 --set {}",
        "environment": "{} 所写的机器或版本与这里不同，无法核对：{}",
        "other_version": "{} 由另一版本的 kolora 写成，未核对：{}",
        "says_less": "{} 缺少在此得到的内容：{}",
        "rounding": "{}：这些数值与在此测得的只有舍入误差：{}",
        "not_rebuilt": "{} 说到的数据与训练未在此重做：{}",
        "unopened": "未比较，因为数据与训练未在此重做：{}",
        "told": "{} 说到只有那次运行才知道的事：{}",
        "told_by_run": "时间、内存峰值、命令，以及哪些步骤沿用，均由运行自己的记录说明",
        "origin": "{}：同样的文件在此来自别处：{}",
        "training_skipped": "没有重新训练 LoRA：--no-retrain",
        "training_impossible": "没有在此重新训练 LoRA：{}",
        "training_differs": "在此重新训练得到另一个 LoRA，因此关于训练的说法未核对",
        "lora_given": "故事自带 LoRA，其来源未核对",
        "team": "{} 中的队伍名称不在故事里，或与故事所写不同",
        "lora_rank": "LoRA 的秩是 {}，故事用 {} 训练",
        "lora_unreadable": "{} 无法载入：{}",
        "lora_other": "{} 的权重与在此生成的文件不同：{}",
        "lora_header": "{} 的文件头写明 {} 是 {}，在此生成的是 {}",
        "lora_header_less": "{} 的文件头缺少 {}",
        "size": "{} 的尺寸是 {} × {}，在此绘制的是 {} × {}",
        "unreadable": "{} 不是完好的 PNG：{}",
        "picture_form": "{} 不是 kolora 所写的那种 PNG：{}",
        "chunk": "{} 含有 kolora 不会写的 {}",
        "trailing": "{} 的图像之后还有字节",
        "not_stated": "{} 没有写明 {}",
        "stated_otherwise": "{} 写明 {} 是 {}，在此绘制的写明 {}",
        "recompressed": "{} 的像素与文字同在此绘制的一样，只是压缩不同",
        "picture_other": "{} 与在此绘制的不是同一幅图：PSNR {} dB",
        "picture_near": "{} 与在此绘制的只有舍入误差",
        "report_unreadable": "report.json 无法读取：{}",
        "page": "{} 不是由其报告生成的页面",
        "page_pictures": "{} 的文字与其报告相符，其中的图片与在此绘制的不同",
        "page_of_other_version": "{} 由 kolora {} 写成，未核对；请看在此生成的报告",
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
        "unchecked": "Not checked",
        "identical_note": "Every file is accounted for, and all that they say was made again here and found equal.",
        "equivalent_note": "Nothing speaks against it, but not everything could be checked here, or is the same to the "
        "last digit: what that is stands below.",
        "different_note": "Something is not as the submission says, or its pictures are not those that it makes here.",
        "our_report": "The report as it was made again here",
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
        "same_lora": "the same LoRA",
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
        "unchecked": "未核对",
        "identical_note": "每个文件都有着落，其中所说的一切都已在此重做，结果相同。",
        "equivalent_note": "没有发现不符之处，但并非一切都能在此核对，或仅有舍入误差：详见下文。",
        "our_report": "在此重新生成的报告",
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
        "same_lora": "LoRA 相同",
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
