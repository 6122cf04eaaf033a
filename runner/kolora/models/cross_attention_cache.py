"""The cross-attention's keys and values of a text: the same at every denoising step, so computed once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn


class TextProjection(nn.Linear):
    """A projection of the text: computed, or, while ``cached`` is set, what was computed before."""

    cached: torch.Tensor | None = None

    def forward(self, text: torch.Tensor) -> torch.Tensor:
        """Project a text (B, tokens, in) to (B, tokens, out)."""
        return super().forward(text) if self.cached is None else self.cached


def text_projections(unet: nn.Module) -> tuple[TextProjection, ...]:
    """List a U-Net's projections of the text; the first feeds all others."""
    # Modules come in order of registration, and UNet registers text_intermediate_proj before its blocks.
    return tuple(module for module in unet.modules() if isinstance(module, TextProjection))


def compute_cache(unet: nn.Module, prompt_embeds: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Compute every projection of a text (B, 256, D), in the order of ``text_projections``.

    A U-Net without such projections has an empty cache.
    """
    first, *others = text_projections(unet) or (None,)
    if first is None:
        return ()
    # (B, 256, 4096) to (B, 256, 2048) in Kolors; then keys and values of all 70 cross-attentions from it.
    text = first(prompt_embeds)
    return (text, *(each(text) for each in others))


@contextmanager
def use_cache(unet: nn.Module, cache: Sequence[torch.Tensor]) -> Iterator[None]:
    """Let the U-Net read the cache in the block, whatever text it is given there; an empty cache changes nothing."""
    projections = text_projections(unet) if cache else ()
    for projection, cached in zip(projections, cache, strict=True):
        projection.cached = cached
    try:
        yield
    finally:
        for projection in projections:
            projection.cached = None
