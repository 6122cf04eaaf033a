"""Trains a LoRA on cached latents and conditioning, with peft's adapters and Lightning's loop."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.plugins.environments import LightningEnvironment
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

from runner.errors import Stopped, StoryInvalid
from runner.memory.plan import Way
from runner.models.graphs import Work
from runner.models.lora import LoraWeights
from runner.models.schedule import NoiseSchedule
from runner.models.streaming import stream, unet_pieces
from runner.spec.story import Lora
from runner.training.adapters import Master, add_adapters, collect
from runner.training.draws import Draw, draw, global_stream
from runner.training.examples import Examples
from runner.training.state import State, read_state, write_state
from runner.training.step import mix, ready_step

SAVING_SHARE = 0.02
"""Share of the time that saving may take; a small LoRA is saved every second, a large one every few minutes."""
LONGEST_UNSAVED = 120.0
"""Seconds after which the state is saved whatever it costs."""
LOSSES_AT_ONCE = 8
"""Steps after which losses are read from a GPU, so that it need not wait for us after every one."""
MOMENTS = ("exp_avg", "exp_avg_sq")
"""What AdamW remembers of every weight."""


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
    way: Way | None = None,
    device: str | None = None,
) -> Trained:
    """Train ``lora.steps`` steps, from the state saved in ``state`` where there is one.

    unet: frozen, changed in place (it gets adapters). tick: called after every step; when it raises Stopped the
    state is saved first. way: how a step is made to fit into memory; without one it is the fastest, or what ``lora``
    says of activations. device: where a streamed U-Net's pieces compute. Raises StoryInvalid when the loss is no
    longer finite.
    """
    way = way or Way(checkpointing=lora.gradient_checkpointing is True)
    add_adapters(unet, lora)
    if way.streamed:
        assert device is not None
        stream(unet, unet_pieces(unet), device=torch.device(device), room=way.room, pinned=True)
    module = _LoraTraining(unet, schedule, examples, lora, way)
    resumed_at = module.resume(read_state(state))
    started = time.monotonic()
    if resumed_at < lora.steps:
        _fit(module, lora, _Keeper(module, state, tick), start=resumed_at)
    weights = collect(unet, scale=lora.alpha / lora.rank)
    return Trained(
        weights=weights,
        losses=tuple(module.losses),
        parameters=module.parameters_trained,
        resumed_at=resumed_at,
        seconds=time.monotonic() - started,
    )


class _LoraTraining(LightningModule):  # type: ignore[misc]
    """Epsilon prediction on cached latents; a batch is one step's draw.

    Losses stay on the device until ``read`` asks for them: to read one is to wait for the GPU.
    """

    def __init__(self, unet: nn.Module, schedule: NoiseSchedule, examples: Examples, lora: Lora, way: Way) -> None:
        super().__init__()
        self.automatic_optimization = False
        # In a tuple, so that Lightning does not see it: it would move all of it to the device.
        self._networks = (unet,)
        self._way = way
        self.lora = lora
        self.schedule = schedule
        self.examples = examples
        self.losses: list[float] = []
        self._unread: list[torch.Tensor] = []
        self._dtype = next(parameter.dtype for parameter in unet.parameters() if not parameter.requires_grad)
        self.master = Master(unet, dtype=self._dtype)
        self._step: Work | None = None
        self._optimizer = torch.optim.AdamW(
            [self.master.vector],
            lr=lora.learning_rate,
            weight_decay=lora.weight_decay,
            fused=True if self.on_gpu else None,
        )

    @property
    def unet(self) -> nn.Module:
        """The network, adapters and all."""
        return self._networks[0]

    @property
    def on_gpu(self) -> bool:
        """Whether a GPU computes."""
        return self.master.vector.is_cuda

    @property
    def parameters_trained(self) -> int:
        """Number of weights that are trained."""
        return self.master.vector.numel()

    @property
    def steps_made(self) -> int:
        """Number of steps made, the earlier run's included."""
        return len(self.losses) + len(self._unread)

    def training_step(self, draw: Draw, _index: int) -> None:
        batch = mix(draw, self.examples, self.schedule, dtype=self._dtype)
        if self._step is None:
            self._step = ready_step(self.unet, self.master, batch, way=self._way)
        if self.on_gpu:
            batch = batch.pinned()
        with _dropout_stream(self.lora, draw.step, device=self.master.vector.device):
            loss = self._step(*batch.tensors())
        cast(torch.optim.Optimizer, self.optimizers()).step()
        self._unread.append(loss.clone())  # the next step overwrites it

    def transfer_batch_to_device(self, batch: Draw, device: torch.device, _loader: int) -> Draw:
        """Leave the draw on the CPU, where the batch is mixed; Lightning moves no frozen values."""
        return batch

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return self._optimizer

    def read(self, *, at_once: int = 1) -> None:
        """Read the losses of the steps made, when there are ``at_once`` to read.

        Raises StoryInvalid naming the first that is not finite.
        """
        if len(self._unread) < at_once:
            return
        for loss in torch.stack(self._unread).tolist():
            if not math.isfinite(loss):
                raise StoryInvalid(
                    f"the loss is {loss} at step {len(self.losses) + 1}",
                    hint=f"lower lora.learning_rate, now {self.lora.learning_rate:g}",
                )
            self.losses.append(loss)
        self._unread.clear()

    def resume(self, state: State | None) -> int:
        """Take up a saved state; returns the step to go on with."""
        if state is None:
            return 0
        vector = self.master.vector
        moments = {name: torch.zeros_like(vector.data) for name in MOMENTS}
        for index, part in enumerate(self.master.parts(vector.data)):
            part.copy_(state.tensors[f"{index}"])
        for name, moment in moments.items():
            for index, part in enumerate(self.master.parts(moment)):
                part.copy_(state.tensors[f"{index}.{name}"])
        # The fused optimiser counts its steps on the device, the plain one on the CPU.
        step = torch.tensor(float(state.step), device=vector.device if self.on_gpu else None)
        self._optimizer.state[vector] = {"step": step, **moments}
        self.losses = list(state.losses)
        return state.step

    def state(self) -> State:
        """Give what a later run needs to go on from here; all losses must have been read."""
        vector = self.master.vector
        tensors = {f"{index}": part for index, part in enumerate(self.master.parts(vector.data))}
        for name in MOMENTS:
            for index, part in enumerate(self.master.parts(self._optimizer.state[vector][name])):
                tensors[f"{index}.{name}"] = part
        return State(len(self.losses), tensors, tuple(self.losses))


def _dropout_stream(lora: Lora, step: int, *, device: torch.device) -> AbstractContextManager[None]:
    """Let dropout draw by the step alone; without dropout nothing draws."""
    return global_stream(lora.seed, "dropout", step, device=device) if lora.dropout else nullcontext()


def _at_once(on_gpu: bool) -> int:
    """Say how many losses to read at once; from a CPU's memory every one at once."""
    return LOSSES_AT_ONCE if on_gpu else 1


class _Keeper(Callback):  # type: ignore[misc]
    """Records the loss, saves the state now and then, and lets the run stop between two steps."""

    def __init__(self, module: _LoraTraining, folder: Path, tick: Callable[[int, int], None]) -> None:
        self._module = module
        self._folder = folder
        self._tick = tick
        self._saved_at = time.monotonic()
        self._cost = 0.0
        self._at_once = _at_once(module.on_gpu)

    def on_train_batch_end(self, *_: Any) -> None:
        made, total = self._module.steps_made, self._module.lora.steps
        self._module.read(at_once=1 if made == total else self._at_once)
        unsaved = time.monotonic() - self._saved_at
        if unsaved > min(self._cost / SAVING_SHARE, LONGEST_UNSAVED):
            self.save()
        try:
            self._tick(made, total)
        except Stopped:
            self.save()
            raise

    def save(self) -> None:
        """Save the state as it is after the last step."""
        self._module.read()
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
    with warnings.catch_warnings():
        # Drawing a step takes a millisecond, so no worker process is wanted, which Lightning would advise.
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        warnings.filterwarnings("ignore", message=".*IterableDataset.*")
        trainer = Trainer(
            accelerator="cuda" if module.on_gpu else "cpu",
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
        loader = DataLoader(_Steps(module.examples, lora, module.schedule, start), batch_size=None)
        module.unet.train()
        try:
            trainer.fit(module, train_dataloaders=loader)
        except SIGTERMException as signalled:
            # Lightning listens too, and would leave with code 0 and nothing saved when it hears before the next tick.
            keeper.save()
            raise Stopped("stopped on request; what is trained so far is saved", hint="run it again") from signalled
        module.unet.eval()
        module.master.wear()
