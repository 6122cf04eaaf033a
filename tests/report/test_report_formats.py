"""How numbers, durations, sizes and times are said."""

from __future__ import annotations

import pytest
from kolora.report.formats import count, duration, memory, number, when


@pytest.mark.parametrize(
    ("seconds", "english", "chinese"),
    [
        (0, "0.00 s", "0.00 秒"),
        (0.042, "0.04 s", "0.04 秒"),
        (0.996, "1.0 s", "1.0 秒"),
        (9.96, "10 s", "10 秒"),
        (59.6, "1 min 00 s", "1 分 00 秒"),
        (64.2, "1 min 04 s", "1 分 04 秒"),
        (3599.7, "1 h 00 min", "1 小时 00 分"),
        (7620, "2 h 07 min", "2 小时 07 分"),
    ],
)
def test_duration(seconds: float, english: str, chinese: str) -> None:
    assert duration(seconds, "en").replace("\u00a0", " ") == english
    assert duration(seconds, "zh").replace("\u00a0", " ") == chinese


@pytest.mark.parametrize(
    ("value", "said"),
    [(0, "0"), (4.0, "4"), (0.51249, "0.512"), (0.002, "0.002"), (1e-4, "0.0001"), (1e-5, "1e-05"), (-2.5, "-2.5"),
     (123456.0, "123000"), (1e9, "1e+09")],
)  # fmt: skip
def test_number(value: float, said: str) -> None:
    assert number(value) == said


def test_count_and_memory() -> None:
    assert count(23_200_000) == "23,200,000"
    said = {0: "0 B", 1023: "1023 B", 1536: "1.5 KiB", 1_610_612_736: "1.5 GiB"}
    assert {value: memory(value) for value in said} == said


def test_when() -> None:
    assert when("2026-11-21T01:02:03Z") == "2026-11-21 01:02 UTC"
    assert when("2026-11-21T09:02:03+08:00") == "2026-11-21 01:02 UTC"
    assert when("yesterday") == "yesterday"
