"""The contest's rules: each asked, everything against them told at once."""

from __future__ import annotations

from dataclasses import replace

import pytest
from kolora.errors import InputAbsent
from kolora.rules import NAME, Entry, check_rules, violations_of

GOOD = Entry(
    team="墨韵", title="小猫的一天", pictures=8, aesthetics=6.0, lora=None, is_practice=False, is_complete=True
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
        ({"title": "长" * 80}, "name", False, "too long"),
        ({"title": "墨韵-可图Kolors训练-小猫"}, "name", False, "stands between team and title"),
        ({"team": "墨韵-可图KOLORS训练"}, "name", False, "stands between team and title"),
        ({"title": "pocket练习"}, "name", False, "stands between team and title"),
        ({"is_practice": None}, "kolors", None, "is not known"),
        ({"is_complete": False}, "complete", False, "is not complete"),
    ],
)
def test_one_thing_wrong_breaks_one_rule(change: dict[str, object], name: str, met: bool | None, told: str) -> None:
    broken = [rule for rule in check_rules(replace(GOOD, **change)) if not rule.met]
    assert [(rule.name, rule.met) for rule in broken] == [(name, met)]
    assert told in broken[0].violations[0].message


def test_an_exercise_is_packed_only_where_that_is_asked_for() -> None:
    exercise = replace(GOOD, is_practice=True)
    (broken,) = (rule for rule in check_rules(exercise) if not rule.met)
    assert broken.name == "kolors"
    (refused,) = violations_of(exercise, practice=False)
    assert "--practice" in refused.hint
    assert violations_of(exercise, practice=True) == []


@pytest.mark.parametrize("is_practice", [False, None])
def test_a_contribution_is_not_packed_as_an_exercise(is_practice: bool | None) -> None:
    (refused,) = violations_of(replace(GOOD, is_practice=is_practice), practice=True)
    assert refused.hint == "leave out --practice"


@pytest.mark.parametrize(
    ("team", "title"),
    [
        ("墨韵", "小猫"),
        ("a-可图Kolors训练-b", "c"),
        ("a", "b-可图Kolors训练-c"),
        ("a-pocket练习-b", "c"),
        ("a", "b-pocket练习-c"),
    ],
)
def test_no_exercise_has_a_name_that_the_contest_could_give(team: str, title: str) -> None:
    """A name of either kind tells which it is, or it is not given at all."""
    middle = NAME.format(team="", title="")
    for is_practice in (True, False):
        entry = replace(GOOD, team=team, title=title, is_practice=is_practice)
        if not violations_of(entry, practice=is_practice):
            assert (middle in entry.name) is not is_practice
            assert entry.name.count(middle) + entry.name.count("-pocket练习-") == 1


def test_all_that_is_wrong_is_listed_for_exercises_too() -> None:
    worst = replace(GOOD, team="", title="a/b", pictures=1, aesthetics=1.0, is_practice=True, is_complete=False)
    assert len(violations_of(worst, practice=True)) == 5
    assert len(violations_of(worst, practice=False)) == 6
