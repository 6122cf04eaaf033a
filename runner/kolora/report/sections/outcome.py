"""How the run ended: its state, what drew the pictures, and why it failed where it did."""

from __future__ import annotations

from typing import Literal

from kolora.hubs.catalogue import is_pocket
from kolora.report.section import no_picture_groups, no_scope
from kolora.report.sections.scenes import rendered_scenes
from kolora.report.values import ReportModel, Words
from kolora.runfolder.reader import RunReader
from kolora.runfolder.store import DIGEST_SHOWN

NAME = "outcome"
IS_LISTED = False
picture_groups = no_picture_groups
scope = no_scope


class Failure(ReportModel):
    """Why the run ended early, in the words of the error itself."""

    code: int | None
    error: str
    hint: str
    step: str | None


class Checkpoint(ReportModel):
    """The model that drew the pictures. A pocket picture never passes for a Kolors picture."""

    name: str
    digest: str | None


class Fields(ReportModel):
    """How and when the run ended."""

    status: Literal["complete", "failed", "stopped", "partial"]
    started: str | None
    seconds: float | None
    checkpoint: Checkpoint | None
    practice: bool = False
    """Whether pocket, the small practice checkpoint, drew the pictures: they are no submission to the contest."""
    failure: Failure | None


def gather(reader: RunReader) -> Fields:
    """Read how the run ended; one without its own record has not ended."""
    run, error = reader.run, reader.run.error if reader.run else None
    return Fields(
        status=run.status if run else "partial",
        started=run.started if run else None,
        seconds=run.seconds if run else None,
        checkpoint=read_checkpoint(reader),
        practice=bool(is_practice(reader)),
        failure=Failure(code=error.code, error=error.error, hint=error.hint, step=error.step) if error else None,
    )


def read_checkpoint(reader: RunReader) -> Checkpoint | None:
    """Name the checkpoint; one known by nothing but its digest has no name to pass for another's."""
    if reader.run:
        known = reader.run.checkpoint
        return Checkpoint(name=known.name, digest=known.digest) if known else None
    digests = [facts.checkpoint for facts in rendered_scenes(reader).values()]
    return Checkpoint(name=digests[0][:DIGEST_SHOWN], digest=digests[0]) if digests else None


def is_practice(reader: RunReader) -> bool | None:
    """Say whether pocket drew the pictures; None where nothing tells what did."""
    checkpoint = read_checkpoint(reader)
    return is_pocket(checkpoint.name, checkpoint.digest) if checkpoint else None


WORDS: Words = {
    "en": {
        "practice": "Practice",
        "pocket_note": "pocket is the small practice checkpoint that ships with kolora. These are not Kolors pictures, "
        "and no submission to the contest.",
        "failed_note": "The run failed before it was done. What was finished is shown below.",
        "stopped_note": "The run was stopped and its state saved. The same command continues it.",
        "partial_note": "The run is not finished. What is there is shown below.",
        "at_step": "at step",
        "code_65": "The story is not valid, or the filters left too few pictures.",
        "code_66": "Something the story needs is not here.",
        "code_69": "A hub did not answer.",
        "code_70": "This is a bug of kolora.",
        "code_71": "The device cannot be used, or is out of memory.",
        "code_73": "The output cannot be written, or the disk is full.",
        "code_75": "The run was asked to stop.",
    },
    "zh": {
        "practice": "练习",
        "pocket_note": "pocket 是 kolora 自带的小型练习模型，以下图片并非由可图 Kolors 生成，不能作为参赛作品。",
        "failed_note": "运行中途失败，已完成的部分见下文。",
        "stopped_note": "运行已按要求停止，进度已保存；再次执行同一命令即可继续。",
        "partial_note": "运行尚未完成，已有的部分见下文。",
        "at_step": "出错步骤",
        "code_65": "故事文件有误，或过滤后剩下的图片太少。",
        "code_66": "缺少故事所需的文件或数据。",
        "code_69": "模型或数据平台没有响应。",
        "code_70": "这是 kolora 自身的缺陷。",
        "code_71": "设备不可用，或内存、显存不足。",
        "code_73": "无法写入输出目录，或磁盘已满。",
        "code_75": "运行应要求停止。",
    },
}
