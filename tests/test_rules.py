"""The contest's rules: each asked, everything against them told at once."""

from __future__ import annotations

from dataclasses import replace

import pytest
from kolora.errors import InputAbsent
from kolora.rules import Entry, check_rules

GOOD = Entry(
    team="墨韵", title="小猫的一天", pictures=8, aesthetics=6.0, lora=None, checkpoint="kolors", is_complete=True
)


def test_an_entry_that_meets_every_rule_is_named_by_it() -> None:
    assert all(rule.met and not rule.violations for rule in check_rules(GOOD))
    assert GOOD.name == "墨韵-可图Kolors训练-小猫的一天"


@pytest.mark.parametrize(
    ("change", "name", "met", "told"),
    [
        ({"pictures": 7}, "pictures", False, "it has 7 pictures"),
        ({"aesthetics": 5.994}, "aesthetics", False, "score of its pictures is 5.994"),
        ({"aesthetics": None}, "aesthetics", None, "were not scored"),
        ({"lora": InputAbsent("it is torn")}, "lora", False, "it is torn"),
        ({"team": " "}, "name", None, "the team has no name"),
        ({"title": "a/b"}, "name", False, "the title 'a/b' cannot"),
        ({"title": ".hidden"}, "name", False, "cannot be part of a file name"),
        ({"title": "长" * 90}, "name", False, "too long"),
        ({"is_complete": False}, "complete", False, "is not complete"),
    ],
)
def test_one_thing_wrong_breaks_one_rule(change: dict[str, object], name: str, met: bool | None, told: str) -> None:
    broken = [rule for rule in check_rules(replace(GOOD, **change)) if not rule.met]
    assert [(rule.name, rule.met) for rule in broken] == [(name, met)]
    assert told in broken[0].violations[0].message


def test_an_exercise_may_be_packed_and_is_told_to_be_one() -> None:
    (kolors,) = (rule for rule in check_rules(replace(GOOD, checkpoint="pocket")) if rule.name == "kolors")
    assert (kolors.met, kolors.violations) == (False, ())
