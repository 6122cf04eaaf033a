"""What a U-Net makes of a text before it looks at a picture: the same at every denoising step, so computed once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn


class TextProjection(nn.Linear):
    """A projection of the text: computed, or, while ``kept`` is set, what was computed before."""

    kept: torch.Tensor | None = None

    def forward(self, text: torch.Tensor) -> torch.Tensor:
        """Project a text (B, tokens, in) to (B, tokens, out)."""
        return super().forward(text) if self.kept is None else self.kept


def text_projections(unet: nn.Module) -> tuple[TextProjection, ...]:
    """List a U-Net's projections of the text; the first feeds all others."""
    return tuple(module for module in unet.modules() if isinstance(module, TextProjection))


def hear(unet: nn.Module, hidden: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Compute every projection of a text (B, 256, D), in the order of ``text_projections``; none on a foreign U-Net."""
    first, *others = text_projections(unet) or (None,)
    if first is None:
        return ()
    text = first(hidden)
    return (text, *(each(text) for each in others))


@contextmanager
def having_heard(unet: nn.Module, heard: Sequence[torch.Tensor]) -> Iterator[None]:
    """Let the U-Net use what it heard while the block runs, whatever text it is given there; nothing heard, nothing
    used."""
    projections = text_projections(unet) if heard else ()
    for projection, kept in zip(projections, heard, strict=True):
        projection.kept = kept
    try:
        yield
    finally:
        for projection in projections:
            projection.kept = None
