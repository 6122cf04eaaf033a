"""The stages of a story, each one file: its config, its facts, its steps, its work. torch is loaded when one runs."""

from collections.abc import Mapping

from kolora.stages import (
    baseline,
    cache_latents,
    encode_prior,
    encode_prompt,
    export_lora,
    fetch,
    filter,  # noqa: A004 - the stage's name
    grid,
    prior,
    render,
    score,
    train,
)
from kolora.stages.contract import Stage

STAGES: Mapping[str, Stage] = {
    "fetch": fetch,
    "filter": filter,
    "encode_prompt": encode_prompt,
    "encode_prior": encode_prior,
    "cache_latents": cache_latents,
    "prior": prior,
    "train": train,
    "export_lora": export_lora,
    "render": render,
    "baseline": baseline,
    "grid": grid,
    "score": score,
}
"""Every stage, in the order in which a story goes through them: those that need the text encoder stand together."""

__all__ = ["STAGES"]
