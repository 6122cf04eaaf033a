"""The loop asks the U-Net for the rows it needs, in their order, and mixes them by the guidance."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from kolora.configs import KOLORS
from kolora.errors import StoryInvalid
from kolora.models.checkpoint import Checkpoint
from kolora.models.prompt_embeds import PromptEmbeds
from kolora.models.schedule import NoiseSchedule
from kolora.rendering.denoise import denoise, initial_noise
from kolora.samplers import SAMPLERS, Sampler
from kolora.samplers.ddim import sample_ddim
from kolora.samplers.schedule import SamplingSchedule, space_evenly
from torch import nn

SCHEDULE = NoiseSchedule.from_config(KOLORS["scheduler"])
PROMPT, NEGATIVE = 3.0, 1.0
EMBEDS = PromptEmbeds(torch.tensor([PROMPT, NEGATIVE]).reshape(2, 1, 1), torch.tensor([[PROMPT], [NEGATIVE]]))


@dataclass
class Call:
    """What the U-Net was asked."""

    sample: torch.Tensor
    timestep: torch.Tensor
    said: dict[str, torch.Tensor]


@dataclass(eq=False)
class Spy(nn.Module):
    """A U-Net that predicts what its row of the prompt embeddings says, everywhere, and remembers its calls."""

    calls: list[Call] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def forward(self, sample: torch.Tensor, timestep: torch.Tensor, **said: Any) -> torch.Tensor:
        self.calls.append(Call(sample, timestep, said))
        assert torch.equal(said["encoder_hidden_states"][:, 0], said["add_text_embeds"])
        return said["encoder_hidden_states"][:, :, None].expand(sample.shape).to(sample.dtype)


def visited(steps: int) -> SamplingSchedule:
    return space_evenly(SCHEDULE.alphas_cumprod.tolist(), steps)


def denoised(unet: nn.Module, *, embeds: PromptEmbeds = EMBEDS, **settings: Any) -> torch.Tensor:
    known = {"seed": 0, "height": 64, "width": 128, "steps": 1, "guidance_scale": 4.0, "tick": lambda *_: None}
    return denoise(unet, SCHEDULE, embeds, **(known | settings))


@pytest.mark.parametrize("scale", [0.0, 1.0, 1.5, 4.0])
def test_guidance_leads_from_the_negative_prompt_to_the_prompt(scale: float) -> None:
    noise = initial_noise(seed=0, height=64, width=128)
    guided = torch.full_like(noise, NEGATIVE + scale * (PROMPT - NEGATIVE))
    expected = sample_ddim(lambda *_: guided, noise, visited(1), lambda *_: None)
    torch.testing.assert_close(denoised(Spy(), guidance_scale=scale), expected)


@pytest.mark.parametrize(("scale", "rows"), [(1.0, 1), (4.0, 2), (0.0, 2)])
def test_the_pair_is_one_batch_and_guidance_1_needs_no_pair(scale: float, rows: int) -> None:
    unet = Spy()
    denoised(unet, guidance_scale=scale, steps=3)
    assert [len(call.sample) for call in unet.calls] == [rows] * 3
    assert all(len(call.said["add_text_embeds"]) == rows for call in unet.calls)
    assert all(call.said["add_time_id"].tolist() == [64, 128, 0, 0, 64, 128] * rows for call in unet.calls)
    assert all(torch.equal(call.sample, call.sample[:1].expand_as(call.sample)) for call in unet.calls)


def test_timesteps_come_one_a_step_and_are_told() -> None:
    unet, reported = Spy(), []
    denoised(unet, steps=5, tick=lambda *progress: reported.append(progress))
    assert [call.timestep.tolist() for call in unet.calls] == [[each] for each in visited(5).timesteps]
    assert reported == [(done, 5) for done in range(1, 6)]


def test_the_sampler_is_the_one_that_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    idle = Sampler(lambda _model, latents, *_: latents, a1111="Idle", comfyui=("euler", "normal"))
    monkeypatch.setitem(SAMPLERS, "idle", idle)
    assert torch.equal(denoised(Spy(), sampler="idle"), initial_noise(seed=0, height=64, width=128))
    assert not torch.equal(denoised(Spy(), sampler="ddim"), denoised(Spy(), sampler="idle"))


def test_latents_stay_in_float32_between_steps_in_half_precision() -> None:
    unet = Spy()
    half = PromptEmbeds(EMBEDS.prompt_embeds.bfloat16(), EMBEDS.pooled_prompt_embeds.bfloat16())
    latents = denoised(unet, embeds=half, steps=8)
    assert {call.sample.dtype for call in unet.calls} == {torch.bfloat16}
    assert latents.dtype == torch.float32
    torch.testing.assert_close(latents, denoised(Spy(), steps=8))


def test_the_same_scene_is_the_same_latents(tiny_kolors: Checkpoint) -> None:
    embeds = tiny_kolors.encode_prompt(["一只猫", "模糊"])
    one, again, other = (denoised(tiny_kolors.unet(), embeds=embeds, seed=seed, steps=3) for seed in (1, 1, 2))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


@pytest.mark.parametrize(("dtype", "hint"), [(torch.float16, "model.dtype"), (torch.float32, "render.lora_scale")])
def test_a_picture_of_no_numbers_is_an_error_that_says_what_to_change(dtype: torch.dtype, hint: str) -> None:
    embeds = EMBEDS.to(dtype=dtype)
    embeds.prompt_embeds[1] = embeds.pooled_prompt_embeds[1] = float("inf")
    with pytest.raises(StoryInvalid, match=r"seed 7 overflowed in float") as raised:
        denoised(Spy(), embeds=embeds, seed=7, steps=2)
    assert hint in (raised.value.hint or "")


def test_noise_depends_on_the_seed_alone() -> None:
    torch.manual_seed(1)
    first = initial_noise(seed=5, height=64, width=128)
    torch.manual_seed(2)
    assert torch.equal(initial_noise(seed=5, height=64, width=128), first)
    assert not torch.equal(initial_noise(seed=6, height=64, width=128), first)
    assert (first.shape, first.dtype, first.device.type) == ((1, 4, 8, 16), torch.float32, "cpu")


def test_noise_is_that_of_the_first_release() -> None:
    """Whoever changes this raises the render stage's VERSION: every picture would be another."""
    first = initial_noise(seed=0, height=64, width=64).flatten()[:4]
    torch.testing.assert_close(first, torch.tensor([-1.125840, -1.152360, -0.250579, -0.433879]))
