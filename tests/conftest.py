"""What the whole suite shares: one thread a process, and a tiny checkpoint in the published layout."""

from __future__ import annotations

import os
from pathlib import Path

os.environ["PYTHONPATH"] = str(Path(__file__).parents[1] / "runner")  # what the tests start is this tree's code too
os.environ["OMP_NUM_THREADS"] = "1"  # read when torch is loaded, also by what the tests start
os.environ["MODELSCOPE_API_MAX_RETRIES"] = "1"  # read when the client is loaded
os.environ["KOLORA_OFFLINE"] = "1"  # no test asks a hub, but those that serve one themselves

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from kolora.hubs.hub import HUBS

from tests.hubs.loopback import LoopbackHub, serving

if TYPE_CHECKING:
    from kolora.models.checkpoint import Checkpoint


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in Kolors' layout with tiny untrained models, its scorers in ``clip/`` and ``aesthetics/``."""
    from tests.tiny import write_tiny_checkpoint

    folder = tmp_path_factory.mktemp("checkpoint") / "tiny"
    write_tiny_checkpoint(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_kolors(tiny_checkpoint: Path) -> Checkpoint:
    """The tiny checkpoint's models on the CPU in float32, loaded as tests ask for them."""
    from kolora.models.checkpoint import Checkpoint

    return Checkpoint(tiny_checkpoint, device="cpu")


@pytest.fixture
def loopback(monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackHub]:
    """An empty hub on loopback; every hub's client is sent to it and to nowhere else, and tries again at once."""
    for name in (*(hub.token for hub in HUBS.values()), "MODELSCOPE_DOMAIN"):
        monkeypatch.delenv(name, raising=False)
    for name in ("KOLORA_OFFLINE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE"):
        monkeypatch.setenv(name, "0")
    monkeypatch.setenv("MODELSCOPE_DOWNLOAD_MAX_RETRIES", "0")
    monkeypatch.setenv("MODELSCOPE_REPO_TREE_PAGE_MAX_ATTEMPTS", "1")
    # The client would lose up to its usual 10 MiB at a cut: more than the files here have.
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 50_000)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("kolora.hubs.retry.FIRST_PAUSE", 0.01)
    with serving(LoopbackHub()) as hub:
        for each in HUBS.values():
            monkeypatch.setenv(each.endpoint, hub.url)
        yield hub
