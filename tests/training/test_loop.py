"""Training lowers the loss, touches what it should, and goes on after any stop to the same bytes."""

from __future__ import annotations

import math
import re
import signal
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from kolora.configs import KOLORS
from kolora.errors import Stopped, StoryInvalid
from kolora.memory.plan import OffloadOption
from kolora.models.checkpoint import Checkpoint
from kolora.models.lora import LoraWeights, MergedWeights, lora_bytes
from kolora.models.prompt_embeds import PromptEmbeds
from kolora.models.schedule import NoiseSchedule
from kolora.saved import StateDamaged
from kolora.spec.sections.lora import Lora
from kolora.training import loop
from kolora.training.adapters import add_adapters
from kolora.training.config import TrainingConfig
from kolora.training.examples import Bucket, Examples
from kolora.training.loop import TrainingResult, train
from kolora.training.state import FILE, State, read_state
from torch import nn

from tests.tensors import PROJECTIONS, difference, projections, same

SCHEDULE = NoiseSchedule.from_config(KOLORS["scheduler"])
Tick = Callable[[int, int], None]


class SmallNet(nn.Module):
    """A network on the U-Net's seam that is one attention of four channels, so that a step takes a millisecond."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            attention = nn.ModuleDict({name: nn.Linear(4, 4) for name in PROJECTIONS})
        self.blocks = nn.ModuleDict({"7": nn.ModuleDict({"attn1": attention})})
        self.requires_grad_(False)

    def forward(
        self, sample: torch.Tensor, timestep: torch.Tensor, *, encoder_hidden_states: torch.Tensor, **_: Any
    ) -> torch.Tensor:
        to = dict(self.named_modules())["blocks.7.attn1"]
        cells = sample.flatten(2).transpose(1, 2)
        keys, values = to["to_k"](encoder_hidden_states), to["to_v"](encoder_hidden_states)
        attended = nn.functional.scaled_dot_product_attention(to["to_q"](cells), keys, values)
        drawn: torch.Tensor = to["to_out"](cells + attended)
        return drawn.transpose(1, 2).reshape(sample.shape)


class Poisoned(SmallNet):
    """A network whose output is NaN at the calls ``at``."""

    def __init__(self, *, at: Collection[int]) -> None:
        super().__init__()
        self._calls, self._at = 0, at

    def forward(self, *given: Any, **said: Any) -> torch.Tensor:
        self._calls += 1
        drawn = super().forward(*given, **said)
        return drawn * float("nan") if self._calls in self._at else drawn


def examples(*, width: int = 4, more: int = 0) -> Examples:
    """Make up a training set: three pictures in two variants, two captions; ``more`` pictures of another shape."""
    rng = torch.Generator().manual_seed(0)
    square = torch.randn(3, 2, 4, 8, 8, generator=rng)
    embeds = PromptEmbeds(torch.randn(2, 8, width, generator=rng), torch.randn(2, width, generator=rng))
    latents = [square, torch.randn(more, 2, 4, 4, 16, generator=rng)] if more else [square]
    return Examples(embeds, tuple(Bucket(each, torch.arange(len(each)) % 2) for each in latents))


def training(**settings: Any) -> TrainingConfig:
    small = {"rank": 2, "alpha": 4.0, "steps": 6, "batch_size": 2, "learning_rate": 0.01, "dropout": 0.2}
    return TrainingConfig.of(Lora(**small | settings))


def go_on(*_: int) -> None:
    """Let the training run."""


def stop_at(step: int) -> Tick:
    def tick(done: int, _total: int) -> None:
        if done == step:
            raise Stopped("stop")

    return tick


def trained(
    folder: Path,
    settings: TrainingConfig,
    *,
    tick: Tick = go_on,
    unet: nn.Module | None = None,
    given: Examples | None = None,
    option: OffloadOption | None = None,
) -> TrainingResult:
    unet = SmallNet() if unet is None else unet
    given = examples(width=4 if isinstance(unet, SmallNet) else 32) if given is None else given
    return train(unet, SCHEDULE, given, settings, state=folder, tick=tick, option=option)


def tensors(weights: LoraWeights) -> Mapping[str, torch.Tensor]:
    named = {}
    for name, (down, up) in weights.pairs.items():
        named |= {f"{name}.A": down, f"{name}.B": up}
    return named


def adapters(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in module.state_dict().items() if ".lora_" in name}


def test_training_lowers_the_loss(tmp_path: Path) -> None:
    losses = trained(tmp_path, training(steps=150, learning_rate=0.05, rank=4, dropout=0.0)).losses
    first, last = sum(losses[:15]) / 15, sum(losses[-15:]) / 15
    assert last < 0.7 * first


def test_every_step_is_recorded_and_told(tmp_path: Path) -> None:
    reported: list[tuple[int, int]] = []
    result = trained(tmp_path, training(), tick=lambda *progress: reported.append(progress))
    assert reported == [(step, 6) for step in range(1, 7)]
    assert len(result.losses) == 6
    assert result.resumed_at == 0
    assert result.parameters == 4 * 2 * (4 + 4)


def test_losses_read_a_few_at_a_time_are_all_there_and_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a GPU: read in batches, and before every saving and stopping."""
    expected = trained(tmp_path / "one", training(steps=8)).losses
    monkeypatch.setattr(loop, "_at_once", lambda _on_gpu: 3)
    assert trained(tmp_path / "three", training(steps=8)).losses == expected
    with pytest.raises(Stopped):
        trained(tmp_path / "parts", training(steps=8), tick=stop_at(5))
    saved = read_state(tmp_path / "parts")
    assert saved is not None
    assert saved.losses == expected[:5]
    assert trained(tmp_path / "parts", training(steps=8)).losses == expected


def test_bad_losses_read_late_name_their_own_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "_at_once", lambda _on_gpu: 4)
    monkeypatch.setattr(loop, "SAVING_SHARE", 1e-9)
    with pytest.raises(StoryInvalid, match="at 5 of 9 steps, last at step 9"):
        trained(tmp_path, training(steps=12), unet=Poisoned(at={2, 4, 5, 8, 9}))


def test_a_bad_step_changes_nothing_and_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    before, after = (stopped_at(tmp_path / str(step), step, bad={3}) for step in (2, 3))
    assert before is not None
    assert after is not None
    assert "step 3 is NaN or infinite" in caplog.text
    assert (before.step, after.step) == (2, 3)
    assert same(before.tensors, after.tensors)
    assert math.isnan(after.losses[2])
    whole = trained(tmp_path / "whole", training(ema_decay=0.9), unet=Poisoned(at={3}))
    assert [math.isnan(loss) for loss in whole.losses] == [step == 3 for step in range(1, 7)]


def stopped_at(folder: Path, step: int, *, bad: Collection[int]) -> State | None:
    """Give the state after ``step``, with NaN at the steps ``bad``."""
    with pytest.raises(Stopped):
        trained(folder, training(ema_decay=0.9), tick=stop_at(step), unet=Poisoned(at=bad))
    return read_state(folder)


def test_the_real_unet_trains_and_goes_on_to_the_same_bytes(tiny_kolors: Checkpoint, tmp_path: Path) -> None:
    settings = training(steps=4, batch_size=1)
    whole = trained(tmp_path / "whole", settings, unet=tiny_kolors.training_unet())
    with pytest.raises(Stopped):
        trained(tmp_path / "parts", settings, tick=stop_at(2), unet=tiny_kolors.training_unet())
    resumed = trained(tmp_path / "parts", settings, unet=tiny_kolors.training_unet())
    assert resumed.resumed_at == 2
    assert lora_bytes(resumed.weights, metadata={}) == lora_bytes(whole.weights, metadata={})
    assert all(up.abs().max() > 0 for _, up in whole.weights.pairs.values())


def test_the_weights_are_what_the_network_wears(tmp_path: Path) -> None:
    """Merged into the checkpoint at strength 1, they give what the network gave at the end of training."""
    unet, plain = SmallNet(), SmallNet()
    MergedWeights(plain, trained(tmp_path, training(), unet=unet).weights).set(1.0)
    sample, prompt_embeds = examples().buckets[0].latents[0], examples().embeds.prompt_embeds
    outputs = [each(sample, torch.zeros(1), encoder_hidden_states=prompt_embeds) for each in (unet, plain)]
    torch.testing.assert_close(*outputs)


ELABORATE = {
    "lr_scheduler": "cosine",
    "warmup_steps": 2,
    "max_grad_norm": 0.01,
    "ema_decay": 0.9,
    "min_snr_gamma": 1.0,
    "noise_offset": 0.1,
    "caption_dropout": 0.5,
}


@pytest.mark.parametrize("settings", [{}, ELABORATE, {"optimizer": "prodigy", "learning_rate": 1.0}])
@pytest.mark.parametrize("step", range(1, 7))
def test_a_stop_at_any_step_changes_nothing(tmp_path: Path, step: int, settings: dict[str, Any]) -> None:
    whole = trained(tmp_path / "whole", training(**settings))
    with pytest.raises(Stopped):
        trained(tmp_path / "parts", training(**settings), tick=stop_at(step))
    torch.manual_seed(step)
    resumed = trained(tmp_path / "parts", training(**settings))
    assert resumed.resumed_at == step
    assert resumed.losses == whole.losses
    assert same(tensors(resumed.weights), tensors(whole.weights))


def test_pictures_of_several_shapes_are_learnt_and_a_stop_changes_nothing(tmp_path: Path) -> None:
    given = examples(more=2)
    whole = trained(tmp_path / "whole", training(steps=10), given=given)
    with pytest.raises(Stopped):
        trained(tmp_path / "parts", training(steps=10), given=given, tick=stop_at(4))
    resumed = trained(tmp_path / "parts", training(steps=10), given=given)
    assert same(tensors(resumed.weights), tensors(whole.weights))
    given.buckets[1].latents.zero_()
    assert not same(
        tensors(trained(tmp_path / "other", training(steps=10), given=given).weights), tensors(whole.weights)
    )


def samples(
    folder: Path, settings: TrainingConfig, *, stop_in: int | None = None
) -> tuple[dict[int, torch.Tensor], TrainingResult | None]:
    """Train, and take what the network gives at every call for samples; with ``stop_in``, stop in that one."""
    drawn: dict[int, torch.Tensor] = {}
    prompt_embeds = examples().embeds.prompt_embeds

    def sample(unet: nn.Module, step: int, tick: Callable[[], None]) -> None:
        assert not unet.training
        if step == stop_in:
            raise Stopped("stop")
        with torch.inference_mode():
            drawn[step] = unet(examples().buckets[0].latents[0], torch.zeros(1), encoder_hidden_states=prompt_embeds)
        tick()

    try:
        result = train(SmallNet(), SCHEDULE, examples(), settings, state=folder, tick=go_on, sample=sample)
    except Stopped:
        return drawn, None
    return drawn, result


@pytest.mark.parametrize("ema_decay", [None, 0.9])
def test_samples_are_of_what_would_be_kept_and_change_nothing(tmp_path: Path, ema_decay: float | None) -> None:
    settings = training(sample_every=2, ema_decay=ema_decay)
    drawn, result = samples(tmp_path / "whole", settings)
    plain = trained(tmp_path / "plain", settings)
    assert list(drawn) == [2, 4, 6]
    assert result is not None
    assert same(tensors(result.weights), tensors(plain.weights))
    unet = SmallNet()
    MergedWeights(unet, plain.weights).set(1.0)
    kept = unet(examples().buckets[0].latents[0], torch.zeros(1), encoder_hidden_states=examples().embeds.prompt_embeds)
    torch.testing.assert_close(drawn[6].clone(), kept)


@pytest.mark.parametrize("step", [2, 6])
def test_a_stop_while_samples_are_drawn_draws_them_later(tmp_path: Path, step: int) -> None:
    settings = training(sample_every=2)
    whole, result = samples(tmp_path / "whole", settings)
    before, stopped = samples(tmp_path / "parts", settings, stop_in=step)
    after, resumed = samples(tmp_path / "parts", settings)
    assert stopped is None
    assert sorted(before.keys() | after.keys()) == [2, 4, 6]
    assert same({str(each): after[each] for each in after}, {str(each): whole[each] for each in after})
    assert resumed is not None
    assert result is not None
    assert same(tensors(resumed.weights), tensors(result.weights))


def test_a_signal_that_lightning_hears_first_saves_too(tmp_path: Path) -> None:
    def tick(done: int, _total: int) -> None:
        if done == 3:
            signal.raise_signal(signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Stopped):
        trained(tmp_path / "parts", training(), tick=tick)
    assert signal.getsignal(signal.SIGTERM) is before
    resumed = trained(tmp_path / "parts", training())
    assert resumed.resumed_at == 3
    assert same(tensors(resumed.weights), tensors(trained(tmp_path / "whole", training()).weights))


def test_variables_of_a_batch_system_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = trained(tmp_path / "plain", training())
    for name, value in {
        "SLURM_JOB_ID": "1",
        "SLURM_NTASKS": "4",
        "SLURM_JOB_NAME": "story",
        "SLURM_LOCALID": "2",
    }.items():
        monkeypatch.setenv(name, value)
    assert trained(tmp_path / "slurm", training()).losses == expected.losses


def test_a_torn_state_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Stopped):
        trained(tmp_path, training(), tick=stop_at(4))
    state = tmp_path / FILE
    whole = state.read_bytes()
    for length in (0, 7, len(whole) // 2, len(whole) - 1):
        state.write_bytes(whole[:length])
        with pytest.raises(StateDamaged):
            trained(tmp_path, training(steps=1))
    state.write_bytes(whole)
    assert trained(tmp_path, training()).resumed_at == 4


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"dropout": 0.0},
        {"init_lora_weights": "kaiming"},
        {"weight_decay": 1.0},
        {"min_snr_gamma": 0.1},
        {"noise_offset": 0.1},
        {"caption_dropout": 0.5},
        {"lr_scheduler": "linear"},
        {"warmup_steps": 3},
        {"max_grad_norm": 1e-6},
        {"ema_decay": 0.9},
        {"optimizer": "prodigy"},
    ],
)
def test_every_setting_has_a_say(tmp_path: Path, change: dict[str, Any]) -> None:
    one, other = (trained(tmp_path / name, training(**settings)) for name, settings in (("one", {}), ("other", change)))
    assert not same(tensors(one.weights), tensors(other.weights))


def test_checkpointing_spends_time_and_changes_nothing(tiny_kolors: Checkpoint, tmp_path: Path) -> None:
    one, other = (
        trained(
            tmp_path / str(checkpointing),
            training(steps=2, batch_size=1),
            unet=tiny_kolors.training_unet(),
            option=OffloadOption(checkpointing=checkpointing),
        )
        for checkpointing in (False, True)
    )
    assert same(tensors(one.weights), tensors(other.weights))


def test_an_offloaded_unet_learns_the_same(tiny_kolors: Checkpoint, tmp_path: Path) -> None:
    one, other = (
        train(
            tiny_kolors.training_unet(),
            SCHEDULE,
            examples(width=32),
            training(steps=3),
            state=tmp_path / str(option.offload),
            tick=go_on,
            option=option,
            device="cpu",
        )
        for option in (OffloadOption(), OffloadOption(offload=True, checkpointing=True))
    )
    assert one.losses == other.losses
    assert same(tensors(one.weights), tensors(other.weights))


@pytest.mark.parametrize("rows", [1, 2])
def test_a_split_batch_learns_the_same_to_rounding(tmp_path: Path, rows: int) -> None:
    settings = training(batch_size=4, dropout=0.0)
    whole, split = (
        train(SmallNet(), SCHEDULE, examples(), settings, state=tmp_path / str(option.rows), tick=go_on, option=option)
        for option in (OffloadOption(), OffloadOption(rows=rows))
    )
    assert split.losses == pytest.approx(whole.losses, rel=1e-5)
    for name, tensor in tensors(split.weights).items():
        assert difference(tensor, tensors(whole.weights)[name]) < 1e-3
    assert split.losses != trained(tmp_path / "other", training(batch_size=rows, dropout=0.0)).losses


@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_says_what_to_lower(tmp_path: Path, poison: float) -> None:
    spoiled = examples()
    spoiled.buckets[0].latents[:] = poison
    with pytest.raises(StoryInvalid, match="NaN or infinite at 5 of 5 steps") as caught:
        train(SmallNet(), SCHEDULE, spoiled, training(), state=tmp_path, tick=go_on)
    assert "lora.learning_rate, now 0.01" in caught.value.hint


@pytest.mark.parametrize("kind", ["gaussian", "kaiming"])
def test_adapters_begin_as_the_seed_says(tiny_kolors: Checkpoint, kind: str) -> None:
    begun = []
    for global_seed, seed in ((1, 0), (2, 0), (2, 3)):
        unet = tiny_kolors.training_unet()
        torch.manual_seed(global_seed)
        before = torch.get_rng_state()
        add_adapters(unet, training(seed=seed, init_lora_weights=kind))
        assert torch.equal(torch.get_rng_state(), before)
        begun.append(adapters(unet))
    assert same(begun[0], begun[1])
    assert not same(begun[0], begun[2])
    assert all(tensor.any() == (".lora_A." in name) for name, tensor in begun[0].items())


@pytest.mark.parametrize("targets", [PROJECTIONS, ("to_q",), ("to_k", "to_out")])
def test_only_the_targets_get_adapters(tiny_kolors: Checkpoint, targets: tuple[str, ...]) -> None:
    unet = tiny_kolors.training_unet().to(torch.bfloat16)
    add_adapters(unet, training(target_modules=targets))
    given = {name.rpartition(".lora_")[0] for name in adapters(unet)}
    assert given == {name for name, _ in projections(tiny_kolors.unet()) if name.rpartition(".")[2] in targets}
    assert len(given) == len(targets) * 2 * 11  # of two attentions in each of eleven stacks of one layer
    trainable = {name: parameter for name, parameter in unet.named_parameters() if parameter.requires_grad}
    assert trainable.keys() == adapters(unet).keys()
    assert {parameter.dtype for parameter in trainable.values()} == {torch.float32}


def test_the_checkpoints_weights_stay(tmp_path: Path) -> None:
    unet = SmallNet()
    trained(tmp_path, training(), unet=unet)
    kept = {re.sub(r"\.base_layer", "", name): each for name, each in unet.state_dict().items() if ".lora_" not in name}
    assert same(kept, SmallNet().state_dict())
    assert not unet.training
