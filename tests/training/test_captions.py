"""Trigger words and templates end up in the text, once, and nothing else does."""

from __future__ import annotations

import pytest
from kolora.training.captions import compose


@pytest.mark.parametrize(
    ("caption", "trigger", "expected"),
    [
        ("一只猫", "", "一只猫"),
        ("一只猫", "水墨", "水墨，一只猫"),
        ("a cat", "inkwash", "inkwash, a cat"),
        ("a cat", "水墨", "水墨, a cat"),
        ("水墨的一只猫", "水墨", "水墨的一只猫"),
        ("", "水墨", "水墨"),
        (" ", "水墨", "水墨"),
        ("", "", ""),
    ],
)
def test_a_trigger_is_put_before_captions_that_lack_it(caption: str, trigger: str, expected: str) -> None:
    assert compose(caption, trigger=trigger) == expected


def test_a_template_says_where_both_go() -> None:
    assert compose("一只猫", trigger="水墨", template="{caption}，{trigger}风格") == "一只猫，水墨风格"
    assert compose("anything", template="one text for all") == "one text for all"


def test_braces_of_a_caption_stand_for_nothing() -> None:
    assert compose("{trigger} {0}", trigger="x", template="{trigger}: {caption}") == "x: {trigger} {0}"
