"""What a step draws depends on the seed and the step, and on nothing else."""

from __future__ import annotations

import torch
from kolora.training.draws import Draw, draw, generator, global_stream, take_turns

CPU = torch.device("cpu")


def drawn(
    *,
    seed: int = 0,
    step: int = 0,
    batch_size: int = 1,
    examples: int = 5,
    variants: int = 4,
    noise_offset: float = 0.0,
    caption_dropout: float = 0.0,
) -> Draw:
    return draw(
        seed=seed,
        step=step,
        batch_size=batch_size,
        examples=examples,
        variants=variants,
        num_train_timesteps=1100,
        shape=(4, 8, 8),
        noise_offset=noise_offset,
        caption_dropout=caption_dropout,
    )


def equal(one: Draw, other: Draw) -> bool:
    return one.step == other.step and all(
        torch.equal(getattr(one, name), getattr(other, name)) for name in ("rows", "variants", "timesteps", "noise")
    )


def rows(*, steps: int, batch_size: int, examples: int) -> list[int]:
    """List the rows that the first steps visit."""
    visited = []
    for step in range(steps):
        visited += drawn(step=step, batch_size=batch_size, examples=examples).rows.tolist()
    return visited


def test_a_draw_depends_on_seed_and_step_alone() -> None:
    torch.manual_seed(1)
    first = drawn(seed=3, step=7, batch_size=2)
    torch.manual_seed(2)
    drawn(seed=9, step=1)
    assert equal(drawn(seed=3, step=7, batch_size=2), first)


def test_other_seeds_and_steps_draw_otherwise() -> None:
    draws = [drawn(seed=number // 3, step=number % 3) for number in range(9)]
    assert len({each.noise.sum().item() for each in draws}) == 9


def test_every_epoch_visits_each_example_once() -> None:
    visited = rows(steps=20, batch_size=1, examples=5)
    epochs = [visited[start : start + 5] for start in range(0, 20, 5)]
    assert all(sorted(epoch) == [0, 1, 2, 3, 4] for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1


def test_batches_run_across_epochs() -> None:
    assert rows(steps=7, batch_size=3, examples=5) == rows(steps=21, batch_size=1, examples=5)


def test_a_batch_may_be_larger_than_the_set() -> None:
    assert sorted(drawn(batch_size=8, examples=2).rows.tolist()) == [0, 0, 0, 0, 1, 1, 1, 1]


def test_chance_reaches_every_variant_and_timestep() -> None:
    draws = [drawn(step=step, batch_size=64) for step in range(40)]
    timesteps = torch.cat([each.timesteps for each in draws])
    assert set(torch.cat([each.variants for each in draws]).tolist()) == {0, 1, 2, 3}
    assert 0 <= int(timesteps.min()) < 10
    assert 1090 <= int(timesteps.max()) < 1100


def test_noise_is_drawn_on_the_cpu_in_float32() -> None:
    noise = drawn(batch_size=64).noise
    assert (noise.shape, noise.dtype, noise.device) == ((64, 4, 8, 8), torch.float32, CPU)
    assert abs(float(noise.mean())) < 0.05
    assert abs(float(noise.std()) - 1) < 0.05


def test_draws_are_those_of_the_first_release() -> None:
    """Whoever changes this raises the train stage's VERSION: every story would train otherwise."""
    first = drawn(seed=42, step=10, batch_size=3)
    assert first.rows.tolist() == [4, 0, 1]
    assert first.variants.tolist() == [3, 3, 1]
    assert first.timesteps.tolist() == [540, 633, 209]
    torch.testing.assert_close(first.noise[0, 0, 0, :3], torch.tensor([-0.540469, 0.950426, -0.096245]))


def test_keys_that_read_alike_are_told_apart() -> None:
    keys = [(1, "step", 2), (1, "epoch", 2), (12, "step"), (1, "step", 21), ("step", 1, 2)]
    assert len({torch.rand((), generator=generator(*key)).item() for key in keys}) == len(keys)


def test_a_global_stream_is_put_back() -> None:
    torch.manual_seed(5)
    expected = torch.rand(4)
    torch.manual_seed(5)
    with global_stream("a key", device=CPU):
        inside = torch.rand(4)
    assert torch.equal(torch.rand(4), expected)
    torch.manual_seed(6)
    with global_stream("a key", device=CPU):
        assert torch.equal(torch.rand(4), inside)


def test_settings_that_draw_more_leave_the_other_draws_as_they_are() -> None:
    plain, more = drawn(batch_size=3), drawn(batch_size=3, caption_dropout=1.0)
    assert equal(plain, more)
    assert not plain.without_caption.any()
    assert more.without_caption.all()


def test_a_noise_offset_moves_each_channel_of_a_picture_as_a_whole() -> None:
    moved = drawn(batch_size=2, noise_offset=0.1).noise - drawn(batch_size=2).noise
    shifts = moved.mean(dim=(2, 3), keepdim=True)
    torch.testing.assert_close(moved, shifts.expand_as(moved), atol=1e-6, rtol=0)
    assert len({round(shift, 4) for shift in shifts.flatten().tolist()}) == 8
    assert 0.01 < shifts.abs().mean() < 0.3


def test_about_the_share_asked_for_goes_without_caption() -> None:
    without_caption = torch.cat(
        [drawn(step=step, batch_size=8, caption_dropout=0.25).without_caption for step in range(100)]
    )
    assert 0.2 < without_caption.float().mean() < 0.3


def test_buckets_take_turns_by_their_shares() -> None:
    shares = [1, 4, 3]
    taken = [take_turns(seed=1, step=step, shares=shares) for step in range(24)]
    for start in range(0, 24, 8):
        assert sorted(bucket for bucket, _ in taken[start : start + 8]) == [0, 1, 1, 1, 1, 2, 2, 2]
    for bucket, share in enumerate(shares):
        assert [turn for each, turn in taken if each == bucket] == list(range(3 * share))
    assert [bucket for bucket, _ in taken[:8]] != [bucket for bucket, _ in taken[8:16]]
    assert take_turns(seed=1, step=17, shares=[5]) == (0, 17)
