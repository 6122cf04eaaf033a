"""The section `grid`: how the pictures are pasted into one."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from kolora.spec.types import COLOUR, Frozen

CELL = 512
"""Pixels of a cell's side where the story does not size the grid: 2 x 4 pictures make 1024 x 2048."""


class Grid(Frozen):
    """How the pictures are pasted into one."""

    columns: Annotated[int, Field(ge=1, le=64)] = 4
    """Pictures side by side; a story with fewer scenes has fewer columns."""

    width: Annotated[int, Field(ge=16, le=16_384)] | None = None
    """Width of the whole grid, in pixels; none means 512 a column."""

    height: Annotated[int, Field(ge=16, le=16_384)] | None = None
    """Height of the whole grid, in pixels; none means 512 a row."""

    gap: Annotated[int, Field(ge=0, le=256)] = 0
    """Pixels between pictures."""

    background: Annotated[str, Field(pattern=COLOUR)] = "#ffffff"
    """Colour of gaps and empty cells."""


class ResolvedGrid(Frozen):
    """The grid with every value filled in."""

    columns: int
    """Pictures side by side."""

    rows: int
    """Rows of pictures."""

    width: int
    """Width of the whole grid, in pixels."""

    height: int
    """Height of the whole grid, in pixels."""

    gap: int
    """Pixels between pictures."""

    background: str
    """Colour of gaps and empty cells."""
