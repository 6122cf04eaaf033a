"""The LoRA adapters of a U-Net: peft's layers, drawn and named by peft, with a forward that suits a recorded step."""

from __future__ import annotations

from collections.abc import Sequence
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


class _LowRank(torch.autograd.Function):
    """y = W x + b + B A x for frozen W and b: added where y and the input's gradient lie, without copies or sums."""

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        down: torch.Tensor,
        up: torch.Tensor,
    ) -> torch.Tensor:
        rows = x.flatten(0, -2)
        inner = rows @ down.t()
        given = F.linear(rows, weight, bias).addmm_(inner, up.t())
        ctx.save_for_backward(rows, inner, weight, down, up)
        return given.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        rows, inner, weight, down, up = ctx.saved_tensors
        (gradient,) = gradients
        outer = gradient.flatten(0, -2)
        through = outer @ up
        before = None
        if ctx.needs_input_grad[0]:
            before = (outer @ weight).addmm_(through, down).view(*gradient.shape[:-1], -1)
        return before, None, None, through.t() @ rows, outer.t() @ inner


class LeanLinear(Linear):  # type: ignore[misc]
    """peft's LoRA of a linear layer, computed with ``worn``: A, and B scaled, in the layer's dtype, cast once a step.

    peft's own forward casts both, and the layer's input, in every layer at every step. Until something is worn, its
    own forward is used.
    """

    worn: tuple[torch.Tensor, torch.Tensor] | None = None

    def forward(self, x: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        """Give W x + scale * B A dropout(x)."""
        if self.worn is None:
            return super().forward(x)  # type: ignore[no-any-return]
        down, up = self.worn
        dropout = self.lora_dropout[NAME]
        if isinstance(dropout, nn.Identity):
            return _LowRank.apply(x, self.base_layer.weight, self.base_layer.bias, down, up)  # type: ignore[no-any-return, no-untyped-call]
        return self.base_layer(x) + F.linear(F.linear(dropout(x), down), up)  # type: ignore[no-any-return]

    def pair(self) -> tuple[nn.Parameter, nn.Parameter]:
        """Give A (rank, in) and B (out, rank), float32."""
        return self.lora_A[NAME].weight, self.lora_B[NAME].weight

    @property
    def scale(self) -> float:
        """Give alpha / rank."""
        return float(self.scaling[NAME])


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


class Master:
    """All adapters of a U-Net as one vector, float32, that an optimiser moves in one kernel.

    The adapters' own parameters become views of it. The network computes with a copy in its own dtype, B scaled, whose
    parts are the leaves that gradients are taken of.
    """

    def __init__(self, unet: nn.Module, *, dtype: torch.dtype) -> None:
        named = {name: layer for name, layer in unet.named_modules() if isinstance(layer, LeanLinear)}
        self._names, layers = tuple(named), list(named.values())
        parameters = [each for layer in layers for each in layer.pair()]
        scales = [scale for layer in layers for scale in (1.0, layer.scale)]
        self._shapes = [each.shape for each in parameters]
        self.vector = nn.Parameter(torch.cat([each.data.flatten() for each in parameters]))
        self._gradient = torch.zeros_like(self.vector.data)
        self.vector.grad = self._gradient
        self._scales = torch.empty_like(self.vector.data)
        for parameter, view, part, scale in zip(
            parameters, self.parts(self.vector.data), self.parts(self._scales), scales, strict=True
        ):
            parameter.data = view
            part.fill_(scale)
        self._worn = torch.empty_like(self.vector.data, dtype=dtype)
        self.wear()
        self.leaves = [part.detach().requires_grad_() for part in self.parts(self._worn)]
        for layer, down, up in zip(layers, self.leaves[::2], self.leaves[1::2], strict=True):
            layer.worn = (down, up)

    def parts(self, vector: torch.Tensor) -> list[torch.Tensor]:
        """Give a vector of this length as views of the adapters' shapes: A and B of every layer, in its order."""
        sizes = [shape.numel() for shape in self._shapes]
        return [part.view(shape) for part, shape in zip(torch.split(vector, sizes), self._shapes, strict=True)]

    def weights(self, vector: torch.Tensor) -> LoraWeights:
        """Give a vector of this length as the adapters' weights, alpha / rank folded into B."""
        parts = self.parts(vector * self._scales)
        return LoraWeights(dict(zip(self._names, zip(parts[::2], parts[1::2], strict=True), strict=True)))

    def wear(self, vector: torch.Tensor | None = None) -> None:
        """Let the network compute with the vector as it is now, or with another one."""
        self._worn.copy_((self.vector.data if vector is None else vector) * self._scales)

    def take(self, gradients: Sequence[torch.Tensor]) -> None:
        """Make the leaves' gradients the vector's, in float32, where it lay before: recordings write to one place."""
        self._gradient.copy_(torch.cat([each.flatten() for each in gradients])).mul_(self._scales)
