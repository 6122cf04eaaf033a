"""Trains a LoRA on cached latents and conditioning, with peft's adapters and Lightning's loop."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.plugins.environments import LightningEnvironment
from lightning.pytorch.utilities.exceptions import SIGTERMException
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

from runner.errors import Stopped, StoryInvalid
from runner.models.lora import LoraWeights
from runner.models.parts import size_ids
from runner.models.schedule import NoiseSchedule
from runner.spec.story import Lora
from runner.training.draws import Draw, draw, global_stream
from runner.training.examples import Examples
from runner.training.state import State, read_state, write_state

SAVING_SHARE = 0.02
"""Share of the time that saving may take; a small LoRA is saved every second, a large one every few minutes."""
LONGEST_UNSAVED = 120.0
"""Seconds after which the state is saved whatever it costs."""


@dataclass(frozen=True)
class Trained:
    """The LoRA and how it came about: loss and learning rate of every step."""

    weights: LoraWeights
    losses: tuple[float, ...]
    parameters: int
    resumed_at: int
    seconds: float


def train(
    unet: nn.Module,
    schedule: NoiseSchedule,
    examples: Examples,
    lora: Lora,
    *,
    state: Path,
    tick: Callable[[int, int], None],
) -> Trained:
    """Train ``lora.steps`` steps, from the state saved in ``state`` where there is one.

    unet: frozen, changed in place (it gets adapters). tick: called after every step; when it raises Stopped the
    state is saved first. Raises StoryInvalid when the loss is no longer finite.
    """
    add_adapters(unet, lora)
    module = _LoraTraining(unet, schedule, examples, lora)
    resumed_at = module.resume(read_state(state))
    started = time.monotonic()
    if resumed_at < lora.steps:
        _fit(module, lora, _Keeper(module, state, tick), start=resumed_at)
    weights = collect(unet, scale=lora.alpha / lora.rank)
    return Trained(
        weights=weights,
        losses=tuple(module.losses),
        parameters=sum(parameter.numel() for parameter in module.trainable),
        resumed_at=resumed_at,
        seconds=time.monotonic() - started,
    )


def add_adapters(unet: nn.Module, lora: Lora) -> None:
    """Give the targeted projections peft's LoRA adapters, float32, initialised by ``lora.seed``.

    peft draws the initial weights on the CPU from torch's global stream.
    """
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=list(lora.target_modules),
        init_lora_weights=True if lora.init_lora_weights == "kaiming" else "gaussian",
    )
    with global_stream(lora.seed, "init", device=torch.device("cpu")):
        inject_adapter_in_model(config, unet)
    for parameter in unet.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()


def collect(unet: nn.Module, *, scale: float) -> LoraWeights:
    """Take the adapters' weights out of a U-Net, ``scale`` (alpha / rank) folded into B."""
    pairs = {}
    for name, layer in unet.named_modules():
        if isinstance(layer, LoraLayer):
            adapter = cast(Any, layer)
            pairs[name] = (adapter.lora_A["default"].weight.data, adapter.lora_B["default"].weight.data * scale)
    return LoraWeights(pairs)


class _LoraTraining(LightningModule):  # type: ignore[misc]
    """Epsilon prediction on cached latents; a batch is one step's draw."""

    def __init__(self, unet: nn.Module, schedule: NoiseSchedule, examples: Examples, lora: Lora) -> None:
        super().__init__()
        self.unet = unet
        self.trainable = [parameter for parameter in unet.parameters() if parameter.requires_grad]
        self.losses: list[float] = []
        self._schedule = schedule
        self._examples = examples
        self._lora = lora
        self._dtype = next(parameter.dtype for parameter in unet.parameters() if not parameter.requires_grad)
        self._optimizer = torch.optim.AdamW(
            self.trainable, lr=lora.learning_rate, weight_decay=lora.weight_decay, foreach=True
        )

    def training_step(self, batch: Draw, _index: int) -> torch.Tensor:
        examples, device = self._examples, self.device
        captions = examples.captions[batch.rows]
        latents = examples.latents[batch.rows, batch.variants].to(device)
        noise = batch.noise.to(device)
        noisy = self._schedule.add_noise(latents, noise, batch.timesteps.to(device))
        dtype = self._dtype
        hidden = examples.conditioning.hidden[captions].to(device, dtype)
        height, width = (8 * side for side in latents.shape[-2:])
        with global_stream(self._lora.seed, "dropout", batch.step, device=device):
            predicted = self.unet(
                noisy.to(dtype),
                batch.timesteps.to(device, torch.float32),
                encoder_hidden_states=hidden,
                add_time_id=size_ids(height, width).repeat(len(captions)).to(device),
                add_text_embeds=examples.conditioning.pooled[captions].to(device, dtype),
                use_gradient_checkpointing=self._lora.gradient_checkpointing is True,
            )
        return F.mse_loss(predicted.float(), noise)

    def transfer_batch_to_device(self, batch: Draw, device: torch.device, _loader: int) -> Draw:
        """Leave the draw on the CPU, where its indexes pick from the cached set; Lightning moves no frozen values."""
        return batch

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return self._optimizer

    def resume(self, state: State | None) -> int:
        """Take up a saved state; returns the step to go on with."""
        if state is None:
            return 0
        for index, parameter in enumerate(self.trainable):
            parameter.data.copy_(state.tensors[f"{index}"])
            self._optimizer.state[parameter] = {
                "step": torch.tensor(float(state.step)),
                "exp_avg": state.tensors[f"{index}.exp_avg"].to(parameter.device),
                "exp_avg_sq": state.tensors[f"{index}.exp_avg_sq"].to(parameter.device),
            }
        self.losses = list(state.losses)
        return state.step

    def state(self) -> State:
        """Give what a later run needs to go on from here."""
        tensors = {}
        for index, parameter in enumerate(self.trainable):
            moments = self._optimizer.state[parameter]
            tensors[f"{index}"] = parameter.data
            tensors[f"{index}.exp_avg"] = moments["exp_avg"]
            tensors[f"{index}.exp_avg_sq"] = moments["exp_avg_sq"]
        return State(len(self.losses), tensors, tuple(self.losses))


class _Keeper(Callback):  # type: ignore[misc]
    """Records the loss, saves the state now and then, and lets the run stop between two steps."""

    def __init__(self, module: _LoraTraining, folder: Path, tick: Callable[[int, int], None]) -> None:
        self._module = module
        self._folder = folder
        self._tick = tick
        self._saved_at = time.monotonic()
        self._cost = 0.0

    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, outputs: Any, *_: Any) -> None:
        loss = float(outputs["loss"])
        if not loss == loss or loss in (float("inf"), float("-inf")):
            raise StoryInvalid(
                f"the loss is {loss} at step {len(self._module.losses) + 1}",
                hint=f"lower lora.learning_rate, now {module._lora.learning_rate:g}",
            )
        self._module.losses.append(loss)
        unsaved = time.monotonic() - self._saved_at
        if unsaved > min(self._cost / SAVING_SHARE, LONGEST_UNSAVED):
            self.save()
        try:
            self._tick(len(self._module.losses), module._lora.steps)
        except Stopped:
            self.save()
            raise

    def save(self) -> None:
        """Save the state as it is after the last step."""
        started = time.monotonic()
        write_state(self._folder, self._module.state())
        self._saved_at = time.monotonic()
        self._cost = self._saved_at - started


class _Steps(IterableDataset[Draw]):
    """The draws of the steps that are left, one a batch."""

    def __init__(self, examples: Examples, lora: Lora, schedule: NoiseSchedule, start: int) -> None:
        self._examples, self._lora, self._timesteps, self._start = examples, lora, schedule.steps, start

    def __iter__(self) -> Iterator[Draw]:
        count, variants, *shape = self._examples.latents.shape
        for step in range(self._start, self._lora.steps):
            yield draw(
                seed=self._lora.seed,
                step=step,
                batch_size=self._lora.batch_size,
                examples=count,
                variants=variants,
                timesteps=self._timesteps,
                shape=tuple(shape),
            )


def _fit(module: _LoraTraining, lora: Lora, keeper: _Keeper, *, start: int) -> None:
    on_gpu = next(module.parameters()).is_cuda
    with warnings.catch_warnings():
        # Drawing a step takes a millisecond, so no worker process is wanted, which Lightning would advise.
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        warnings.filterwarnings("ignore", message=".*IterableDataset.*")
        trainer = Trainer(
            accelerator="cuda" if on_gpu else "cpu",
            devices=1,
            max_steps=lora.steps - start,
            max_epochs=1,
            logger=False,
            callbacks=[keeper],
            plugins=[LightningEnvironment()],  # one device, also where a batch system's variables speak of many
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        loader = DataLoader(_Steps(module._examples, lora, module._schedule, start), batch_size=None)
        module.unet.train()
        try:
            trainer.fit(module, train_dataloaders=loader)
        except SIGTERMException as signalled:
            # Lightning listens too, and would leave with code 0 and nothing saved when it hears before the next tick.
            keeper.save()
            raise Stopped("stopped on request; what is trained so far is saved", hint="run it again") from signalled
        module.unet.eval()
