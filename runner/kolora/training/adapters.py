"""The LoRA adapters of a U-Net: peft's layers, drawn and named by peft, with a forward that suits a captured step.

All adapters lie in one flat vector (float32), which an optimiser moves in one launch. Adapters of one shape form a
block of it: L groups of N layers that take the same tensor and are computed as one product, as to_q, to_k and to_v::

    |<---------- block 0: to_q, to_k, to_v; N = 3 ---------->|<------- block 1: to_out; N = 1 ------->|<- block 2 ...
    | A of all groups            | B of all groups           | A of all groups   | B of all groups    |
    | (L, N, rank, in)           | (L, N, out, rank)         | (L, 1, rank, in)  | (L, 1, out, rank)  |
    start                        start + size_a              end of 0 = start of 1

The network computes with a copy in its own dtype, B multiplied by alpha / rank. Of one group, with R = N * rank filled
up with zeros to a multiple of 8::

    A (R, in)                    B (N * out, R)
    +------------+               +------+------+------+---+
    | A of to_q  | rank          | B_q  |  0   |  0   | 0 | out
    +------------+               +------+------+------+---+
    | A of to_k  |               |  0   | B_k  |  0   | 0 |
    +------------+               +------+------+------+---+
    | A of to_v  |               |  0   |  0   | B_v  | 0 |
    +------------+               +------+------+------+---+
    | zeros      | R - N * rank    rank

so that one product with each gives all N layers' outputs side by side. Gradients come back laid out like this copy;
what falls on its zeros is dropped.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import Linear
from torch import nn

from kolora.models.layers import JoinedAttention, attentions
from kolora.models.lora import LoraWeights
from kolora.training.config import TrainingConfig
from kolora.training.draws import global_stream

NAME = "default"
"""peft's name of an adapter that is the only one."""
_MULTIPLE = 8
"""Ranks of layers computed together are filled up to a multiple of this: matrix products on others are slower."""


class SideStream:
    """A second stream on a GPU, for small products that need not wait for the large ones; elsewhere there is only one.

    Its work begins when all asked for before is done. ``wait`` lets what is computed from now on wait for it.
    """

    def __init__(self, device: torch.device) -> None:
        self._stream = cast(Any, torch.cuda).Stream(device) if device.type == "cuda" else None
        self._read: tuple[torch.Tensor, ...] = ()
        self._is_ahead = False

    @contextmanager
    def use(self) -> Iterator[None]:
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
        if self._stream is not None and self._is_ahead:  # a capture may not wait for work outside it
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
        side: SideStream,
    ) -> torch.Tensor:
        rows = x.flatten(0, -2)
        # A x is small and leaves most of the card idle: it runs beside W x, which does not need it.
        with side.use():
            inner = rows @ down.t()
        y = F.linear(rows, weight, bias)
        side.wait()
        y.addmm_(inner, up.t())
        ctx.save_for_backward(rows, inner, weight, down, up)
        ctx.side = side
        return y.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        rows, inner, weight, down, up = ctx.saved_tensors
        (gradient,) = gradients
        outer = gradient.flatten(0, -2)
        with ctx.side.use():
            through = outer @ up
            mark = ctx.side.mark()
            # The adapters' own gradients: nothing before the end of the step needs them.
            adapter_gradients = through.t() @ rows, outer.t() @ inner
        input_gradient = outer @ weight if ctx.needs_input_grad[0] else None
        ctx.side.wait(mark, reads=(rows, inner, outer, through))
        if input_gradient is not None:
            input_gradient = input_gradient.addmm_(through, down).view(*gradient.shape[:-1], -1)
        return input_gradient, None, None, *adapter_gradients, None


class LoraLinear(Linear):  # type: ignore[misc]
    """peft's LoRA of a linear layer, computed with ``applied``: A, and B scaled, in its dtype, cast once a step.

    peft's own forward casts both, and the layer's input, in every layer at every step. Until there is something
    applied, its own forward is used.
    """

    applied: tuple[torch.Tensor, torch.Tensor, SideStream] | None = None

    def forward(self, x: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        """Give W x + scale * B A dropout(x)."""
        if self.applied is None:
            return super().forward(x)  # type: ignore[no-any-return]
        down, up, side = self.applied
        dropout = self.lora_dropout[NAME]
        if not self.drops_out:
            return _LowRank.apply(x, self.base_layer.weight, self.base_layer.bias, down, up, side)  # type: ignore[no-any-return, no-untyped-call]
        return self.base_layer(x) + F.linear(F.linear(dropout(x), down), up)  # type: ignore[no-any-return]

    def pair(self) -> tuple[nn.Parameter, nn.Parameter]:
        """Give A (rank, in) and B (out, rank), float32."""
        return self.lora_A[NAME].weight, self.lora_B[NAME].weight

    @property
    def drops_out(self) -> bool:
        """Whether dropout lies before A."""
        return not isinstance(self.lora_dropout[NAME], nn.Identity)

    @property
    def scale(self) -> float:
        """Give alpha / rank."""
        return float(self.scaling[NAME])


def add_adapters(unet: nn.Module, config: TrainingConfig) -> None:
    """Give the targeted projections peft's LoRA adapters, float32, initialised by ``config.seed``.

    peft draws the initial weights on the CPU from torch's global stream.
    """
    settings = LoraConfig(
        r=config.rank,
        lora_alpha=config.alpha,
        lora_dropout=config.dropout,
        target_modules=list(config.target_modules),
        init_lora_weights=True if config.init_lora_weights == "kaiming" else "gaussian",
    )
    settings._register_custom_module({nn.Linear: LoraLinear})
    with global_stream(config.seed, "init", device=torch.device("cpu")):
        inject_adapter_in_model(settings, unet)
    for parameter in unet.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()


@dataclass(frozen=True)
class _Group:
    """Layers that take the same tensor, computed as one by an attention; or a layer by itself."""

    names: tuple[str, ...]
    layers: tuple[LoraLinear, ...]
    attention: JoinedAttention | None

    @property
    def shape(self) -> tuple[int, ...]:
        """How many layers there are, and the width into, out of, and within each: (N, in, out, rank)."""
        (rank, in_features), (out_features, _) = (each.shape for each in self.layers[0].pair())
        return len(self.layers), in_features, out_features, rank

    def apply(self, down: torch.Tensor, up: torch.Tensor, side: SideStream) -> None:
        """Let the network compute with the group's A (R, in) and B (N * out, R), as this file's head draws them."""
        if self.attention is None:
            self.layers[0].applied = (down, up, side)
            return
        weight = self.attention.joined_weight
        self.attention.adapted = lambda x: _LowRank.apply(x, weight(), None, down, up, side)  # type: ignore[no-untyped-call]


def _groups(unet: nn.Module) -> Iterator[_Group]:
    """Yield a U-Net's adapters in its order; those that an attention joins come as one group."""
    names = {layer: name for name, layer in unet.named_modules() if isinstance(layer, LoraLinear)}
    joined: dict[Any, JoinedAttention] = {}
    for attention in attentions(unet):
        layers = attention.joined()
        # Dropout draws for every layer by itself, so layers with it cannot be computed as one.
        if attention.joins and all(isinstance(layer, LoraLinear) and not layer.drops_out for layer in layers):
            joined |= dict.fromkeys(layers, attention)
    for layer, name in names.items():
        if layer not in joined:
            yield _Group((name,), (layer,), None)
        elif layer is (layers := joined[layer].joined())[0]:
            yield _Group(tuple(names[each] for each in layers), tuple(layers), joined[layer])


class _Block:
    """Groups of one shape throughout a U-Net, and where they lie in the flat vector: from ``start`` to ``end``."""

    def __init__(self, groups: Sequence[_Group], start: int) -> None:
        self.groups = groups
        self._layers, self._inside, self._outside, self._rank = groups[0].shape
        self._size_a = len(groups) * self._layers * self._rank * self._inside
        self.start, self.end = start, start + self._size_a + len(groups) * self._layers * self._rank * self._outside
        self.scale = groups[0].layers[0].scale

    def stored(self, vector: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """View the block's A (L, N, rank, in) and B (L, N, out, rank) in a flat vector."""
        downs, ups = torch.tensor_split(vector[self.start : self.end], [self._size_a])
        sizes = len(self.groups), self._layers
        return downs.view(*sizes, self._rank, self._inside), ups.view(*sizes, self._outside, self._rank)

    def pairs(self, vector: torch.Tensor) -> Iterator[tuple[str, LoraLinear, torch.Tensor, torch.Tensor]]:
        """Give each layer of the block, with its name, and views of its A and its B in a flat vector."""
        for group, downs, ups in zip(self.groups, *self.stored(vector), strict=True):
            yield from zip(group.names, group.layers, downs, ups, strict=True)

    def zeros(self, like: torch.Tensor, *, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
        """Make the network's copy of A (L, R, in) and B (L, N * out, R), all zeros."""
        rank = self._layers * self._rank
        if self._layers > 1:
            rank += -rank % _MULTIPLE  # the filler: a last row of A and a last column of B
        down = like.new_zeros((len(self.groups), rank, self._inside), dtype=dtype)
        return down, like.new_zeros((len(self.groups), self._layers * self._outside, rank), dtype=dtype)

    def as_stored(self, down: torch.Tensor, up: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """View the network's copy, or gradients laid out like it, as (L, N, rank, in) and (L, N, out, rank)."""
        count, layers, rank = len(self.groups), self._layers, self._layers * self._rank
        # A without its filler is a stack of the layers' own.
        downs = down[:, :rank].view(count, layers, self._rank, self._inside)
        # B without its filler is N x N tiles (L, N, out, N, rank); only those on the diagonal are adapters.
        tiles = up[..., :rank].view(count, layers, self._outside, layers, self._rank)
        return downs, tiles.diagonal(dim1=1, dim2=3).permute(0, 3, 1, 2)


class FlatParameters:
    """All adapters of a U-Net as one vector, float32; the head of this file draws how they lie.

    The adapters' own parameters become views of it. leaves: the network's copy, group by group A and B; gradients are
    taken of these and brought back by ``scatter_gradients``.
    """

    def __init__(self, unet: nn.Module, *, dtype: torch.dtype) -> None:
        shapes: dict[tuple[int, ...], list[_Group]] = {}
        for group in _groups(unet):
            shapes.setdefault(group.shape, []).append(group)
        self._blocks: list[_Block] = []
        for groups in shapes.values():
            self._blocks.append(_Block(groups, self._blocks[-1].end if self._blocks else 0))
        like = self._blocks[0].groups[0].layers[0].pair()[0].data
        self.vector = nn.Parameter(like.new_empty(self._blocks[-1].end))
        self._gradient = torch.zeros_like(self.vector.data)
        self.vector.grad = self._gradient
        for block in self._blocks:
            self._adopt(block)
        self._copies = [block.zeros(like, dtype=dtype) for block in self._blocks]
        self.apply()
        self._side = SideStream(like.device)
        self.leaves: list[torch.Tensor] = []
        for block, (downs, ups) in zip(self._blocks, self._copies, strict=True):
            for group, down, up in zip(block.groups, downs, ups, strict=True):
                leaves = down.detach().requires_grad_(), up.detach().requires_grad_()
                group.apply(*leaves, self._side)
                self.leaves += leaves

    def _adopt(self, block: _Block) -> None:
        """Copy peft's first weights of a block into the vector, and make peft's parameters views of it."""
        for _, layer, *views in block.pairs(self.vector.data):
            for parameter, view in zip(layer.pair(), views, strict=True):
                view.copy_(parameter.data)
                parameter.data = view

    @property
    def layout(self) -> str:
        """Say how the vector is laid out: processes that average theirs must have the same."""
        return ", ".join(f"{len(block.groups)} of {block.groups[0].shape}" for block in self._blocks)

    def weights(self, vector: torch.Tensor) -> LoraWeights:
        """Give a vector of this length as the adapters' weights, alpha / rank folded into B."""
        pairs = {}
        for block in self._blocks:
            for name, _, down, up in block.pairs(vector):
                pairs[name] = (down, up * block.scale)
        return LoraWeights(pairs)

    def apply(self, vector: torch.Tensor | None = None) -> None:
        """Let the network compute with the vector as it is now, or with another one of this length."""
        for block, copy in zip(self._blocks, self._copies, strict=True):
            down, up = block.stored(self.vector.data if vector is None else vector)
            # Written where they lie, so that a captured step reads the new values; the zeros stay zeros.
            for place, values in zip(block.as_stored(*copy), (down, up * block.scale), strict=True):
                place.copy_(values)

    def scatter_gradients(self, gradients: Sequence[torch.Tensor]) -> None:
        """Make the leaves' gradients the vector's, in float32, where it lay before: graphs write to one place."""
        self._side.wait()
        rest = iter(gradients)
        for block in self._blocks:
            pairs = [(next(rest), next(rest)) for _ in block.groups]
            stacked = [torch.stack(each) for each in zip(*pairs, strict=True)]  # (L, R, in) and (L, N * out, R)
            down, up = block.stored(self._gradient)
            for place, values in zip((down, up), block.as_stored(*stacked), strict=True):
                place.copy_(values)
            up.mul_(block.scale)  # the network's B is the vector's times this
