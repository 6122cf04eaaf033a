"""The section `lora`: how the LoRA is trained."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from kolora.spec.faults import Fault, validation_error
from kolora.spec.types import Frozen, Phrase, Prompt, Seed, Text


class Prior(Frozen):
    """Pictures of a whole class, drawn by the checkpoint before training, so that learning one spares the rest."""

    prompt: Prompt
    """The class, as `一只狗` where the training pictures show one dog; without the trigger word."""

    count: Annotated[int, Field(ge=1, le=1000)] = 64
    """How many pictures are drawn; every other training step shows some of them."""

    weight: Annotated[float, Field(gt=0, le=10)] = 1.0
    """How much they count beside the training pictures, which count 1."""


_DEFAULTS_BY_CHOICE: dict[str, dict[str, dict[str, Any]]] = {
    "preset": {"style": {"rank": 16}, "entity": {"rank": 4}},
    "optimizer": {"prodigy": {"learning_rate": 1.0}},
}
"""Defaults of other keys that a value of this key brings: `preset: entity` makes rank 4."""


def defaults_by_choice(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the defaults that the given values of ``lora`` decide."""
    defaults = {}
    for key, choices in _DEFAULTS_BY_CHOICE.items():
        chosen = given.get(key)
        if isinstance(chosen, str):
            defaults.update(choices.get(chosen, {}))
    return defaults


class Lora(Frozen):
    """How the LoRA is trained."""

    preset: Literal["style", "entity"] | None = None
    """Defaults that suit what is learnt: a `style` has rank 16, an `entity`, a single thing or person, rank 4."""

    rank: Annotated[int, Field(ge=1, le=256)] = 16
    """Rank of the update matrices; 16 suits a style, 4 a single thing."""

    alpha: Annotated[float, Field(gt=0, le=1024)] = 4.0
    """Numerator of the update's scale, which is alpha / rank."""

    steps: Annotated[int, Field(ge=1, le=100_000)] = 500
    """Optimiser steps."""

    batch_size: Annotated[int, Field(ge=1, le=64)] = 1
    """Pictures a step."""

    learning_rate: Annotated[float, Field(gt=0, le=1)] = 1e-4
    """Learning rate; of `prodigy`, which finds its own, a factor that is 1 unless given."""

    lr_scheduler: Literal["constant", "cosine", "linear"] = "constant"
    """How the learning rate falls after the warm-up: not at all, or to zero as a cosine or a line."""

    warmup_steps: Annotated[int, Field(ge=0, le=100_000)] = 0
    """Steps over which the learning rate climbs from zero; fewer than `steps`."""

    optimizer: Literal["adamw", "adamw8bit", "prodigy"] = "adamw"
    """What moves the weights: `adamw8bit` (bitsandbytes) and `prodigy` (prodigyopt) are extras to be installed."""

    max_grad_norm: Annotated[float, Field(gt=0, le=1000)] | None = None
    """Length that a longer gradient is cut to; 1 is usual, none leaves it."""

    ema_decay: Annotated[float, Field(gt=0, lt=1)] | None = None
    """What is kept is a running mean of the weights with this decay, as 0.99; none keeps the last weights."""

    resolution: Annotated[int, Field(ge=64, le=2048, multiple_of=64)] = 1024
    """Side of the square training crops, in pixels; buckets have as many pixels in other shapes."""

    crop: Literal["center", "random", "bucket"] = "center"
    """Where the square is cut from a picture that is not square; `bucket` keeps its shape, as near as sizes allow."""

    flip: bool = False
    """Whether pictures are mirrored by chance, each with probability one half."""

    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the LoRA's inputs that is dropped at random."""

    weight_decay: Annotated[float, Field(ge=0, le=1)] = 0.01
    """Weight decay of the optimiser."""

    min_snr_gamma: Annotated[float, Field(gt=0, le=100)] | None = None
    """Timesteps with more signal than this count less (min-SNR); 5 is usual, none lets all count alike."""

    noise_offset: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Noise common to a whole picture that is added to its own, so that very dark and bright ones can be learnt."""

    trigger: Phrase = ""
    """Word that stands for what is learnt; put before every caption that lacks it."""

    template: Text | None = None
    """Training text with `{caption}` and `{trigger}` in their places; none means the word, a comma and the caption."""

    prior: Prior | None = None
    """Pictures of the class that the thing learnt belongs to, so that not all of it comes to look like that thing."""

    caption_dropout: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of the samples that are shown without their text, so that the style is learnt for any."""

    init_lora_weights: Literal["gaussian", "kaiming"] = "gaussian"
    """How the LoRA's first matrix begins; the second begins at zero."""

    target_modules: Annotated[
        tuple[Literal["to_q", "to_k", "to_v", "to_out"], ...], Field(strict=False, min_length=1, max_length=4)
    ] = ("to_q", "to_k", "to_v", "to_out")
    """Projections of the U-Net's attention that are trained."""

    devices: Annotated[int, Field(ge=1, le=16)] = 1
    """GPUs of this machine that train together, each on `batch_size` pictures a step."""

    sample_every: Annotated[int, Field(ge=1, le=100_000)] | None = None
    """Steps after which scenes are drawn as far as it has learnt, for the report; none draws none."""

    sample_scenes: Annotated[int, Field(ge=1, le=64)] = 2
    """How many scenes are drawn then: the first ones of the story, with the LoRA as it is trained."""

    seed: Seed = 0
    """Seed of every draw: data order, crops, noise, timesteps, first weights, dropout."""

    gradient_checkpointing: Literal["auto", True, False] = "auto"
    """Whether activations are computed twice to save memory; `auto` does so where memory is short."""

    # Before the fields' own defaults: later nobody could tell a rank of 16 that was given from the default.
    @model_validator(mode="before")
    @classmethod
    def _fill_dependent_defaults(cls, given: Any) -> Any:
        """Fill in what the values given make the defaults of others."""
        return defaults_by_choice(given) | given if isinstance(given, dict) else given

    def dependent_defaults(self) -> dict[str, Any]:
        """Return the defaults that the values of other keys decide; ``canonical`` goes by them."""
        return defaults_by_choice({key: getattr(self, key) for key in _DEFAULTS_BY_CHOICE})

    @model_validator(mode="after")
    def _check_template(self) -> Self:
        if self.template is None:
            return self
        # Without {trigger} the trained word would never be shown; with another name the brace would be taught as text.
        names = set(re.findall(r"\{([^{}]*)\}", self.template))
        if names - {"caption", "trigger"} or not names or ("trigger" in names) != bool(self.trigger):
            expected = (
                "{trigger}, and {caption} where wanted" if self.trigger else "{caption}, or a trigger for {trigger}"
            )
            raise validation_error(Fault(path=("template",), given=f'"{self.template}"', expected=expected))
        return self

    @model_validator(mode="after")
    def _check_warmup(self) -> Self:
        if self.warmup_steps >= self.steps:
            expected = f"fewer than steps, which is {self.steps}"
            raise validation_error(Fault(path=("warmup_steps",), given=str(self.warmup_steps), expected=expected))
        return self

    @field_validator("target_modules")
    @classmethod
    def _check_target_modules(cls, modules: tuple[str, ...]) -> tuple[str, ...]:
        twice = next((module for module in modules if modules.count(module) > 1), None)
        if twice:
            raise validation_error(Fault(given=f"{twice} more than once", expected="each projection once"))
        return modules
