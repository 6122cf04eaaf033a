"""The words of the report: the same in both languages, all of them used."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest
from kolora.batch.summary import BATCH_WORDS
from kolora.errors import KoloraError
from kolora.planning import REASONS as PLANNED
from kolora.report.data import SECTIONS, ReportData
from kolora.report.diff import DIFF_WORDS
from kolora.report.pages import TEMPLATES
from kolora.report.sections.data import KINDS, STATISTICS
from kolora.report.sections.timings import REASONS, Step
from kolora.report.sections.verdict import Rule, Verdict
from kolora.report.words import COMMON, WORDS
from kolora.runfolder.lock import Numerics
from kolora.runfolder.reader import Gap
from kolora.spec.operators import OPERATORS
from kolora.stages import STAGES

RUNNER = Path(__file__).parents[2] / "runner" / "kolora"
ENGLISH, CHINESE = ({**WORDS[language], **DIFF_WORDS[language], **BATCH_WORDS[language]} for language in ("en", "zh"))
TABLES = [COMMON, DIFF_WORDS, BATCH_WORDS, *(section.WORDS for section in SECTIONS)]
SOURCE = "".join(path.read_text(encoding="utf-8") for path in TEMPLATES.rglob("*.j2")) + "".join(
    path.read_text(encoding="utf-8").split("WORDS: Words")[0]
    for path in (RUNNER / "report").rglob("*.py")
    if path.name != "words.py"
)
DATASETS = "".join(path.read_text(encoding="utf-8") for path in (RUNNER / "datasets").glob("*.py"))
REPORTED = {65, 66, 69, 71, 73, 75}
"""Exit codes of runs that leave a report."""
CHOSEN = {
    *(str(state) for state in get_args(Verdict.model_fields["state"].annotation)),
    *(f"{state}_note" for state in get_args(Verdict.model_fields["state"].annotation)),
    *(str(status) for status in get_args(ReportData.model_fields["status"].annotation)),
    *(f"{status}_note" for status in get_args(ReportData.model_fields["status"].annotation) if status != "complete"),
    *(f"gap_{what}" for what in get_args(Gap.model_fields["what"].annotation)),
    *(f"action_{action}" for action in get_args(Step.model_fields["action"].annotation)),
    *(f"stage_{stage}" for stage in STAGES),
    *(f"rule_{name}" for name in get_args(Rule.model_fields["name"].annotation)),
    *(f"code_{error.code}" for error in KoloraError.__subclasses__() if error.code in REPORTED),
    f"code_{KoloraError.code}",
    *(f"diff_{state}" for state in ("identical", "different", "one_sided")),
    *(f"num_{name}" for name in Numerics.model_fields if name not in ("steps", "torch")),
    *("memory_cpu", "memory_gpu", "waiting", "running", "scene_pending", "scene_failed"),
}
"""Words that the templates choose by a value."""


def test_every_reason_and_every_fault_of_a_file_is_known_in_chinese() -> None:
    kinds = set(re.findall(r'Rejection\(\s*"([^"]+)"', DATASETS))
    assert KINDS["zh"].keys() == kinds | {"truncated file", "damaged file"}
    assert len(KINDS["zh"]) > 5
    assert REASONS["zh"].keys() == PLANNED.keys()
    for key, said in PLANNED.items():
        assert said.count("{}") == REASONS["zh"][key].count("{}")


def test_everything_that_a_filter_measures_has_a_chinese_name() -> None:
    assert STATISTICS["zh"].keys() == {name for operator in OPERATORS.values() for name in operator.stats}


def test_both_languages_have_the_same_words() -> None:
    assert CHINESE.keys() == ENGLISH.keys()
    assert list(CHINESE) == list(ENGLISH), "the tables stay easy to compare"
    assert len(ENGLISH) == sum(len(table["en"]) for table in TABLES), "no table takes another's key"


@pytest.mark.parametrize("words", [ENGLISH, CHINESE])
def test_every_value_has_its_word(words: dict[str, str]) -> None:
    assert len(CHOSEN) > 20
    assert words.keys() >= CHOSEN
    assert all(words.values())


@pytest.mark.parametrize("key", ENGLISH)
def test_every_word_is_used(key: str) -> None:
    assert key in CHOSEN or re.search(rf"\bw\.{key}\b|[\"']{key}[\"']", SOURCE)


@pytest.mark.parametrize("key", ENGLISH)
def test_both_languages_leave_room_for_the_same_numbers(key: str) -> None:
    assert ENGLISH[key].count("{}") == CHINESE[key].count("{}")
