"""Teaches the text encoder and the U-Net together: epsilon prediction on Kolors' noise schedule."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from kolora.models.architecture import build_text_encoder, build_unet
from kolora.models.checkpoint import size_ids
from kolora.models.schedule import NoiseSchedule
from kolora.models.tokenizer import Tokenizer
from kolora.tokens import TOKEN_LIMIT
from torch import nn

from tools.pocket.teaching.course import Average, channels_last, compiled, half, log, rate, set_rate, step_down
from tools.pocket.teaching.reading import Lesson

TAIL = 112
"""Captions are shorter than this; the padding to the left of it is put back for every batch."""
UNCONDITIONAL = 0.1
READ_LINES, READ_WEIGHT = 128, 0.01
"""The lines that are read beside every batch of pictures, and what misreading them costs."""
SNR_LIMIT = 5.0
"""Steps with more signal than this are weighted down: Hang et al., Efficient Diffusion Training via Min-SNR."""


@dataclass(frozen=True)
class Texts:
    """Tokens of captions: the last TAIL ids (N, C, TAIL) int32 and how many of them are text (N, C)."""

    ids: torch.Tensor
    lengths: torch.Tensor

    def padded(self, rows: torch.Tensor, columns: torch.Tensor) -> dict[str, torch.Tensor]:
        """Give the text encoder's inputs (B, 256) of the captions at rows and columns."""
        return _inputs(self.ids[rows, columns].long(), self.lengths[rows, columns])


def tokenize(captions: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the tails (N, TAIL) int32 and lengths (N,) of captions; raises ValueError when one is too long."""
    tokens = Tokenizer()(captions)
    lengths = tokens.attention_mask.sum(dim=1)
    if int(lengths.max()) > TAIL:
        raise ValueError(f"a caption has {int(lengths.max())} tokens, more than {TAIL}")
    return tokens.input_ids[:, -TAIL:].int(), lengths


def _inputs(tails: torch.Tensor, lengths: torch.Tensor) -> dict[str, torch.Tensor]:
    ids = nn.functional.pad(tails, (TOKEN_LIMIT - TAIL, 0))
    places = torch.arange(TOKEN_LIMIT, device=ids.device)[None] - (TOKEN_LIMIT - lengths[:, None])
    return {"input_ids": ids, "attention_mask": (places >= 0).long(), "position_ids": places.clamp_min(0)}


def new_text_encoder(config: dict[str, Any], *, device: str) -> nn.Module:
    """Build the text encoder with its first weights; its output layer, which nothing reads, is left out."""
    encoder: Any = build_text_encoder({**config, "torch_dtype": "float32"})
    del encoder.output_layer
    with torch.no_grad():
        for name, weight in encoder.named_parameters():
            if "layernorm" in name:  # DiffSynth leaves these as the memory was
                weight.fill_(1.0)
        encoder.embedding.word_embeddings.weight.normal_(std=0.3)
    return encoder.float().to(device)  # type: ignore[no-any-return]


def new_unet(config: dict[str, Any], *, device: str) -> nn.Module:
    """Build the U-Net with its first weights: every residual branch starts silent."""
    unet: Any = build_unet(config)
    with torch.no_grad():
        for module in unet.modules():
            if hasattr(module, "conv2"):
                module.conv2.weight.zero_()
        unet.conv_out.weight.zero_()
        unet.conv_out.bias.zero_()
    return unet.to(device)  # type: ignore[no-any-return]


def condition(encoder: Any, inputs: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what the U-Net hears: the last but one states (B, 256, D) and the last token of the last (B, D)."""
    states = encoder(**inputs, output_hidden_states=True).hidden_states
    return states[-2].permute(1, 0, 2), states[-1][-1]


def teach_unet(
    encoder: nn.Module,
    unet: nn.Module,
    latents: torch.Tensor,
    texts: Texts,
    schedule: NoiseSchedule,
    lesson: Lesson,
    *,
    steps: int,
    batch: int,
    seed: int,
    keep: Callable[[nn.Module, nn.Module], None],
) -> None:
    """Teach text encoder and U-Net in place; both end as averages over the course.

    latents: (N, 4, 32, 32), with texts on the device that trains. lesson: what the encoder reads meanwhile.
    keep: called now and then with the averages so far.
    """
    device = latents.device.type
    torch.manual_seed(seed)
    unet = channels_last(unet).train()
    encoder.train()
    run = compiled(unet, device)
    average = Average([encoder, unet])
    weights = [*encoder.parameters(), *unet.parameters(), *lesson.parameters()]
    optimizer = torch.optim.AdamW(weights, betas=(0.9, 0.99), weight_decay=0.01, fused=device == "cuda")
    rng = torch.Generator(device).manual_seed(seed)
    shares = schedule.alphas_cumprod.to(device)
    empty_ids, empty_length = (t.to(device) for t in tokenize([""]))
    side = 8 * latents.shape[-1]
    ids = size_ids(side, side).repeat(batch).to(device)
    total = torch.zeros((), device=device)
    for step in range(steps):
        set_rate(optimizer, rate(step, steps, peak=8e-4, warm=500))
        rows = torch.randint(len(latents), (batch,), generator=rng, device=device)
        columns = torch.randint(texts.ids.shape[1], (batch,), generator=rng, device=device)
        mute = torch.rand(batch, generator=rng, device=device) < UNCONDITIONAL
        tails = torch.where(mute[:, None], empty_ids.long(), texts.ids[rows, columns].long())
        lengths = torch.where(mute, empty_length, texts.lengths[rows, columns])
        times = torch.randint(schedule.num_train_timesteps, (batch,), generator=rng, device=device)
        noise = torch.randn(batch, *latents.shape[1:], generator=rng, device=device)
        share = shares[times][:, None, None, None]
        noisy = share.sqrt() * latents[rows] + (1 - share).sqrt() * noise
        with half(device):
            hidden, pooled = condition(encoder, _inputs(tails, lengths))
            noisy = noisy.contiguous(memory_format=torch.channels_last)
            predicted = run(noisy, times.float(), hidden, ids, pooled).float()
        ratio = shares[times] / (1 - shares[times])
        weight = ratio.clamp_max(SNR_LIMIT) / ratio
        loss = (weight * (predicted - noise).square().mean((1, 2, 3))).mean()
        misread = lesson(encoder, batch=min(batch, READ_LINES))[0]
        step_down(loss + READ_WEIGHT * misread, optimizer, weights)
        average.update(step)
        total += loss.detach()
        if (step + 1) % 500 == 0 or step + 1 == steps:
            log.info("unet %d of %d: loss %.4f", step + 1, steps, float(total) / ((step % 500) + 1))
            total.zero_()
        if (step + 1) % 2500 == 0 and step + 1 < steps:
            average.put()
            keep(encoder, unet)
            average.put()
    average.put()
    silence_unread(encoder, texts)
    encoder.eval()
    unet.eval()


@torch.no_grad()
def silence_unread(encoder: Any, texts: Texts) -> None:
    """Zero the embeddings of tokens that no caption holds: a word pocket never read then says nothing."""
    table = encoder.embedding.word_embeddings.weight
    read = torch.zeros(len(table), dtype=torch.bool, device=table.device)
    read[torch.unique(texts.ids).long()] = True
    table[~read] = 0
