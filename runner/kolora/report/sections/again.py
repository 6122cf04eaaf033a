"""What it takes to run the story again: the command, the story, its settings, its lock."""

from __future__ import annotations

import shlex

from kolora.report.section import no_picture_groups, no_scope
from kolora.report.settings import Setting, read_settings
from kolora.report.values import ReportModel, Words
from kolora.runfolder.layout import LOCK, LORAS, STORY
from kolora.runfolder.reader import RunReader

NAME = "again"
IS_LISTED = True
picture_groups = no_picture_groups
scope = no_scope
STORY_BYTES = 256 * 1024
COMMAND = f"kolora run {STORY} -o again"
"""How to run a story again where nobody knows how it was run."""


class Again(ReportModel):
    """What it takes to run the story again."""

    command: str
    settings: tuple[Setting, ...] = ()
    """The story in full, every default filled in; a scene's own keys only where it says them."""
    story: str | None
    """The story file as given, where it can be read as text."""
    lora: str | None = None
    """Path of the LoRA file under diffusers' names, relative to the run folder."""
    lock: str | None = None
    """Path of the lock, relative to the run folder, where the run wrote one."""


class Fields(ReportModel):
    """How to run it again."""

    again: Again


def gather(reader: RunReader) -> Fields:
    """Read the command, the story file and the settings in force."""
    run = reader.run
    command = run.command if run else ()
    story = _story(reader)
    is_locked = reader.ran_to_end and reader.folder.is_file(LOCK)
    return Fields(
        again=Again(
            command=shlex.join(command) if command else COMMAND,
            settings=read_settings(reader.values),
            story=story,
            lora=find_lora(reader),
            lock=LOCK if is_locked else None,
        )
    )


def find_lora(reader: RunReader) -> str | None:
    """Return the path of the LoRA under diffusers' names, where there is one."""
    path = LORAS["diffusers"]
    return path if reader.folder.is_file(path) else None


def _story(reader: RunReader) -> str | None:
    content = reader.bytes_of(STORY)
    return story_text(content) if content is not None else None


def story_text(content: bytes) -> str | None:
    """Return a story file as a report shows it; None for one that is too long, or no text."""
    if len(content) > STORY_BYTES:
        return None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None


WORDS: Words = {
    "en": {
        "again": "Run it again",
        "story_given": "The story as given",
        "story_file": "story file",
        "copy_command": "Copy command",
        "settings": "The story in full",
        "settings_count": "{} keys, {} of them not as by default",
        "key": "Key",
        "value": "Value",
        "default": "Default",
        "differs": "differs",
        "lock_file": "what it was resolved to",
    },
    "zh": {
        "again": "重新运行",
        "story_given": "原始故事文件",
        "story_file": "故事文件",
        "copy_command": "复制命令",
        "settings": "完整设置",
        "settings_count": "共 {} 项，其中 {} 项不同于默认值",
        "key": "键",
        "value": "取值",
        "default": "默认值",
        "differs": "有改动",
        "lock_file": "锁定文件",
    },
}
