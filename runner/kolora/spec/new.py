"""A first story to start from, with a comment on every choice."""

from __future__ import annotations

from pathlib import Path
from typing import Literal


def new_story(language: Literal["zh", "en"]) -> str:
    """Return a commented story in Chinese or English that validates and runs on pocket as it is."""
    return Path(__file__).with_name(f"starter.{language}.txt").read_text(encoding="utf-8")
