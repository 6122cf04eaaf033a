"""What acts unseen is found wherever it stands, shown as what it is, and nothing else is touched."""

from __future__ import annotations

import json
import sys
import unicodedata

import pytest
from kolora.characters import _ACTING, find_acting, replaced, show
from kolora.errors import KoloraError
from kolora.spec.words import printable

from tests.characters.table import ALL, HARMLESS, SENTENCES, WHOLE, hidden


def test_the_list_is_unicodes() -> None:
    categories = ("Cc", "Cf", "Cs", "Zl", "Zp")
    everything = map(chr, range(sys.maxunicode + 1))
    missing = [each for each in everything if unicodedata.category(each) in categories and not _ACTING.match(each)]
    assert missing == []
    listed = [each for each in map(chr, range(sys.maxunicode + 1)) if _ACTING.match(each)]
    # What is listed beside has no name yet, and lies between those that have.
    assert {unicodedata.category(each) for each in listed} <= {*categories, "Cn", "Mn", "Lo"}
    assert len(listed) > 2200


@pytest.mark.parametrize("letter", ALL, ids=lambda each: f"U+{ord(each):04X}")
@pytest.mark.parametrize("form", ["{}", "a{}b", "猫{}", "{}{}", "{}\n", "x" * 59 + "{}"])
def test_every_one_is_found_in_every_place(letter: str, form: str) -> None:
    text = form.format(letter, letter)
    assert len(find_acting(text, allowed="\n")) == form.count("{}")
    assert [*hidden(show(text))] == [*hidden(printable(text))] == [*hidden(replaced(text, allowed="\n"))] == []
    assert len(replaced(text)) == len(text)
    assert show(show(text)) == show(text)


@pytest.mark.parametrize("letter", WHOLE, ids=lambda each: f"U+{ord(each):04X}")
def test_json_reads_what_is_shown_as_the_text_that_it_was(letter: str) -> None:
    value = {"a": f"x{letter}y", f"k{letter}": [letter]}
    assert json.loads(show(json.dumps(value, ensure_ascii=False))) == value


@pytest.mark.parametrize("text", HARMLESS)
def test_what_people_write_stays(text: str) -> None:
    assert find_acting(text) == ()
    assert show(text) == printable(text) == replaced(text) == text


@pytest.mark.parametrize("sentence", SENTENCES)
def test_an_errors_words_are_plain_whoever_reads_them(sentence: str) -> None:
    problem = KoloraError(f"no {sentence}", hint=sentence)
    assert [*hidden(str(problem)), *hidden(problem.error), *hidden(problem.hint)] == []
