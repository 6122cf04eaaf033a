"""The section `model`: the checkpoint and what it runs with."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from kolora.spec.types import Frozen, PathOrName


class Model(Frozen):
    """The checkpoint that is taught and that draws."""

    checkpoint: PathOrName = "kolors"
    """`kolors`, `pocket` (the small checkpoint inside the package), or a folder in the Kolors file layout."""

    dtype: Literal["auto", "float32", "float16", "bfloat16"] = "auto"
    """Number format of the weights; `auto` is float32 on a CPU and the fastest safe one on a GPU."""

    memory: Annotated[float, Field(ge=1, le=1024)] | None = None
    """Most of the GPU's memory to take, in GiB; none means all of it. The pictures stay the same but for rounding."""
