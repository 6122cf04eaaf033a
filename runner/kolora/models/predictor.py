"""A U-Net asked for the noise in one scene's latents, again and again: what does not change is computed once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from kolora.models.attention import fastest_attention
from kolora.models.cross_attention_cache import compute_cache, use_cache
from kolora.models.graphs import Work, capture, on_device
from kolora.models.prompt_embeds import PromptEmbeds

Predict = Callable[[torch.Tensor, int], torch.Tensor]
"""``predict(latents (1, 4, h, w) float32, timestep)`` gives the noise in every row's view of them, float32."""


@dataclass(frozen=True)
class _Captured:
    """The call for one shape, and the tensors that it reads whatever it is given."""

    work: Work
    constants: tuple[torch.Tensor, ...]


class Predictor:
    """A U-Net's noise prediction, captured in a CUDA graph once for every shape of latents and number of rows.

    The graph reads the U-Net's weights where they lie, so it follows changes made in place. Weights that come and
    go cannot be captured, nor be asked for out of their turn: then, ``use_graph`` False, all is computed every time.
    """

    def __init__(self, unet: nn.Module, *, use_graph: bool = True) -> None:
        self._unet = unet
        self._use_graph = use_graph
        self._captured: dict[tuple[int, ...], _Captured] = {}

    def prepare(self, embeds: PromptEmbeds, latents: torch.Tensor, size_ids: torch.Tensor) -> Predict:
        """Make ready for a scene; what it returns is good until the next call.

        embeds: one row for every row that is predicted, on the device that computes, in the U-Net's dtype.
        latents: (1, 4, h, w), only their shape counts. size_ids: (6 B,).
        """
        device, dtype = embeds.prompt_embeds.device, embeds.prompt_embeds.dtype
        ids = size_ids.to(device)
        cache = compute_cache(self._unet, embeds.prompt_embeds) if self._use_graph else ()
        constants = (ids, embeds.prompt_embeds, embeds.pooled_prompt_embeds, *cache)
        # Also the number of rows: without guidance there is one.
        key = (*latents.shape, *embeds.prompt_embeds.shape)
        sample = latents.to(device, dtype)
        if key in self._captured:
            for old, new in zip(self._captured[key].constants, constants, strict=True):
                old.copy_(new)
        else:
            # Copies, because constants may be views of what the caller keeps.
            copies = tuple(each.clone() for each in constants)
            work = self._ready(self._work(copies), (sample, torch.zeros(1, device=device)))
            self._captured[key] = _Captured(work, copies)
        work = self._captured[key].work

        def predict(latents: torch.Tensor, timestep: int) -> torch.Tensor:
            return work(latents.to(dtype), torch.full((1,), float(timestep), device=device)).float()

        return predict

    def _ready(self, work: Work, inputs: Sequence[torch.Tensor]) -> Work:
        return capture(work, inputs) if self._use_graph else on_device(work, inputs[0].device)

    def _work(self, constants: tuple[torch.Tensor, ...]) -> Work:
        ids, prompt_embeds, pooled_prompt_embeds, *cache = constants

        def work(sample: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
            with use_cache(self._unet, cache), fastest_attention(prompt_embeds.device):
                predicted: torch.Tensor = self._unet(
                    # Every row looks at the same latents; (1, 4, h, w) to (B, 4, h, w).
                    sample.expand(len(prompt_embeds), -1, -1, -1),
                    timestep,
                    encoder_hidden_states=prompt_embeds,
                    add_time_id=ids,
                    add_text_embeds=pooled_prompt_embeds,
                )
            return predicted

        return work
