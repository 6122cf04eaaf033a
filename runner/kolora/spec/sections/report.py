"""The section `report`: how the report is written."""

from __future__ import annotations

from typing import Literal

from kolora.spec.types import Frozen, Title


class Report(Frozen):
    """How the report is written."""

    language: Literal["zh", "en"] | None = None
    """Language of the report; none means the story's."""

    title: Title | None = None
    """Head of the report; none means the story's title."""

    compare: bool = True
    """Whether each scene is also drawn without the LoRA, from the same seed, to compare."""
