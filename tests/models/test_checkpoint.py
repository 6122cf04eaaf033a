"""A checkpoint's models: independent of what was asked before, gone when released."""

from __future__ import annotations

import shutil
import weakref
from pathlib import Path

import pytest
import torch
from kolora.errors import InputAbsent
from kolora.memory.plan import MemoryPlan, OffloadOption
from kolora.models.checkpoint import FOLDERS, Checkpoint, size_ids
from kolora.models.prompt_embeds import PromptEmbeds
from kolora.rendering.denoise import denoise

from tests.tensors import difference, lora_for, projections, same, write_lora

TEXTS = ("一个女孩在雨中的阳台上", "", "a dragon sleeps in a cave, fire light")


@pytest.fixture
def checkpoint(tiny_checkpoint: Path) -> Checkpoint:
    return Checkpoint(tiny_checkpoint, device="cpu")


@pytest.fixture
def lora(tiny_kolors: Checkpoint, tmp_path: Path) -> Path:
    return write_lora(tmp_path / "lora.safetensors", lora_for(tiny_kolors.unet()))


FRUGAL = MemoryPlan(
    {
        "encode_prompt": (OffloadOption(offload=True),),
        "encode_images": (OffloadOption(tiling=True),),
        "train": (OffloadOption(offload=True, checkpointing=True),),
        "render": (OffloadOption(), OffloadOption(tiling=True), OffloadOption(offload=True, tiling=True)),
    }
)


def weights(checkpoint: Checkpoint, *, lora: Path | None = None, strength: float = 1.0) -> dict[str, torch.Tensor]:
    unet = checkpoint.unet(lora=lora, strength=strength)
    return {name: tensor.clone() for name, tensor in unet.state_dict().items()}


def test_texts_together_are_texts_alone(tiny_kolors: Checkpoint) -> None:
    together = tiny_kolors.encode_prompt(TEXTS)
    assert together.prompt_embeds.shape == (3, 256, 32)
    assert together.pooled_prompt_embeds.shape == (3, 32)
    for row, text in enumerate(TEXTS):
        alone = tiny_kolors.encode_prompt([text])
        assert torch.equal(together.prompt_embeds[row : row + 1], alone.prompt_embeds)
        assert torch.equal(together.pooled_prompt_embeds[row : row + 1], alone.pooled_prompt_embeds)
    assert not torch.equal(together.prompt_embeds[0], together.prompt_embeds[1])


def test_pictures_lie_on_the_vaes_grid(tiny_kolors: Checkpoint) -> None:
    latents = tiny_kolors.encode(torch.zeros(2, 3, 64, 128))
    assert latents.shape == (2, 4, 8, 16)
    assert tiny_kolors.decode(latents).shape == (2, 3, 64, 128)


def test_strength_0_is_no_lora(checkpoint: Checkpoint, lora: Path) -> None:
    plain = weights(checkpoint)
    assert same(weights(checkpoint, lora=lora, strength=0.0), plain)
    assert not same(weights(checkpoint, lora=lora), plain)
    assert same(weights(checkpoint, lora=lora, strength=0.0), plain)


def test_only_the_projections_change(checkpoint: Checkpoint, lora: Path) -> None:
    plain, merged = weights(checkpoint), weights(checkpoint, lora=lora)
    changed = {name for name in plain if not torch.equal(plain[name], merged[name])}
    assert changed == {f"{name}.weight" for name, _ in projections(checkpoint.unet())}


def test_a_strength_does_not_depend_on_the_one_before(
    checkpoint: Checkpoint, lora: Path, tiny_checkpoint: Path
) -> None:
    weights(checkpoint, lora=lora, strength=1.0)
    weights(checkpoint, lora=lora, strength=2.0)
    direct = weights(Checkpoint(tiny_checkpoint, device="cpu"), lora=lora, strength=0.5)
    assert same(weights(checkpoint, lora=lora, strength=0.5), direct)


def test_a_lora_is_taken_off_when_none_is_asked_for(checkpoint: Checkpoint, lora: Path) -> None:
    plain = weights(checkpoint)
    weights(checkpoint, lora=lora)
    assert same(weights(checkpoint), plain)


def test_a_lora_is_taken_off_before_another_goes_on(
    checkpoint: Checkpoint, lora: Path, tmp_path: Path, tiny_checkpoint: Path
) -> None:
    other = write_lora(tmp_path / "other.safetensors", lora_for(checkpoint.unet(), seed=1))
    weights(checkpoint, lora=lora)
    direct = weights(Checkpoint(tiny_checkpoint, device="cpu"), lora=other)
    assert same(weights(checkpoint, lora=other), direct)
    assert not same(weights(checkpoint, lora=lora), direct)


def test_a_lora_goes_on_whoever_asked_for_the_unet_first(checkpoint: Checkpoint, lora: Path) -> None:
    with torch.inference_mode():
        checkpoint.unet()
    plain = weights(checkpoint)
    assert not same(weights(checkpoint, lora=lora), plain)


def test_a_released_part_is_gone_and_the_others_stay(checkpoint: Checkpoint, lora: Path) -> None:
    unet = weakref.ref(checkpoint.unet(lora=lora))
    tokenizer, schedule = checkpoint.tokenizer(), checkpoint.schedule()
    assert checkpoint.unet() is unet()
    checkpoint.release("unet")
    assert unet() is None
    assert checkpoint.tokenizer() is tokenizer
    checkpoint.release()
    assert checkpoint.schedule() is not schedule


def test_a_released_unet_wears_the_lora_again(checkpoint: Checkpoint, lora: Path) -> None:
    merged = weights(checkpoint, lora=lora)
    checkpoint.release("unet")
    assert same(weights(checkpoint, lora=lora), merged)


def test_releasing_what_was_never_loaded_is_fine(checkpoint: Checkpoint) -> None:
    checkpoint.release("unet", "vae_encoder")


def test_the_unet_for_training_is_another(checkpoint: Checkpoint, lora: Path) -> None:
    plain = weights(checkpoint)
    merged = checkpoint.unet(lora=lora)
    trained = checkpoint.training_unet()
    assert trained is not merged
    assert same(trained.state_dict(), plain)


@pytest.mark.parametrize(("dtype", "expected"), [("auto", torch.float32), ("bfloat16", torch.bfloat16)])
def test_the_dtype_is_the_text_encoders_and_the_unets(tiny_checkpoint: Path, dtype: str, expected: torch.dtype) -> None:
    checkpoint = Checkpoint(tiny_checkpoint, device="cpu", dtype=dtype)
    assert {tensor.dtype for tensor in weights(checkpoint).values()} == {expected}
    assert checkpoint.encode_prompt(["a cat"]).prompt_embeds.dtype == expected
    assert checkpoint.encode(torch.zeros(1, 3, 64, 64)).dtype == torch.float32


def test_training_in_half_precision_is_never_in_float16(tiny_checkpoint: Path) -> None:
    unet = Checkpoint(tiny_checkpoint, device="cpu", dtype="float16").training_unet()
    assert {parameter.dtype for parameter in unet.parameters()} == {torch.float32}


def test_size_ids_are_height_then_width() -> None:
    assert size_ids(768, 1024).tolist() == [768, 1024, 0, 0, 768, 1024]


@pytest.mark.parametrize("absent", FOLDERS)
def test_an_absent_folder_is_named(tiny_checkpoint: Path, tmp_path: Path, absent: str) -> None:
    folder = tmp_path / "checkpoint"
    shutil.copytree(tiny_checkpoint, folder, ignore=shutil.ignore_patterns(absent, "clip", "aesthetics"))
    with pytest.raises(InputAbsent, match=f"checkpoint lacks {absent},"):
        Checkpoint(folder, device="cpu")


def test_a_frugal_checkpoint_gives_what_an_ample_one_gives(
    tiny_kolors: Checkpoint, tiny_checkpoint: Path, lora: Path
) -> None:
    """To the bit, but for the VAE, whose tiles round otherwise."""
    frugal = Checkpoint(tiny_checkpoint, device="cpu", memory=FRUGAL)
    ours, theirs = frugal.encode_prompt(TEXTS), tiny_kolors.encode_prompt(TEXTS)
    assert torch.equal(ours.prompt_embeds, theirs.prompt_embeds)
    assert torch.equal(ours.pooled_prompt_embeds, theirs.pooled_prompt_embeds)
    pixels = torch.rand(1, 3, 64, 64) * 2 - 1
    assert difference(frugal.encode(pixels), tiny_kolors.encode(pixels)) < 1e-5
    for _ in range(3):
        latents = [drawn(checkpoint, lora) for checkpoint in (frugal, tiny_kolors)]
        assert torch.equal(*latents)
        assert difference(frugal.decode(latents[0]), tiny_kolors.decode(latents[0])) < 1e-5
        stepped_down = frugal.step_down("render")
    assert not stepped_down


def test_a_offloaded_unet_takes_off_its_lora(tiny_kolors: Checkpoint, tiny_checkpoint: Path, lora: Path) -> None:
    plan = MemoryPlan({"render": (OffloadOption(offload=True, tiling=True),)})
    offloaded = Checkpoint(tiny_checkpoint, device="cpu", memory=plan)
    merged, plain = drawn(offloaded, lora), drawn(offloaded, None)
    assert not torch.equal(merged, plain)
    assert torch.equal(plain, drawn(tiny_kolors, None))


def drawn(checkpoint: Checkpoint, lora: Path | None) -> torch.Tensor:
    return denoise(
        checkpoint.predictor(lora=lora),
        checkpoint.schedule(),
        PromptEmbeds(torch.ones(2, 256, 32), torch.ones(2, 32)),
        seed=1,
        height=64,
        width=64,
        steps=2,
        guidance_scale=4.0,
        tick=lambda *_: None,
    )
