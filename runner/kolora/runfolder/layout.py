"""Every name in a run folder, once.

.kolora.json             the mark: whose folder it is, and which files kolora has written there
work/STEP-DIGEST/        a finished step: its files, and record.json, written last
work/STEP-DIGEST.partial/, .state/   a step at work, and what it has saved to resume from
records/, logs/          one file a step, and records/run.json about the run
images/ images/baseline/ grid.png lora/ data/ report.* story.yaml story.lock.yaml status.json manifest.sha256
export/                  what left it for other tools; no part of its promise
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import chain

from kolora.ownership import MARK
from kolora.stages.export_lora import FILES
from kolora.stages.render import IMAGE

WORK = "work"
RECORDS = "records"
LOGS = "logs"
CURVES = f"{LOGS}/tensorboard"
EXPORT = "export"
RUN_RECORD = f"{RECORDS}/run.json"
STEP_RECORD = "record.json"
"""The record inside a finished step's folder."""
STORY = "story.yaml"
LOCK = "story.lock.yaml"
STATUS = "status.json"
MANIFEST = "manifest.sha256"
SIGNATURE = f"{MANIFEST}.sig"
"""Of a pack that somebody signed, as ``ssh-keygen -Y sign`` names it."""
RUN_LOCK = ".lock"
"""The file that a run holds locked while it works."""

REPORT = "report.json"
REPORT_PAGE = "report.html"
REPORT_CARD = "report.md"
GRID = "grid.png"
TRAINING_SET = "data/train"
DROPPED = "data/dropped"
LEDGER = "data/ledger.jsonl"
HISTORY = "lora/history.json"
METRICS = "lora/metrics.csv"
SAMPLES = "lora/samples"
IMAGES = "images"
BASELINE = "images/baseline"
LORAS: Mapping[str, str] = {ecosystem: f"lora/{name}" for ecosystem, name in FILES.items()}
"""The LoRA under each ecosystem's conventions."""

PUBLISHED: Mapping[str, Mapping[str, str]] = {
    "filter": {"train": TRAINING_SET, "dropped": DROPPED, "ledger.jsonl": LEDGER},
    "train": {"history.json": HISTORY, "metrics.csv": METRICS, "samples": SAMPLES},
    "export_lora": {path.rpartition("/")[2]: path for path in LORAS.values()},
    "grid": {"grid.png": GRID},
}
"""Which files of a stage's one step are published under which name."""
PICTURES: Mapping[str, str] = {"render": IMAGES, "baseline": BASELINE}
"""Where the pictures of stages with a step a scene are published: with the LoRA, and without it to compare."""

NOT_IN_MANIFEST = (WORK, LOGS, EXPORT, RUN_LOCK, STATUS, MANIFEST, SIGNATURE, MARK)
"""What is nobody's result, by its first name."""
ALWAYS = frozenset(
    {STORY, LOCK, STATUS, MANIFEST, RUN_RECORD, REPORT, REPORT_CARD, REPORT_PAGE}
    | {f"report.{language}.html" for language in ("en", "zh")}
)
"""The files of every run, whatever its story; the page in the story's own language is ``report.html``."""
_OF_STAGES = chain.from_iterable(names.values() for names in PUBLISHED.values())
PUBLIC = frozenset(name.partition("/")[0] for name in (WORK, LOGS, *ALWAYS, *_OF_STAGES, *PICTURES.values()))
"""The first names of all that a run writes."""
_STEP_FOLDER = re.compile(r"[a-z_]+(-[a-z]+)?(-\d+)?-[0-9a-f]{12}(\.partial|\.state)?|new-[0-9a-f]{16}")


def is_work(name: str) -> bool:
    """Tell whether a name in ``work/`` is one that kolora gives."""
    return _STEP_FOLDER.fullmatch(name) is not None


def log_path(step: str) -> str:
    """Name the log of a step."""
    return f"{LOGS}/{step}.log"


def record_path(step: str) -> str:
    """Name the published record of a step."""
    return f"{RECORDS}/{step}.json"


def picture_path(stage: str, scene: int) -> str:
    """Name the published picture of a scene: ``images/03.png``, ``images/baseline/03.png``."""
    return f"{PICTURES[stage]}/{scene:02d}.png"


def published_paths(stage: str, scene: int | None) -> Mapping[str, str]:
    """Map the files of a finished step to their published names."""
    if stage in PICTURES and scene is not None:
        return {IMAGE: picture_path(stage, scene)}
    return PUBLISHED.get(stage, {})
