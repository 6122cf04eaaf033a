"""The settings of a training run: exactly those that it uses, flat and complete. Loads no torch."""

from __future__ import annotations

from typing import Literal

from kolora.spec.sections.lora import Lora
from kolora.spec.types import Frozen


class TrainingConfig(Frozen):
    """The settings of a training run, each under its name in the story's ``lora``.

    Those of the first version have no default. A setting that is added later has one, the same as in the story, so that
    the digests of older runs stay: canonical form leaves out what equals its default.

    What shapes the training set (resolution, crops, captions) and what only decides how a step fits into memory is not
    here: neither is asked for while training.
    """

    rank: int
    alpha: float
    dropout: float
    init_lora_weights: Literal["gaussian", "kaiming"]
    target_modules: tuple[Literal["to_q", "to_k", "to_v", "to_out"], ...]

    steps: int
    batch_size: int
    devices: int
    """Processes that train together, each on ``batch_size`` pictures a step."""
    seed: int

    optimizer: Literal["adamw", "adamw8bit", "prodigy"]
    learning_rate: float
    lr_scheduler: Literal["constant", "cosine", "linear"]
    warmup_steps: int
    weight_decay: float
    max_grad_norm: float | None
    ema_decay: float | None

    min_snr_gamma: float | None
    noise_offset: float
    caption_dropout: float
    prior_weight: float | None
    """How much pictures of the class count beside the training pictures' 1; None where there are none."""

    sample_every: int | None
    """Steps after which samples are drawn; None for never."""

    @classmethod
    def of(cls, lora: Lora) -> TrainingConfig:
        """Take from a story's ``lora`` what training uses."""
        same = {name: getattr(lora, name) for name in cls.model_fields if name != "prior_weight"}
        return cls(**same, prior_weight=lora.prior.weight if lora.prior else None)
