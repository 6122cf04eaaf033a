"""The LoRA adapters of a U-Net: peft's layers, drawn and named by peft, with a forward that suits a recorded step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import Linear
from torch import nn

from runner.models.lora import LoraWeights
from runner.spec.story import Lora
from runner.training.draws import global_stream

NAME = "default"
"""peft's name of an adapter that is the only one."""


class LeanLinear(Linear):  # type: ignore[misc]
    """peft's LoRA of a linear layer, computed with ``worn``: A and B in the dtype of the layer, cast once a step.

    peft's own forward casts both, and the layer's input, in every layer at every step. Until something is worn,
    A and B themselves are.
    """

    worn: tuple[torch.Tensor, torch.Tensor] | None = None

    def forward(self, x: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        """Give W x + scale * B A dropout(x)."""
        down, up = self.worn or self.pair()
        given = self.base_layer(x)
        inner = F.linear(self.lora_dropout[NAME](x), down.to(x.dtype))
        added = torch.addmm(given.flatten(0, -2), inner.flatten(0, -2), up.to(x.dtype).t(), alpha=self.scaling[NAME])
        return added.view_as(given)

    def pair(self) -> tuple[nn.Parameter, nn.Parameter]:
        """Give A (rank, in) and B (out, rank), float32."""
        return self.lora_A[NAME].weight, self.lora_B[NAME].weight


def add_adapters(unet: nn.Module, lora: Lora) -> None:
    """Give the targeted projections peft's LoRA adapters, float32, initialised by ``lora.seed``.

    peft draws the initial weights on the CPU from torch's global stream.
    """
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=list(lora.target_modules),
        init_lora_weights=True if lora.init_lora_weights == "kaiming" else "gaussian",
    )
    config._register_custom_module({nn.Linear: LeanLinear})
    with global_stream(lora.seed, "init", device=torch.device("cpu")):
        inject_adapter_in_model(config, unet)
    for parameter in unet.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()


def collect(unet: nn.Module, *, scale: float) -> LoraWeights:
    """Take the adapters' weights out of a U-Net, ``scale`` (alpha / rank) folded into B."""
    return LoraWeights({name: (down.data, up.data * scale) for name, (down, up) in _pairs(unet)})


def _pairs(unet: nn.Module) -> Iterator[tuple[str, tuple[nn.Parameter, nn.Parameter]]]:
    for name, layer in unet.named_modules():
        if isinstance(layer, LeanLinear):
            yield name, layer.pair()


class Master:
    """All adapters of a U-Net as one vector, float32, that an optimiser moves in one kernel.

    The adapters' own parameters become views of it. The network computes with a copy in its own dtype (with the vector
    itself where that is float32), whose parts are the leaves that gradients are taken of.
    """

    def __init__(self, unet: nn.Module, *, dtype: torch.dtype) -> None:
        parameters = [each for _, pair in _pairs(unet) for each in pair]
        self._shapes = [each.shape for each in parameters]
        self.vector = nn.Parameter(torch.cat([each.data.flatten() for each in parameters]))
        self._worn = self.vector.data.to(dtype)
        for parameter, view in zip(parameters, self.parts(self.vector.data), strict=True):
            parameter.data = view
        self.leaves = [part.detach().requires_grad_() for part in self.parts(self._worn)]
        layers = [layer for layer in unet.modules() if isinstance(layer, LeanLinear)]
        for layer, down, up in zip(layers, self.leaves[::2], self.leaves[1::2], strict=True):
            layer.worn = (down, up)

    def parts(self, vector: torch.Tensor) -> list[torch.Tensor]:
        """Give a vector of this length as views of the adapters' shapes: A and B of every layer, in its order."""
        sizes = [shape.numel() for shape in self._shapes]
        return [part.view(shape) for part, shape in zip(torch.split(vector, sizes), self._shapes, strict=True)]

    def wear(self) -> None:
        """Let the network compute with the vector as it is now."""
        if self._worn.data_ptr() != self.vector.data_ptr():
            self._worn.copy_(self.vector.data)

    def take(self, gradients: Sequence[torch.Tensor]) -> None:
        """Make the leaves' gradients the vector's, in float32."""
        self.vector.grad = torch.cat([each.flatten() for each in gradients]).float()
