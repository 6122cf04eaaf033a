"""The networks' blocks: DiffSynth's modules and weights, computed by DiffSynth, or, where that is faster, by kernels.

Each block asks ``kolora.models.ops`` whether a GPU's kernels can compute it; if not, DiffSynth's forward does.
With them, features lie in memory channels last, and what lies between two products is read and written once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar, cast

import torch
import torch.nn.functional as F
from torch import nn

from kolora.models.cross_attention_cache import TextProjection
from kolora.models.diffsynth_blocks import (
    GEGLU,
    Attention,
    AttentionBlock,
    BasicTransformerBlock,
    ResnetBlock,
    UpSampler,
)
from kolora.models.ops import add, attend, attend_joined, attend_text, gate, group_norm, layer_norm, uses_kernels
from kolora.models.self_test import usable_here

M = TypeVar("M", bound=nn.Module)
_Flow = tuple[torch.Tensor, torch.Tensor | None]
"""Features (B, S, C), and what the layer before would add to them."""


class GroupNorm(nn.GroupNorm):
    """A group norm by itself."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise x (B, C, H, W)."""
        return group_norm(self, x) if _fuses(self, x) else super().forward(x)


class GatedUnit(nn.Module):
    """DiffSynth's GEGLU: x * gelu(gate) of one projection to both.

    Without kernels it computes two tensors instead of two halves of one: torch is several times faster on whole tensors
    than on halves of wider rows, and so are its gradients, which a split tensor would also have to join again.
    """

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        self.proj = nn.Linear(inside, 2 * outside)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Turn x (..., inside) into (..., outside)."""
        if uses_kernels(x):
            return gate(self.proj(x))
        (weight, gate_weight), (bias, gate_bias) = self.proj.weight.chunk(2), self.proj.bias.chunk(2)
        return F.linear(x, weight, bias) * F.gelu(F.linear(x, gate_weight, gate_bias))


class Resnet(ResnetBlock):  # type: ignore[misc]
    """A residual block."""

    def forward(
        self, hidden_states: torch.Tensor, time_emb: Any, text_emb: Any, res_stack: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, Any, Any, Any]:
        """Go through the block: features (B, C, H, W), time embedding (B, E), or none in a VAE."""
        x = hidden_states
        if not _fuses(self.norm1, x):
            return super().forward(x, time_emb, text_emb, res_stack, **kwargs)  # type: ignore[no-any-return]
        # Biases of convolutions are added with what follows, in its pass.
        added = self.conv1.bias.expand(len(x), -1)
        if time_emb is not None:
            # (B, E) to (B, C), then the same for every pixel.
            added = added + self.time_emb_proj(self.nonlinearity(time_emb))
        y = _convolve(self.conv1, group_norm(self.norm1, x, silu=True))
        y = _convolve(self.conv2, group_norm(self.norm2, y, added=added, silu=True))
        bias = self.conv2.bias
        if self.conv_shortcut is not None:
            x, bias = _convolve(self.conv_shortcut, x), bias + self.conv_shortcut.bias
        return add(x, y, bias), time_emb, text_emb, res_stack


class Upsample(UpSampler):  # type: ignore[misc]
    """A convolution of features with every pixel made four."""

    def forward(
        self, hidden_states: torch.Tensor, time_emb: Any, text_emb: Any, res_stack: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, Any, Any, Any]:
        """Go through the block: (B, C, H, W) to (B, C, 2 H, 2 W)."""
        if not uses_kernels(hidden_states):
            return super().forward(hidden_states, time_emb, text_emb, res_stack, **kwargs)  # type: ignore[no-any-return]
        batch, channels, height, width = hidden_states.shape
        pixels = hidden_states.permute(0, 2, 3, 1)[:, :, None, :, None]  # torch's own doubling is slow on channels last
        doubled = pixels.expand(-1, -1, 2, -1, 2, -1).reshape(batch, 2 * height, 2 * width, channels)
        return self.conv(doubled.permute(0, 3, 1, 2)), time_emb, text_emb, res_stack


class Stack(AttentionBlock):  # type: ignore[misc]
    """A stack of transformer layers, with its norm and projections."""

    def forward(
        self, hidden_states: torch.Tensor, time_emb: Any, text_emb: torch.Tensor, res_stack: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, Any, torch.Tensor, Any]:
        """Go through the stack: features (B, C, H, W), text (B, T, D)."""
        if not _fuses(self.norm, hidden_states):
            return super().forward(hidden_states, time_emb, text_emb, res_stack, **kwargs)  # type: ignore[no-any-return]
        batch, _, height, width = hidden_states.shape
        # (B, C, H, W) to (B, H W, C): no copy, for channels lie last already.
        x = group_norm(self.norm, hidden_states).permute(0, 2, 3, 1).reshape(batch, height * width, -1)
        flow: _Flow = (self.proj_in(x), None)
        for layer in self.transformer_blocks:
            flow = layer(flow, encoder_hidden_states=text_emb)
        x, pending = flow
        x = self.proj_out(x if pending is None else x + pending)
        y = x.view(batch, height, width, -1).permute(0, 3, 1, 2)
        return y + hidden_states, time_emb, text_emb, res_stack


class TransformerLayer(BasicTransformerBlock):  # type: ignore[misc]
    """Self-attention, attention to the text, and a gated unit, each added to the features."""

    def forward(
        self, hidden_states: torch.Tensor | _Flow, encoder_hidden_states: torch.Tensor, **kwargs: Any
    ) -> torch.Tensor | _Flow:
        """Go through the layer; a flow comes out where a flow went in."""
        if not isinstance(hidden_states, tuple):
            return super().forward(hidden_states, encoder_hidden_states, **kwargs)  # type: ignore[no-any-return]
        # Each norm first adds what came before it, in one pass over memory.
        x, y = layer_norm(self.norm1, *hidden_states)
        x, y = layer_norm(self.norm2, x, self.attn1(y))
        x, y = layer_norm(self.norm3, x, self.attn2(y, encoder_hidden_states=encoder_hidden_states))
        # Not added up here: the next layer's first norm does it, or the stack after its last layer.
        return x, self.ff(self.act_fn(y))


class JoinedAttention(Attention):  # type: ignore[misc]
    """Attention whose projections of one tensor are computed as one.

    alike: their names. ``join`` lays their weights side by side; ``adapted``, when training sets it, computes them
    with their adapters.
    """

    alike: tuple[str, ...] = ()
    joins = False
    adapted: Any = None

    def joined(self) -> Sequence[Any]:
        """List the projections that take the same tensor, and so are computed as one."""
        return [getattr(self, name) for name in self.alike]

    def join(self) -> None:
        """Lay the weights side by side: what the projections' own weights become are views of that."""
        weights = [cast(nn.Linear, _base_of(each)).weight for each in self.joined()]
        whole = torch.cat([weight.data for weight in weights])
        for weight, part in zip(weights, torch.split(whole, [len(weight) for weight in weights]), strict=True):
            # In place: the parameters stay the same objects, and a LoRA merged into them reaches the joined weight.
            weight.data = part
        self.joins = True

    def joined_weight(self) -> torch.Tensor:
        """Give the weights side by side (sum of widths, in), where they lie."""
        first, *others = (cast(nn.Linear, _base_of(each)).weight for each in self.joined())
        rows = len(first) + sum(len(each) for each in others)
        return first.detach().as_strided((rows, first.shape[1]), first.stride())

    def project(self, x: torch.Tensor) -> torch.Tensor:
        """Project x (B, S, in) by all joined projections: (B, S, their number, heads, D)."""
        whole: torch.Tensor
        if self.adapted is not None:
            whole = self.adapted(x)
        elif self.joins and all(isinstance(each, nn.Linear) for each in self.joined()):
            whole = F.linear(x, self.joined_weight())
        else:  # some have adapters of their own
            whole = torch.stack([each(x) for each in self.joined()], dim=-2)
        # (B, S, 3 C) or (B, S, 3, C) for self-attention, two instead of three for a text.
        return whole.view(*x.shape[:2], len(self.joined()), self.num_heads, self.head_dim)


class SelfAttention(JoinedAttention):
    """Attention of features to themselves."""

    alike = ("to_q", "to_k", "to_v")

    def forward(self, hidden_states: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Attend with x (B, S, C) to itself."""
        if not uses_kernels(hidden_states):
            return super().forward(hidden_states, *args, **kwargs)  # type: ignore[no-any-return]
        return self.to_out(attend_joined(self.project(hidden_states)).flatten(2))  # type: ignore[no-any-return]


class CrossAttention(JoinedAttention):
    """Attention of features to a text, whose keys and values may have been computed before."""

    alike = ("to_k", "to_v")

    def forward(self, hidden_states: torch.Tensor, encoder_hidden_states: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        """Attend with x (B, S, C) to a text (B, T, D)."""
        if not uses_kernels(hidden_states):
            return super().forward(hidden_states, encoder_hidden_states, **kwargs)  # type: ignore[no-any-return]
        # (B, S, heads, D)
        q = self.to_q(hidden_states).unflatten(-1, (self.num_heads, self.head_dim))
        # What was computed before are two tensors, keys and values, not one with both side by side.
        if getattr(self.to_k, "cached", None) is not None:
            k, v = (each(encoder_hidden_states).unflatten(-1, q.shape[2:]) for each in self.joined())
            y = attend(q, k, v)
        else:
            y = attend_text(q, self.project(encoder_hidden_states))
        return self.to_out(y.flatten(2))  # type: ignore[no-any-return]


DIFFSYNTHS: dict[type[nn.Module], type[nn.Module]] = {
    GroupNorm: nn.GroupNorm,
    Resnet: ResnetBlock,
    Upsample: UpSampler,
    Stack: AttentionBlock,
    TransformerLayer: BasicTransformerBlock,
    SelfAttention: Attention,
    CrossAttention: Attention,
}
"""What DiffSynth has for each of the classes here that only computes otherwise."""


def build_stack(heads: int, width: int, layers: int, context: int) -> nn.Module:
    """Build a stack as DiffSynth does, and put the classes here in place of its layers."""
    stack = Stack(heads, width // heads, width, layers, context)
    for index, theirs in enumerate(stack.transformer_blocks):
        layer = _rebuild(theirs, TransformerLayer)
        layer.attn1 = _rebuild(theirs.attn1, SelfAttention)
        layer.attn2 = _rebuild(theirs.attn2, CrossAttention)
        # Four times the width and GEGLU, as in diffusers' FeedForward.
        layer.act_fn = GatedUnit(width, 4 * width)
        layer.attn2.to_k = TextProjection(context, width, bias=False)
        layer.attn2.to_v = TextProjection(context, width, bias=False)
        stack.transformer_blocks[index] = layer
    return stack


def _rebuild(module: nn.Module, kind: type[M]) -> M:
    """Build a module of another class with the same settings, parameters and submodules, under the same names.

    kind: a class that is built of what ``module`` is built of, such as a subclass that only computes otherwise.
    """
    # Its own __init__ would make weights anew.
    rebuilt = kind.__new__(kind)
    nn.Module.__init__(rebuilt)
    # Of what nn.Module keeps for itself only these belong to the settings; its hooks do not.
    settings = {name: value for name, value in vars(module).items() if not name.startswith("_")}
    for name, value in (*settings.items(), *module.named_parameters(recurse=False), *module.named_children()):
        setattr(rebuilt, name, value)
    return rebuilt


def lay_out(network: nn.Module) -> bool:
    """Lay weights out as the kernels want them, where they will be used; those that travel later join on arrival.

    Returns whether they will be.
    """
    if not usable_here(next(network.parameters()).dtype):
        return False
    cast(Any, network).to(memory_format=torch.channels_last)
    join_projections(network)
    return True


def join_projections(module: nn.Module) -> None:
    """Compute all projections of a tensor as one, throughout a network or a part of it, where kernels are used."""
    for each in attentions(module):
        if uses_kernels(cast(nn.Linear, _base_of(each.to_k)).weight):
            each.join()


def attentions(module: nn.Module) -> Sequence[JoinedAttention]:
    """List the attentions of a network, or of a part of it."""
    return [each for each in module.modules() if isinstance(each, JoinedAttention)]


def to_diffsynth(network: nn.Module) -> None:
    """Put DiffSynth's own classes in place of those here, throughout a network, with the same weights: to compare."""
    for name, child in network.named_children():
        to_diffsynth(child)
        if isinstance(child, GatedUnit):
            with torch.device("meta"):
                # Any size: its projection is replaced at once.
                gated = GEGLU(1, 1)
            gated.proj = child.proj
            setattr(network, name, gated)
        elif type(child) in DIFFSYNTHS:
            setattr(network, name, _rebuild(child, DIFFSYNTHS[type(child)]))


def _base_of(layer: nn.Module) -> nn.Module:
    """Give a projection without the adapter that training may have put around it."""
    return cast(nn.Module, getattr(layer, "base_layer", layer))


def _fuses(norm: nn.Module, x: torch.Tensor) -> bool:
    """Whether kernels compute a block with this norm: not where its weights are trained, to which they give nothing."""
    return uses_kernels(x) and not cast(nn.GroupNorm, norm).weight.requires_grad


def _convolve(convolution: nn.Conv2d, x: torch.Tensor) -> torch.Tensor:
    return F.conv2d(x, convolution.weight, None, convolution.stride, convolution.padding)
