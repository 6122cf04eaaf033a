"""The section `scores`: how the pictures are judged."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from kolora.spec.types import Frozen, PathOrName


class Scores(Frozen):
    """How the pictures are judged."""

    aesthetics: PathOrName = "auto"
    """Aesthetic predictor: `auto` (the checkpoint's own), `off`, or a folder."""

    clip: PathOrName = "auto"
    """CLIP for the similarity of text and picture: `auto` (the checkpoint's own), `off`, or a folder."""

    threshold: Annotated[float, Field(ge=1, le=10)] = 6.0
    """Mean aesthetic score, of 1 to 10, from which on the story is valid."""
