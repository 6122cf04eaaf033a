"""The LoRA adapters of a U-Net: peft's layers, drawn and named by peft, with a forward that suits a recorded step."""

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
from kolora.spec.story import Lora
from kolora.training.draws import global_stream

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


@dataclass(frozen=True)
class _Together:
    """Layers that take the same tensor, computed as one by an attention; or a layer by itself."""

    names: tuple[str, ...]
    layers: tuple[LeanLinear, ...]
    attention: JoinedAttention | None

    @property
    def shape(self) -> tuple[int, ...]:
        """How many there are, and the width into, out of, and within each."""
        (within, inside), (outside, _) = (each.shape for each in self.layers[0].pair())
        return len(self.layers), inside, outside, within

    def wear(self, down: torch.Tensor, up: torch.Tensor, beside: Beside) -> None:
        """Let the network compute with an A and a B, of which ``_Kind`` says how they lie."""
        if self.attention is None:
            self.layers[0].worn = (down, up, beside)
            return
        weight = self.attention.joined_weight
        self.attention.together = lambda x: _LowRank.apply(x, weight(), None, down, up, beside)  # type: ignore[no-untyped-call]


def _together(unet: nn.Module) -> Iterator[_Together]:
    """Yield a U-Net's adapters in its order; those that an attention joins come together."""
    names = {layer: name for name, layer in unet.named_modules() if isinstance(layer, LeanLinear)}
    joined: dict[Any, JoinedAttention] = {}
    for attention in attentions(unet):
        layers = attention.joined()
        if attention.joins and all(isinstance(layer, LeanLinear) and layer.is_plain for layer in layers):
            joined |= dict.fromkeys(layers, attention)
    for layer, name in names.items():
        if layer not in joined:
            yield _Together((name,), (layer,), None)
        elif layer is (layers := joined[layer].joined())[0]:
            yield _Together(tuple(names[each] for each in layers), tuple(layers), joined[layer])


class _Kind:
    """Adapters of one shape throughout a U-Net, and where they lie in a vector of all: from ``start`` to ``end``.

    There every A (L, N, rank, in) comes before every B (L, N, out, rank), of L groups of N layers computed together.
    The network computes with A (L, R, in), a group's one below the other, and B (L, N, out, R), a group's along a
    diagonal, where R is N times the rank, filled up with zeros.
    """

    def __init__(self, groups: Sequence[_Together], start: int) -> None:
        self.groups = groups
        many, self._inside, self._outside, self._rank = groups[0].shape
        self._sizes = len(groups), many
        self._half = self._sizes[0] * many * self._rank * self._inside
        self.start, self.end = start, start + self._half + self._sizes[0] * many * self._rank * self._outside
        self.scale = groups[0].layers[0].scale

    def stored(self, vector: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Give every A and B of a vector."""
        downs, ups = torch.tensor_split(vector[self.start : self.end], [self._half])
        return (
            downs.view(*self._sizes, self._rank, self._inside),
            ups.view(*self._sizes, self._outside, self._rank),
        )

    def pairs(self, vector: torch.Tensor) -> Iterator[tuple[str, LeanLinear, torch.Tensor, torch.Tensor]]:
        """Give each layer of a vector, with its name, its A and its B."""
        for group, downs, ups in zip(self.groups, *self.stored(vector), strict=True):
            yield from zip(group.names, group.layers, downs, ups, strict=True)

    def room(self, like: torch.Tensor, *, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
        """Make room for every A and B as the network computes with them."""
        count, many = self._sizes
        rank = many * self._rank
        rank += -rank % MULTIPLE if many > 1 else 0
        down = like.new_zeros((count, rank, self._inside), dtype=dtype)
        return down, like.new_zeros((count, many * self._outside, rank), dtype=dtype)

    def laid(self, down: torch.Tensor, up: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """View what the network computes with as it is stored."""
        count, many = self._sizes
        rank = many * self._rank
        blocks = up[..., :rank].view(count, many, self._outside, many, self._rank)
        along = blocks.diagonal(dim1=1, dim2=3).permute(0, 3, 1, 2)
        return down[:, :rank].view(count, many, self._rank, self._inside), along


class Master:
    """All adapters of a U-Net as one vector, float32, that an optimiser moves in one kernel.

    The adapters' own parameters become views of it. The network computes with a copy in its own dtype, B scaled, whose
    parts are the leaves that gradients are taken of.
    """

    def __init__(self, unet: nn.Module, *, dtype: torch.dtype) -> None:
        groups: dict[tuple[int, ...], list[_Together]] = {}
        for each in _together(unet):
            groups.setdefault(each.shape, []).append(each)
        self._kinds: list[_Kind] = []
        for alike in groups.values():
            self._kinds.append(_Kind(alike, self._kinds[-1].end if self._kinds else 0))
        like = self._kinds[0].groups[0].layers[0].pair()[0].data
        self.vector = nn.Parameter(like.new_empty(self._kinds[-1].end))
        self._gradient = torch.zeros_like(self.vector.data)
        self.vector.grad = self._gradient
        for kind in self._kinds:
            for _, layer, *views in kind.pairs(self.vector.data):
                for parameter, view in zip(layer.pair(), views, strict=True):
                    view.copy_(parameter.data)
                    parameter.data = view
        self._worn = [kind.room(like, dtype=dtype) for kind in self._kinds]
        self.wear()
        self._beside = Beside(like.device)
        self.leaves: list[torch.Tensor] = []
        for kind, (downs, ups) in zip(self._kinds, self._worn, strict=True):
            for group, down, up in zip(kind.groups, downs, ups, strict=True):
                leaves = down.detach().requires_grad_(), up.detach().requires_grad_()
                group.wear(*leaves, self._beside)
                self.leaves += leaves

    @property
    def layout(self) -> str:
        """Say how the vector is laid out: processes that average theirs must have the same."""
        return ", ".join(f"{len(kind.groups)} of {kind.groups[0].shape}" for kind in self._kinds)

    def weights(self, vector: torch.Tensor) -> LoraWeights:
        """Give a vector of this length as the adapters' weights, alpha / rank folded into B."""
        return LoraWeights(
            {name: (down, up * kind.scale) for kind in self._kinds for name, _, down, up in kind.pairs(vector)}
        )

    def wear(self, vector: torch.Tensor | None = None) -> None:
        """Let the network compute with the vector as it is now, or with another one."""
        for kind, worn in zip(self._kinds, self._worn, strict=True):
            down, up = kind.stored(self.vector.data if vector is None else vector)
            for place, given in zip(kind.laid(*worn), (down, up * kind.scale), strict=True):
                place.copy_(given)

    def take(self, gradients: Sequence[torch.Tensor]) -> None:
        """Make the leaves' gradients the vector's, in float32, where it lay before: recordings write to one place."""
        self._beside.wait()
        left = iter(gradients)
        for kind in self._kinds:
            pairs = [(next(left), next(left)) for _ in kind.groups]
            down, up = kind.stored(self._gradient)
            for place, given in zip((down, up), kind.laid(*map(torch.stack, zip(*pairs, strict=True))), strict=True):
                place.copy_(given)
            up.mul_(kind.scale)
