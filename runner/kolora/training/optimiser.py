"""What moves the weights: the optimiser, its learning rate at every step, and a running mean of where it went."""

from __future__ import annotations

import contextlib
import importlib
import io
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from kolora.errors import StoryInvalid
from kolora.training.config import TrainingConfig

EXTRAS = {"adamw8bit": ("bitsandbytes.optim", "AdamW8bit"), "prodigy": ("prodigyopt", "Prodigy")}
"""Optimisers that live in libraries of their own: extras of this package, named like them."""

Numbers = dict[str, float]


def learning_rate(config: TrainingConfig, step: int) -> float:
    """Give the learning rate of step number ``step`` (from 0): a function of the step alone, so nothing is saved.

    It climbs evenly over the warm-up, then follows its schedule, which would reach zero after the last step.
    """
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    progress = (step - config.warmup_steps) / (config.steps - config.warmup_steps)
    factors = {"constant": 1.0, "linear": 1 - progress, "cosine": (1 + math.cos(math.pi * progress)) / 2}
    return config.learning_rate * factors[config.lr_scheduler]


class Optimiser:
    """Moves one vector by its gradient. A NaN or infinite gradient or loss moves nothing, and nobody waits for it.

    torch: the optimiser itself. average: running mean of the vector, where the story asks for one.
    """

    def __init__(self, vector: nn.Parameter, config: TrainingConfig) -> None:
        self.vector = vector
        self._config = config
        self._checks_on_device = config.optimizer == "adamw" and vector.is_cuda
        self.torch = _build(vector, config)
        self.average = vector.data.clone() if config.ema_decay is not None else None

    def prepare(self, step: int, loss: torch.Tensor) -> tuple[bool, torch.Tensor]:
        """Prepare to move: clip the gradient, set step ``step``'s rate.

        Returns whether to call the optimiser, and the loss, which is NaN where the step is to change nothing. On a
        GPU the fused kernel reads on the device that it is to change nothing; elsewhere it is not called.
        """
        norm = nn.utils.clip_grad_norm_([self.vector], self._config.max_grad_norm or math.inf)
        # One sum tells of both without a look at either, for which a GPU would have to be waited for.
        is_bad = ~(norm + loss).isfinite()
        for group in self.torch.param_groups:
            group["lr"] = learning_rate(self._config, step)
        checked = torch.where(is_bad, math.nan, loss)
        if self._checks_on_device:
            # The fused kernel's own way to skip a step, made for gradient scalers.
            self.torch.found_inf = is_bad.float()  # type: ignore[attr-defined]
            return True, checked
        return not bool(is_bad), checked

    def update_average(self, step: int, loss: torch.Tensor) -> None:
        """Move the running mean towards the vector, unless the step changed nothing."""
        if self.average is None or self._config.ema_decay is None:
            return
        # Faster at first, so that the mean is not of the first weights for most of a short training.
        share = 1 - min(self._config.ema_decay, (1 + step) / (10 + step))
        self.average.lerp_(self.vector.data, torch.where(loss.isfinite(), share, 0.0))

    @property
    def result(self) -> torch.Tensor:
        """What is kept of the training: the running mean where there is one, else the vector."""
        return self.vector.data if self.average is None else self.average

    def state(self) -> tuple[dict[str, torch.Tensor], Numbers]:
        """Give all that the next step depends on besides the story: tensors and numbers by name."""
        own: Mapping[str, Any] = self.torch.state.get(self.vector, {})
        tensors = {f"optimizer.{name}": each for name, each in own.items() if isinstance(each, torch.Tensor)}
        # Not all of it is tensors: Prodigy keeps its estimate of the rate as a number in the group.
        numbers = {f"optimizer.{name}": each for name, each in own.items() if isinstance(each, int | float)}
        (group,) = self.torch.param_groups
        numbers |= {f"group.{name}": each for name, each in group.items() if isinstance(each, int | float)}
        averages = {} if self.average is None else {"average": self.average}
        return {"vector": self.vector.data, **averages, **tensors}, numbers

    def resume(self, tensors: Mapping[str, torch.Tensor], numbers: Mapping[str, float]) -> None:
        """Take up what ``state`` gave."""
        self.vector.data.copy_(tensors["vector"])
        if self.average is not None:
            self.average.copy_(tensors["average"])
        own: dict[str, Any] = {**_within("optimizer", tensors), **_within("optimizer", numbers)}
        # Not by load_state_dict, which would cast 8-bit moments to the vector's dtype.
        if own:
            device = self.vector.device
            moved = {k: each.to(device) if isinstance(each, torch.Tensor) else each for k, each in own.items()}
            self.torch.state[self.vector] = moved
        self.torch.param_groups[0].update(_within("group", numbers))


def _within(kind: str, named: Mapping[str, Any]) -> dict[str, Any]:
    return {name.partition(".")[2]: each for name, each in named.items() if name.startswith(f"{kind}.")}


def _build(vector: nn.Parameter, config: TrainingConfig) -> torch.optim.Optimizer:
    rate, decay = config.learning_rate, config.weight_decay
    if config.optimizer == "adamw":
        return torch.optim.AdamW([vector], lr=rate, weight_decay=decay, fused=True if vector.is_cuda else None)
    module, name = EXTRAS[config.optimizer]
    try:
        kind = getattr(importlib.import_module(module), name)
    except ImportError as absent:
        raise StoryInvalid(
            f"lora.optimizer is {config.optimizer}, which needs {module.partition('.')[0]}: it is not installed here",
            hint=f"pip install 'kolora[{config.optimizer}]', or set lora.optimizer to adamw",
        ) from absent
    with contextlib.redirect_stdout(io.StringIO()):  # Prodigy prints how it decays weights
        optimizer: torch.optim.Optimizer = kind([vector], lr=rate, weight_decay=decay)
    return optimizer
