"""What each training step draws: a function of the seed and the step, so a resumed run is the uninterrupted one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Draw:
    """What one step draws.

    rows: (B,) of a bucket. variants: (B,) of them. timesteps: (B,). noise: (B, 4, h, w) float32. without_caption: (B,).
    """

    step: int
    bucket: int
    rows: torch.Tensor
    variants: torch.Tensor
    timesteps: torch.Tensor
    noise: torch.Tensor
    without_caption: torch.Tensor

    def share(self, rank: int, size: int) -> Draw:
        """Give the part of the rows that is one's of ``size`` processes, all parts being equally many."""
        rows = (self.rows, self.variants, self.timesteps, self.noise, self.without_caption)
        return Draw(self.step, self.bucket, *(each.chunk(size)[rank] for each in rows))


def generator(*key: object) -> torch.Generator:
    """Make a CPU generator whose stream depends on ``key`` alone."""
    return torch.Generator().manual_seed(_seed(*key))


@contextmanager
def global_stream(*key: object, device: torch.device) -> Iterator[None]:
    """Let what draws from torch's global streams do so by ``key`` alone while the block runs, then put them back."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(_seed(*key))
        yield


def _seed(*key: object) -> int:
    """Hash a key to 63 bits."""
    digest = hashlib.sha256("/".join(map(str, key)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def draw(
    *,
    seed: int,
    step: int,
    batch_size: int,
    examples: int,
    variants: int,
    num_train_timesteps: int,
    shape: tuple[int, ...],
    bucket: int = 0,
    turn: int | None = None,
    noise_offset: float = 0.0,
    caption_dropout: float = 0.0,
) -> Draw:
    """Draw step number ``step`` (from 0), the ``turn``th of its bucket.

    Every epoch visits each example once, in its own order; batches run across epochs. Noise is drawn on the CPU in
    float32, so it is the same on every card. shape: of one latent, (4, h, w). The order of the draws never changes: a
    setting that draws more does so after the others.
    """
    start = (step if turn is None else turn) * batch_size
    rows = [_row(seed, bucket, start + offset, examples) for offset in range(batch_size)]
    rng = generator(seed, "step", step)
    # All is drawn every time, also what a setting multiplies by nothing: the draws after it stay the same.
    chosen = torch.randint(variants, (batch_size,), generator=rng)
    timesteps = torch.randint(num_train_timesteps, (batch_size,), generator=rng)
    noise = torch.randn((batch_size, *shape), generator=rng)
    common = torch.randn((batch_size, shape[0], 1, 1), generator=rng)
    return Draw(
        step=step,
        bucket=bucket,
        rows=torch.tensor(rows),
        variants=chosen,
        timesteps=timesteps,
        noise=noise + noise_offset * common,
        without_caption=torch.rand(batch_size, generator=rng) < caption_dropout,
    )


def take_turns(*, seed: int, step: int, shares: Sequence[int]) -> tuple[int, int]:
    """Choose the bucket of step number ``step``; returns it and how many steps it had before.

    Of every sum(shares) steps each bucket has its share, in an order of their own.
    """
    if len(shares) == 1:
        return 0, step
    epoch, place = divmod(step, sum(shares))
    rng = generator(seed, "buckets", epoch)
    # Shuffled anew in every epoch: of a fixed order, a small bucket's steps would always follow the same ones.
    buckets = torch.repeat_interleave(torch.arange(len(shares)), torch.tensor(shares))
    order = buckets[torch.randperm(len(buckets), generator=rng)]
    bucket = int(order[place])
    return bucket, epoch * shares[bucket] + int((order[:place] == bucket).sum())


def _row(seed: int, bucket: int, sample: int, examples: int) -> int:
    epoch, place = divmod(sample, examples)
    # Bucket 0 is not named, so that a set of one size draws what it drew before there were buckets.
    rng = generator(seed, "epoch", epoch, *([bucket] if bucket else []))
    return int(torch.randperm(examples, generator=rng)[place])
