"""What the default story does on GPUs of several sizes, and that every step down needs less."""

from __future__ import annotations

from typing import Any

import pytest
from kolora.configs import KOLORS
from kolora.memory.plan import GIB, WORK_OF_STAGE, MemoryPlan, OffloadOption, StorySize, describe, plan_memory
from kolora.stages import STAGES


def size(**changes: Any) -> StorySize:
    """The default story's, or another."""
    settings: dict[str, Any] = {
        "bytes_per_weight": 2,
        "resolution": 1024,
        "batch_size": 1,
        "rank": 16,
        "checkpointing": "auto",
    }
    return StorySize(**{**settings, "width": 1024, "height": 1024, **changes})


def plan(memory: float | None, **changes: Any) -> MemoryPlan:
    return plan_memory(KOLORS, size(**changes), available_bytes=None if memory is None else int(memory * GIB))


def chosen(memory: float, **changes: Any) -> dict[str, str]:
    """Name what is given up for memory, by kind of work."""
    found = plan(memory, **changes)
    given_up = {}
    for name in found.options:
        option = found.option(name)
        flags = ("offload", "tiling", "checkpointing", "rows")
        given_up[name] = " ".join(flag for flag in flags if getattr(option, flag))
    return given_up


NOTHING = {"encode_prompt": "", "encode_images": "", "train": "", "render": ""}


@pytest.mark.parametrize(
    ("memory", "given_up"),
    [
        (80, {}),
        (24, {}),
        (16, {}),
        (12, {"encode_prompt": "offload"}),
        (8, {"encode_prompt": "offload", "train": "checkpointing", "render": "offload tiling"}),
        (5, {"encode_prompt": "offload", "train": "offload checkpointing", "render": "offload tiling"}),
    ],
)
def test_the_default_story(memory: float, given_up: dict[str, str]) -> None:
    assert chosen(memory) == NOTHING | given_up
    for name in plan(memory).options:
        assert 0 < plan(memory).option(name).required_bytes <= memory * GIB


@pytest.mark.parametrize(("memory", "rows"), [(80, None), (40, 4), (24, 2), (13, 1)])
def test_a_batch_is_split_to_fit(memory: float, rows: int | None) -> None:
    assert plan(memory, batch_size=8, checkpointing=False).option("train").rows == rows


def test_one_at_a_time_computed_once_is_faster_than_more_at_once_computed_twice() -> None:
    once, twice, *_ = (option for option in plan(13, batch_size=4).options["train"] if not option.offload)
    assert (once.checkpointing, once.rows) == (False, 1)
    assert (twice.checkpointing, twice.rows) == (True, None)


@pytest.mark.parametrize("checkpointing", [True, False])
def test_a_story_that_decides_itself_is_obeyed(checkpointing: bool) -> None:
    options = plan(None, batch_size=4, checkpointing=checkpointing).options["train"]
    assert {option.checkpointing for option in options} == {checkpointing}
    assert any(option.offload for option in options) == checkpointing


@pytest.mark.parametrize("memory", [None, 80, 12, 8, 3, 0.1])
def test_every_step_down_needs_less_until_there_is_none(memory: float | None) -> None:
    for stage, names in WORK_OF_STAGE.items():
        lower: MemoryPlan | None = plan(memory, batch_size=4)
        while lower is not None:
            before, lower = lower, lower.lower(stage)
            assert lower is None or all(
                lower.option(name).required_bytes < before.option(name).required_bytes or len(before.options[name]) == 1
                for name in names
            )
        assert all(len(before.options[name]) == 1 for name in names)


def test_every_stage_that_computes_on_the_checkpoint_can_step_down() -> None:
    without = {"fetch", "filter", "export_lora", "grid", "score"}
    assert WORK_OF_STAGE.keys() == STAGES.keys() - without


def test_a_stage_steps_down_alone() -> None:
    before = plan(80)
    after = before.lower("train")
    assert after is not None
    assert after.option("train") != before.option("train")
    assert after.options_of("render") == before.options_of("render")
    assert before.lower("fetch") is None


def test_what_a_larger_story_needs() -> None:
    small, large = plan(None), plan(None, width=2048, resolution=1536, rank=64)
    assert all(
        large.option(name).required_bytes > small.option(name).required_bytes
        for name in ("encode_images", "train", "render")
    )
    assert large.option("encode_prompt") == small.option("encode_prompt")


def test_what_is_given_up_is_told() -> None:
    lines = dict(describe(plan(8)))
    assert "of 8.0 GiB: weights come from CPU memory piece by piece" in lines["encode_prompt"]
    assert lines["train"].endswith("activations computed twice")
    assert "VAE with exact tiling" in lines["render"]
    assert str(OffloadOption()) == "all at once"
    assert str(OffloadOption(rows=2)) == "2 a pass, gradients summed"
