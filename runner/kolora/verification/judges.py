"""When a statement that is not the one made here is false, and when nobody here can tell."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kolora.runfolder import layout
from kolora.runfolder.migrate import PICTURES_OF_0_1
from kolora.verification.statements import ABSENT, are_near, says_nothing
from kolora.verification.verdict import Tolerance
from kolora.version import __version__

NEAR = 1e-3
"""How far a score may be from that of the same pixels: judges compute in float32, on whatever device."""
OF_MACHINE = ("packages.", "image", "numerics", "environment.")
OF_STEPS = re.compile(r"numerics\.\d+\.steps(\..*)?")
"""Which steps were computed in one arithmetic: those that were not done here are missing."""
OF_DATA = re.compile(
    r"data(\..*)?|dataset\.(files|kept|origin)(\..*)?|style(\..*)?|scenes\.\d+\.style|coherence\.training_mean"
    r"|verdict\.training_clip_mean|facts\.(training|style)(\..*)?|facts\.coherence\.training_mean"
)
OF_TRAINING = re.compile(r"training\.(loss|learning_rate|step|samples|loss_first|loss_last)(\..*)?")
OF_OTHER_VERSIONS = re.compile(r"(again|steps|gaps|data|training|schema|lock|inputs|digest|version|format)(\..*)?")
"""Statements that releases make in other words, or that their defaults decide."""
SCORE = re.compile(r"(.*\.)?(aesthetics|clip|coherence|style)(\..*)?|.*(aesthetics|clip|training)_mean|facts\.valid")


@dataclass(frozen=True, kw_only=True)
class Context:
    """What judging a submission's statements takes.

    digests: the sha256 of its files. exact: whether its pictures have the pixels drawn here. former_checkpoint: what an
    older kolora called the checkpoint. skipped: stages that were not done here. version: that it says it was made by.
    told: statements that only its run can know and that no record of it confirms.
    """

    digests: Mapping[str, str]
    exact: bool
    tolerance: Tolerance
    skipped: frozenset[str]
    version: str
    former_checkpoint: str | None = None
    told: frozenset[str] = frozenset()

    @property
    def is_of_other_version(self) -> bool:
        """Whether it says that another kolora made it."""
        return self.version != __version__

    def judge_lock(self, name: str, stated: Any, made: Any) -> str | None:
        """Judge a statement of story.lock.yaml."""
        if name.startswith("results."):
            return self._judge_result(name.removeprefix("results."), stated)
        if ".origin" in name and not name.startswith("story."):
            return "origin"
        return self._judge(name, stated, made)

    def judge_report(self, name: str, stated: Any, made: Any) -> str | None:
        """Judge a statement of report.json."""
        scene = re.fullmatch(r"scenes\.(\d+)\.(sha256|baseline)", name)
        if scene and scene[2] == "sha256":
            return self._judge_result(f"images/{int(scene[1]):02d}.png", stated)
        if scene and self.is_of_other_version and stated == f"{PICTURES_OF_0_1['baseline']}/{int(scene[1]):02d}.png":
            return "other_version"
        if name == "checkpoint.digest" and stated == self.former_checkpoint:
            return "other_version"
        if name in self.told:
            return "told"
        return self._judge(name, stated, made)

    def judge_record(
        self, name: str, stated: Any, made: Any, *, stage: str, files: Mapping[str, str | None]
    ) -> str | None:
        """Judge a statement of a record. files: where a file of its step is published, None for one that is not."""
        # Of all the others, which are judged one by one; that it is their own is looked at before.
        if name == "sha256" and stated is not ABSENT:
            return None
        if stage in self.skipped and name.partition(".")[0] in ("facts", "files", "numerics"):
            return "not_rebuilt"
        if name.startswith("files.") and stated is not ABSENT and made is not ABSENT:
            file, _, key = name.removeprefix("files.").rpartition(".")
            published = files.get(file)
            if published is None or key != "sha256":
                return "rounding"
            return self._judge_result(published, stated)
        return self._judge(name, stated, made)

    def judge_numbers(self, _name: str, stated: Any, made: Any) -> str | None:
        """Judge what a file tells of the data or the training, which were done again here."""
        if says_nothing(stated):
            return "says_less"
        return (
            "rounding"
            if are_near(stated, made, NEAR * max(1.0, abs(made) if _is_number(made) else 1.0))
            else "different"
        )

    def _judge_result(self, file: str, stated: Any) -> str | None:
        """Judge the digest of a file: that of its own, whose content is compared by itself."""
        if stated is ABSENT:
            return "says_less"
        if self.former_checkpoint is not None:
            file = file.replace(PICTURES_OF_0_1["baseline"], layout.BASELINE)
        return None if file in self.digests and stated == self.digests[file] else "different"

    def _judge(self, name: str, stated: Any, made: Any) -> str:
        if name == "kolora" and isinstance(stated, str):
            return "other_version"
        if self.skipped and OF_STEPS.fullmatch(name):
            return "not_rebuilt"
        if name.startswith(OF_MACHINE):
            return "environment"
        if "fetch" in self.skipped and OF_DATA.fullmatch(name):
            return "not_rebuilt"
        if "train" in self.skipped and OF_TRAINING.fullmatch(name):
            return "not_rebuilt"
        if SCORE.fullmatch(name) and are_near(stated, made, self._allowed(name)):
            return "rounding"
        if says_nothing(stated):
            return "says_less"
        if self.is_of_other_version and OF_OTHER_VERSIONS.fullmatch(name):
            return "other_version"
        return "different"

    def _allowed(self, name: str) -> float:
        if self.exact:
            return NEAR
        return self.tolerance.aesthetics if "aesthetics" in name else self.tolerance.clip


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
