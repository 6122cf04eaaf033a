"""Trains a LoRA on cached latents and embeds, with peft's adapters and Lightning's loop."""

from __future__ import annotations

import logging
import math
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.plugins.environments import LightningEnvironment
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

from kolora.errors import Stopped, StoryInvalid
from kolora.memory.plan import OffloadOption
from kolora.models.graphs import Work, shared_memory
from kolora.models.lora import LoraWeights
from kolora.models.schedule import NoiseSchedule
from kolora.models.sequential_offload import offload, unet_pieces
from kolora.training.adapters import FlatParameters, add_adapters
from kolora.training.config import TrainingConfig
from kolora.training.curves import Curves
from kolora.training.draws import Draw, draw, global_stream, take_turns
from kolora.training.examples import Examples
from kolora.training.optimiser import Optimiser
from kolora.training.process_group import ProcessGroup
from kolora.training.state import State, read_state, write_state
from kolora.training.step import build_step, mix

log = logging.getLogger(__name__)

TALKATIVE = ("lightning.pytorch.accelerators.cuda", "lightning.pytorch.utilities.rank_zero")
"""Lightning's loggers that speak at every fit."""

SAVING_SHARE = 0.02
"""Share of the time that saving may take; a small LoRA is saved every second, a large one every few minutes."""
_LONGEST_UNSAVED = 120.0
"""Seconds after which the state is saved whatever it costs."""
LOSSES_AT_ONCE = 8
"""Steps after which losses are read from a GPU, so that it need not wait for us after every one."""
_SKIPS = 5
"""Steps without a number for a loss, which change nothing: so many, and over a tenth of all, end the run."""


Sample = Callable[[nn.Module, int, Callable[[], None]], None]
"""``sample(unet, step, tick)`` draws what the LoRA of that step draws, unless it has; ``tick`` may raise."""


@dataclass(frozen=True)
class TrainingResult:
    """The LoRA and how it came about: the loss of every step, NaN for those that changed nothing."""

    weights: LoraWeights
    losses: tuple[float, ...]
    parameters: int
    resumed_at: int
    seconds: float


def train(
    unet: nn.Module,
    schedule: NoiseSchedule,
    examples: Examples,
    config: TrainingConfig,
    *,
    state: Path,
    tick: Callable[[int, int], None],
    state_of: str = "",
    sample: Sample | None = None,
    curves: Curves | None = None,
    group: ProcessGroup | None = None,
    option: OffloadOption | None = None,
    device: str | None = None,
) -> TrainingResult:
    """Train ``config.steps`` steps, from the state saved in ``state`` where there is one.

    unet: frozen, changed in place (it gets adapters). tick: called after every step; when it raises Stopped the
    state is saved first. state_of: the digest of the step that ``state`` is of. sample: called every
    ``config.sample_every`` steps. curves: records every step's loss.
    group: the processes that train together; each calls this, and rank 0 alone with what else is optional.
    option: how a step is made to fit into memory; without one it is the fastest.
    device: where an offloaded U-Net's pieces compute. Raises StoryInvalid when the loss stays NaN or infinite.
    """
    option = option or OffloadOption()
    # Before the weights are offloaded: adapters are drawn on the CPU, and what is trained must not travel.
    add_adapters(unet, config)
    if option.offload:
        assert device is not None
        offload(unet, unet_pieces(unet), device=torch.device(device), resident_bytes=option.resident_bytes, pinned=True)
    module = _LoraTraining(unet, schedule, examples, config, option, group)
    resumed_at = module.resume(read_state(state, of=state_of))
    started = time.monotonic()
    keeper = _Keeper(module, state, tick, sample, curves, start=resumed_at, state_of=state_of)
    # A run that was stopped while it drew samples draws the rest of them first.
    keeper.sample()
    if resumed_at < config.steps:
        _fit(module, config, keeper, start=resumed_at)
    keeper.close()
    module.flat.apply(module.optimiser.result)
    return TrainingResult(
        weights=module.flat.weights(module.optimiser.result),
        losses=tuple(module.losses),
        parameters=module.parameters_trained,
        resumed_at=resumed_at,
        seconds=time.monotonic() - started,
    )


class _LoraTraining(LightningModule):  # type: ignore[misc]
    """Epsilon prediction on cached latents; a batch is one step's draw.

    Losses stay on the device until ``read`` asks for them: to read one is to wait for the GPU.
    """

    def __init__(
        self,
        unet: nn.Module,
        schedule: NoiseSchedule,
        examples: Examples,
        config: TrainingConfig,
        option: OffloadOption,
        group: ProcessGroup | None,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.group = group
        # In a tuple, so that Lightning does not see it: it would move all of it to the device.
        self._networks = (unet,)
        self._option = option
        self.config = config
        self.schedule = schedule
        self.examples = examples
        self.losses: list[float] = []
        self._unread: list[torch.Tensor] = []
        self._dtype = next(parameter.dtype for parameter in unet.parameters() if not parameter.requires_grad)
        self.flat = FlatParameters(unet, dtype=self._dtype)
        self._steps: dict[torch.Size, Work] = {}
        self._pool = shared_memory(self.flat.vector.device)
        self.optimiser = Optimiser(self.flat.vector, config)
        if group is not None:
            group.check_same("adapters", self.flat.layout)

    @property
    def unet(self) -> nn.Module:
        """The network, adapters and all."""
        return self._networks[0]

    @property
    def on_gpu(self) -> bool:
        """Whether a GPU computes."""
        return self.flat.vector.is_cuda

    @property
    def is_main(self) -> bool:
        """Whether this process is the one that saves and tells."""
        return self.group is None or self.group.is_main

    @property
    def parameters_trained(self) -> int:
        """Number of weights that are trained."""
        return self.flat.vector.numel()

    @property
    def steps_done(self) -> int:
        """Number of steps done, the earlier run's included."""
        return len(self.losses) + len(self._unread)

    def training_step(self, draw: Draw, _index: int) -> None:
        config = self.config
        batch = mix(draw, self.examples, self.schedule, dtype=self._dtype, min_snr_gamma=config.min_snr_gamma)
        # One graph for each size of picture: it holds tensors of fixed shapes.
        if batch.noisy.shape not in self._steps:
            self._steps[batch.noisy.shape] = build_step(
                self.unet,
                self.flat,
                batch,
                option=self._option,
                weighted=config.min_snr_gamma is not None or self.examples.weighted,
                pool=self._pool,
            )
            # A capture takes seconds, in which a process that waits inside NCCL could not hear that another one ended.
            if self.group is not None:
                self.group.barrier(f"the first step of {tuple(batch.noisy.shape)}")
        if self.on_gpu:
            batch = batch.pinned()
        with self._dropout_stream(draw.step):
            loss = self._steps[batch.noisy.shape](*batch.tensors())
        # After the captured step, not in it: the graph then is the same for one process and for many.
        if self.group is not None:
            loss, _ = (self.group.average(each) for each in (loss, cast(torch.Tensor, self.flat.vector.grad)))
        moves, loss = self.optimiser.prepare(draw.step, loss)
        if moves:
            cast(torch.optim.Optimizer, self.optimizers()).step()
        self.optimiser.update_average(draw.step, loss)
        self._unread.append(loss)

    def _dropout_stream(self, step: int) -> AbstractContextManager[None]:
        """Let dropout draw by the step, and the process, alone; without dropout nothing draws."""
        if not self.config.dropout:
            return nullcontext()
        others = [] if self.is_main else [cast(ProcessGroup, self.group).rank]
        return global_stream(self.config.seed, "dropout", step, *others, device=self.flat.vector.device)

    def transfer_batch_to_device(self, batch: Draw, device: torch.device, _loader: int) -> Draw:
        """Leave the draw on the CPU, where the batch is mixed; Lightning moves no frozen values."""
        return batch

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return self.optimiser.torch

    def read(self, *, at_once: int = 1) -> None:
        """Read the losses of the steps made, when there are ``at_once`` to read.

        Raises StoryInvalid when too many of all were NaN or infinite.
        """
        if len(self._unread) < at_once:
            return
        # Reading waits for the device without end: where a process it averages with has died, this ends first.
        if self.group is not None:
            self.group.wait()
        for loss in torch.stack(self._unread).tolist():
            self.losses.append(loss)
            if not math.isfinite(loss):
                self._skipped()
        self._unread.clear()

    def _skipped(self) -> None:
        if not self.is_main:
            return
        done, skipped = len(self.losses), sum(not math.isfinite(loss) for loss in self.losses)
        log.warning("the loss of step %d is NaN or infinite: the step changed nothing", done)
        if skipped >= min(_SKIPS, self.config.steps) and 10 * skipped > done:
            raise StoryInvalid(
                f"the loss was NaN or infinite at {skipped} of {done} steps, last at step {done}",
                hint=f"lower lora.learning_rate, now {self.config.learning_rate:g}",
            )

    @contextmanager
    def with_result(self) -> Iterator[nn.Module]:
        """Let the network compute with the result of the training so far while the block runs."""
        self.unet.eval()
        self.flat.apply(self.optimiser.result)
        try:
            yield self.unet
        finally:
            self.unet.train()

    def resume(self, state: State | None) -> int:
        """Take up a saved state; returns the step to go on with."""
        if state is None:
            return 0
        self.optimiser.resume(state.tensors, state.numbers)
        self.losses = list(state.losses)
        return state.step

    def state(self) -> State:
        """Give what a later run needs to go on from here; all losses must have been read."""
        tensors, numbers = self.optimiser.state()
        return State(len(self.losses), tensors, numbers, tuple(self.losses))


def _at_once(on_gpu: bool) -> int:
    """Say how many losses to read at once; from a CPU's memory every one at once."""
    return LOSSES_AT_ONCE if on_gpu else 1


class _Keeper(Callback):  # type: ignore[misc]
    """Records the loss, saves the state now and then, and lets the run stop between two steps."""

    def __init__(
        self,
        module: _LoraTraining,
        folder: Path,
        tick: Callable[[int, int], None],
        sample: Sample | None,
        curves: Curves | None,
        *,
        start: int,
        state_of: str,
    ) -> None:
        self._module = module
        self._state_of = state_of
        self._sample = sample
        self._curves = curves
        self._start = start
        self._folder = folder
        self._tick = tick
        self._saved_at = time.monotonic()
        self._cost = 0.0
        self._at_once = _at_once(module.on_gpu)

    def on_train_batch_end(self, *_: Any) -> None:
        done, total = self._module.steps_done, self._module.config.steps
        self._module.read(at_once=1 if done == total else self._at_once)
        if self._curves is not None:
            self._curves.log(self._module.losses, since=self._start)
        unsaved = time.monotonic() - self._saved_at
        if unsaved > min(self._cost / SAVING_SHARE, _LONGEST_UNSAVED):
            self.save()
        try:
            self.sample()
            self._tick(done, total)
        except Stopped:
            self.save()
            raise

    def sample(self) -> None:
        """Draw samples where it is time to; also called when a run is taken up, which may have been stopped in them."""
        done, total = self._module.steps_done, self._module.config.steps
        every = self._module.config.sample_every
        if self._sample is None or every is None or done == 0 or done % every:
            return
        with self._module.with_result() as unet:
            self._sample(unet, done, lambda: self._tick(done, total))

    def close(self) -> None:
        """Write the curve to its end."""
        if self._curves is not None:
            self._curves.log(self._module.losses, since=self._start)
            self._curves.close()

    def save(self) -> None:
        """Save the state as it is after the last step."""
        self._module.read()
        # All processes have the same weights and moments, so one saves them.
        if not self._module.is_main:
            return
        started = time.monotonic()
        write_state(self._folder, self._module.state(), of=self._state_of)
        self._saved_at = time.monotonic()
        self._cost = self._saved_at - started


class _Steps(IterableDataset[Draw]):
    """The draws of the steps that are left, one a batch."""

    def __init__(self, module: _LoraTraining, start: int) -> None:
        self._examples, self._config = module.examples, module.config
        self._num_train_timesteps = module.schedule.num_train_timesteps
        self._group, self._start = module.group, start

    def __iter__(self) -> Iterator[Draw]:
        shares = self._examples.shares
        for step in range(self._start, self._config.steps):
            bucket, turn = take_turns(seed=self._config.seed, step=step, shares=shares)
            count, variants, *shape = self._examples.buckets[bucket].latents.shape
            drawn = draw(
                seed=self._config.seed,
                step=step,
                batch_size=self._config.batch_size * self._config.devices,
                examples=count,
                variants=variants,
                num_train_timesteps=self._num_train_timesteps,
                shape=tuple(shape),
                bucket=bucket,
                turn=turn,
                noise_offset=self._config.noise_offset,
                caption_dropout=self._config.caption_dropout,
            )
            yield drawn if self._group is None else drawn.share(self._group.rank, self._group.size)


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Keep what Lightning says of devices, of its products and of the end of a fit off standard error."""
    loggers = [logging.getLogger(name) for name in TALKATIVE]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _fit(module: _LoraTraining, config: TrainingConfig, keeper: _Keeper, *, start: int) -> None:
    with warnings.catch_warnings(), _quiet_lightning():
        # Drawing a step takes a millisecond, so no worker process is wanted, which Lightning would advise.
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        warnings.filterwarnings("ignore", message=".*IterableDataset.*")
        trainer = Trainer(
            accelerator="cuda" if module.on_gpu else "cpu",
            devices=[module.flat.vector.device.index or 0] if module.on_gpu else 1,
            max_steps=config.steps - start,
            max_epochs=1,
            logger=False,
            callbacks=[keeper],
            plugins=[LightningEnvironment()],  # one device, also where a batch system's variables speak of many
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        loader = DataLoader(_Steps(module, start), batch_size=None)
        module.unet.train()
        try:
            trainer.fit(module, train_dataloaders=loader)
        except SIGTERMException as signalled:
            # Lightning listens too, and would leave with code 0 and nothing saved when it hears before the next tick.
            keeper.save()
            raise Stopped(
                "stopped on request; what is trained so far is saved", hint="run the same command again"
            ) from signalled
        module.unet.eval()
