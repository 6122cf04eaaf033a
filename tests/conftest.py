"""What the whole suite shares: one thread a process, and a tiny checkpoint in the published layout."""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"  # read when torch is loaded, also by what the tests start

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from runner.models.parts import Parts


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in Kolors' layout with tiny untrained parts, its scorers in ``clip/`` and ``aesthetics/``."""
    from tests.tiny import write_tiny_checkpoint

    folder = tmp_path_factory.mktemp("checkpoint") / "tiny"
    write_tiny_checkpoint(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_parts(tiny_checkpoint: Path) -> Parts:
    """The tiny checkpoint's parts on the CPU in float32, loaded as tests ask for them."""
    from runner.models.parts import Parts

    return Parts(tiny_checkpoint, device="cpu")
