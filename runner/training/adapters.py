"""The LoRA adapters of a U-Net: peft's layers, drawn and named by peft, with a forward that suits a recorded step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
import torch.nn.functional as F
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import Linear
from torch import nn

from runner.models.layers import JoinedAttention, attentions
from runner.models.lora import LoraWeights
from runner.spec.story import Lora
from runner.training.draws import global_stream

NAME = "default"
"""peft's name of an adapter that is the only one."""
MULTIPLE = 8
"""Ranks of layers computed together are filled up to a multiple of this: matrix products on others are slower."""


class Beside:
    """A second stream on a GPU, for small products that need not wait for the large ones; elsewhere there is only one.

    Its work begins when all asked for before is done. ``wait`` lets what is computed from now on wait for it.
    """

    def __init__(self, device: torch.device) -> None:
        self._stream = cast(Any, torch.cuda).Stream(device) if device.type == "cuda" else None
        self._read: tuple[torch.Tensor, ...] = ()
        self._is_ahead = False

    @contextmanager
    def computing(self) -> Iterator[None]:
        """Compute in the block on the second stream."""
        if self._stream is None:
            yield
            return
        cuda = cast(Any, torch.cuda)
        self._stream.wait_stream(cuda.current_stream())
        self._is_ahead = True
        with cuda.stream(self._stream):
            yield

    def mark(self) -> Any:
        """Give the point that the second stream has come to."""
        return self._stream.record_event() if self._stream is not None else None

    def wait(self, mark: Any = None, *, reads: tuple[torch.Tensor, ...] = ()) -> None:
        """Wait for a mark, or for all.

        reads: what the second stream still reads after the mark. It is kept until the next wait: memory that is let go
        may be written at once by the first stream.
        """
        if self._stream is not None and self._is_ahead:  # a recording may not wait for what it does not record
            current = cast(Any, torch.cuda).current_stream()
            if mark is None:
                current.wait_stream(self._stream)
                self._is_ahead = False
            else:
                current.wait_event(mark)
        self._read = reads


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
        beside: Beside,
    ) -> torch.Tensor:
        rows = x.flatten(0, -2)
        with beside.computing():
            inner = rows @ down.t()
        given = F.linear(rows, weight, bias)
        beside.wait()
        given.addmm_(inner, up.t())
        ctx.save_for_backward(rows, inner, weight, down, up)
        ctx.beside = beside
        return given.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        rows, inner, weight, down, up = ctx.saved_tensors
        (gradient,) = gradients
        outer = gradient.flatten(0, -2)
        with ctx.beside.computing():
            through = outer @ up
            known = ctx.beside.mark()
            slopes = through.t() @ rows, outer.t() @ inner
        before = outer @ weight if ctx.needs_input_grad[0] else None
        ctx.beside.wait(known, reads=(rows, inner, outer, through))
        if before is not None:
            before = before.addmm_(through, down).view(*gradient.shape[:-1], -1)
        return before, None, None, *slopes, None


class LeanLinear(Linear):  # type: ignore[misc]
    """peft's LoRA of a linear layer, computed with ``worn``: A, and B scaled, in the layer's dtype, cast once a step.

    peft's own forward casts both, and the layer's input, in every layer at every step. Until something is worn, its
    own forward is used.
    """

    worn: tuple[torch.Tensor, torch.Tensor, Beside] | None = None

    def forward(self, x: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        """Give W x + scale * B A dropout(x)."""
        if self.worn is None:
            return super().forward(x)  # type: ignore[no-any-return]
        down, up, beside = self.worn
        dropout = self.lora_dropout[NAME]
        if self.is_plain:
            return _LowRank.apply(x, self.base_layer.weight, self.base_layer.bias, down, up, beside)  # type: ignore[no-any-return, no-untyped-call]
        return self.base_layer(x) + F.linear(F.linear(dropout(x), down), up)  # type: ignore[no-any-return]

    def pair(self) -> tuple[nn.Parameter, nn.Parameter]:
        """Give A (rank, in) and B (out, rank), float32."""
        return self.lora_A[NAME].weight, self.lora_B[NAME].weight

    @property
    def is_plain(self) -> bool:
        """Whether it drops nothing out."""
        return isinstance(self.lora_dropout[NAME], nn.Identity)

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


class _Together:
    """Layers that take the same tensor, computed as one, or one by itself.

    Their A holds each layer's, one below the other, their B each layer's along a diagonal.
    """

    def __init__(self, layers: Sequence[LeanLinear], attention: JoinedAttention | None) -> None:
        self._attention = attention
        self.layers = tuple(layers)
        rank = sum(len(layer.pair()[0]) for layer in layers)
        if attention is not None:
            rank += -rank % MULTIPLE
        inside = layers[0].pair()[0].shape[1]
        self.shapes = torch.Size((rank, inside)), torch.Size((sum(len(layer.pair()[1]) for layer in layers), rank))

    def parts(self, down: torch.Tensor, up: torch.Tensor) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Give each layer's part of an A and a B."""
        row = column = 0
        for layer in self.layers:
            outside, rank = layer.pair()[1].shape
            yield down[column : column + rank], up[row : row + outside, column : column + rank]
            row, column = row + outside, column + rank

    def wear(self, down: torch.Tensor, up: torch.Tensor, beside: Beside) -> None:
        """Let the network compute with an A and a B."""
        if self._attention is None:
            self.layers[0].worn = (down, up, beside)
            return
        weight = self._attention.joined_weight
        self._attention.together = lambda x: _LowRank.apply(x, weight(), None, down, up, beside)  # type: ignore[no-untyped-call]


def _together(unet: nn.Module) -> Iterator[tuple[tuple[str, ...], _Together]]:
    """Yield a U-Net's adapters with their names, in its order; those that an attention joins come together."""
    names = {layer: name for name, layer in unet.named_modules() if isinstance(layer, LeanLinear)}
    joined: dict[Any, JoinedAttention] = {}
    for attention in attentions(unet):
        layers = attention.joined()
        if attention.joins and all(isinstance(layer, LeanLinear) and layer.is_plain for layer in layers):
            joined |= dict.fromkeys(layers, attention)
    for layer, name in names.items():
        if layer not in joined:
            yield (name,), _Together([layer], None)
        elif layer is (layers := joined[layer].joined())[0]:
            yield tuple(names[each] for each in layers), _Together(layers, joined[layer])


class Master:
    """All adapters of a U-Net as one vector, float32, that an optimiser moves in one kernel.

    The adapters' own parameters become views of it. The network computes with a copy in its own dtype, B scaled, whose
    parts are the leaves that gradients are taken of. Where layers are computed together, what lies beside the diagonal
    is zero and has a scale of zero, so it stays so.
    """

    def __init__(self, unet: nn.Module, *, dtype: torch.dtype) -> None:
        names, self._groups = zip(*_together(unet), strict=True)
        self._names = tuple(name for group in names for name in group)
        self._shapes = [shape for group in self._groups for shape in group.shapes]
        layers = [layer for group in self._groups for layer in group.layers]
        like = layers[0].pair()[0].data
        size = sum(shape.numel() for shape in self._shapes)
        self.vector = nn.Parameter(like.new_zeros(size))
        self._gradient = torch.zeros_like(self.vector.data)
        self.vector.grad = self._gradient
        self._scales = torch.zeros_like(self.vector.data)
        for layer, views, scales in zip(layers, self._pairs(self.vector.data), self._pairs(self._scales), strict=True):
            for parameter, view, part, scale in zip(layer.pair(), views, scales, (1.0, layer.scale), strict=True):
                view.copy_(parameter.data)
                parameter.data = view
                part.fill_(scale)
        self._worn = torch.empty_like(self.vector.data, dtype=dtype)
        self.wear()
        self.leaves = [part.detach().requires_grad_() for part in self.parts(self._worn)]
        self._beside = Beside(self.vector.device)
        for group, down, up in zip(self._groups, self.leaves[::2], self.leaves[1::2], strict=True):
            group.wear(down, up, self._beside)
        self.parameters: int = sum(parameter.numel() for layer in layers for parameter in layer.pair())

    def parts(self, vector: torch.Tensor) -> list[torch.Tensor]:
        """Give a vector of this length as views: A and B of every layer, or of layers together, in their order."""
        sizes = [shape.numel() for shape in self._shapes]
        return [part.view(shape) for part, shape in zip(torch.split(vector, sizes), self._shapes, strict=True)]

    def _pairs(self, vector: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Give a vector of this length as views of the adapters' shapes: A and B of every layer, in their order."""
        parts = self.parts(vector)
        groups = zip(self._groups, parts[::2], parts[1::2], strict=True)
        return [pair for group, down, up in groups for pair in group.parts(down, up)]

    def weights(self, vector: torch.Tensor) -> LoraWeights:
        """Give a vector of this length as the adapters' weights, alpha / rank folded into B."""
        return LoraWeights(dict(zip(self._names, self._pairs(vector * self._scales), strict=True)))

    def wear(self, vector: torch.Tensor | None = None) -> None:
        """Let the network compute with the vector as it is now, or with another one."""
        self._worn.copy_((self.vector.data if vector is None else vector) * self._scales)

    def take(self, gradients: Sequence[torch.Tensor]) -> None:
        """Make the leaves' gradients the vector's, in float32, where it lay before: recordings write to one place."""
        self._beside.wait()
        self._gradient.copy_(torch.cat([each.flatten() for each in gradients])).mul_(self._scales)
