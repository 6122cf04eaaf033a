"""The reference in docs/reference.md: written from the models, and up to date."""

from __future__ import annotations

from pathlib import Path

import pytest
from kolora.spec import Story
from kolora.spec.operators import OPERATORS
from kolora.spec.reference import BEGIN, END, insert_reference, reference

PAGE = Path(__file__).parents[2] / "docs" / "reference.md"


def test_the_page_holds_the_reference_as_the_models_have_it() -> None:
    """`make docs` writes it anew."""
    text = PAGE.read_text(encoding="utf-8")
    assert insert_reference(text) == text


def test_every_section_and_every_key_is_in_it() -> None:
    text = reference()
    for name, info in Story.model_fields.items():
        assert f"`{name}" in text
        for field in getattr(info.annotation, "model_fields", {}):
            assert f"| `{field}` |" in text
    for name in OPERATORS:
        assert f"| `{name}` |" in text


def test_a_row_says_what_a_key_takes_its_default_and_its_meaning() -> None:
    lines = reference().splitlines()
    assert "| `rank` | a whole number from 1 to 256 | `16` | " in next(line for line in lines if "`rank`" in line)
    assert "| `prompt` | text of 1 to 10,000 characters | required | What the picture shows. |" in lines
    assert "| `source` | pocket | required | `pocket`. |" in lines


def test_every_table_is_a_table() -> None:
    rows = [line for line in reference().splitlines() if line.startswith("|")]
    assert len(rows) > 60
    assert all(row.endswith("|") and row.count(" | ") in (0, 3) for row in rows)


def test_only_what_stands_between_the_markers_changes() -> None:
    text = f"before {BEGIN} old {END} after"
    written = insert_reference(text)
    assert written.startswith(f"before {BEGIN}")
    assert written.endswith(f"{END} after")
    assert " old " not in written
    assert insert_reference(written) == written


@pytest.mark.parametrize("text", ["", BEGIN, f"{END} {BEGIN}"])
def test_a_text_without_markers_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="markers"):
        insert_reference(text)
