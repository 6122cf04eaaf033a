"""A network larger than the GPU's memory: its pieces lie in CPU memory and come to the device one after the other.

A piece's weights arrive while the piece before it computes, and leave when it is done. The numbers are those of a
resident network to the bit: the same weights, the same kernels.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import nn

from kolora.models.layers import join_projections


def text_pieces(encoder: nn.Module) -> tuple[nn.Module, ...]:
    """List ChatGLM's layers, in the order in which they compute."""
    return tuple(cast(Any, encoder).encoder.layers)


def unet_pieces(unet: nn.Module) -> tuple[nn.Module, ...]:
    """List a U-Net's residual blocks, samplers and transformer layers, in the order in which they compute."""
    pieces: list[nn.Module] = []
    for block in cast(Any, unet).blocks:
        layers = getattr(block, "transformer_blocks", None)
        pieces += list(layers) if layers is not None else [block] if next(block.parameters(), None) is not None else []
    return tuple(pieces)


def offload(
    network: nn.Module, pieces: Sequence[nn.Module], *, device: torch.device, resident_bytes: int, pinned: bool
) -> None:
    """Keep the frozen weights of ``pieces`` in CPU memory, except while each computes; all else moves to ``device``.

    network: on the CPU, changed in place. resident_bytes: what pieces may fill of the device; the first ones stay.
    pinned: copy the weights once into memory that the GPU fetches from at full speed.
    """
    left, resident = resident_bytes, []
    for piece in pieces:
        left -= sum(parameter.nbytes for parameter in piece.parameters() if not parameter.requires_grad)
        if left < 0:
            break
        resident.append(piece)
    offloaded = [_Piece(piece, device) for piece in pieces[len(resident) :]]
    frozen: set[int] = set()
    for each in offloaded:
        frozen |= {id(parameter) for _, _, parameter in each.places}
    for tensor in (*network.parameters(), *network.buffers()):
        if id(tensor) not in frozen:
            # What is trained, what belongs to no piece, and the pieces that stay.
            tensor.data = tensor.data.to(device)
        elif pinned and device.type == "cuda":
            tensor.data = tensor.data.pin_memory()
    for piece in resident:
        join_projections(piece)
    prefetch = _Prefetch(offloaded, device)
    network.register_forward_pre_hook(prefetch.begin)
    for number, each in enumerate(offloaded):
        each.module.register_forward_pre_hook(lambda *_, number=number: prefetch.enter(number))
        # Also when the call ends early: a backward pass computes a block again only as far as it needs.
        each.module.register_forward_hook(lambda *_, number=number: prefetch.leave(number), always_call=True)


class _Piece:
    """A module whose frozen weights are offloaded, and the places they belong in."""

    def __init__(self, module: nn.Module, device: torch.device) -> None:
        self.module = module
        self.places: list[tuple[nn.Module, str, nn.Parameter]] = []
        for owner in module.modules():
            own = owner.named_parameters(recurse=False)
            self.places += [(owner, name, parameter) for name, parameter in own if not parameter.requires_grad]
        self._device = device

    def send(self, side: Any) -> _Copies:
        """Begin to copy the weights.

        The room for them is taken on the stream that computes, so that it can be taken again when they have left.
        """
        weights = [parameter.data for _, _, parameter in self.places]
        copies = [torch.empty_like(weight, device=self._device) for weight in weights]
        cuda = cast(Any, torch.cuda)
        if side is not None:
            # The room may be that of a piece whose last work is still queued there.
            side.wait_stream(cuda.current_stream())
        with cuda.stream(side) if side is not None else nullcontext():
            for copy, weight in zip(copies, weights, strict=True):
                copy.copy_(weight, non_blocking=True)
            return _Copies(copies, cuda.current_stream().record_event() if side is not None else None)

    def put(self, copies: _Copies) -> None:
        """Compute with copies from now on."""
        copies.wait()
        for (owner, name, _), copy in zip(self.places, copies.tensors, strict=True):
            # A parameter of its own: a backward pass keeps the one it saw, while the place goes back to the CPU's.
            setattr(owner, name, nn.Parameter(copy, requires_grad=False))
        join_projections(self.module)

    def take_back(self) -> None:
        """Compute with none, and let go of them: what a backward pass still needs it holds itself."""
        for owner, name, parameter in self.places:
            setattr(owner, name, parameter)


@dataclass(frozen=True)
class _Copies:
    """Weights on their way to the device, in the order of a piece's places."""

    tensors: list[torch.Tensor]
    arrived: Any

    def wait(self) -> None:
        """Let what is computed from now on wait for them."""
        if self.arrived is not None:
            cast(Any, torch.cuda).current_stream().wait_event(self.arrived)


class _Prefetch:
    """Fetches weights ahead: each piece sends the next one ahead, in the order of the pass before.

    The first pass is expected to go through the pieces in their order. A backward pass that computes activations
    twice goes through them once more, in another.
    """

    def __init__(self, pieces: Sequence[_Piece], device: torch.device) -> None:
        self._pieces = pieces
        self._side = cast(Any, torch.cuda).Stream(device) if device.type == "cuda" else None
        self._expected = list(range(len(pieces)))
        self._seen: list[int] = []
        self._ahead: tuple[int, _Copies] | None = None

    def begin(self, *_: Any) -> None:
        """Begin a pass; what an earlier one, cut short, sent ahead may be out of date."""
        self._drop()
        self._expected, self._seen = self._seen or self._expected, []

    def enter(self, number: int) -> None:
        """Give a piece its weights, and send those of the next ahead."""
        if self._ahead is not None and self._ahead[0] == number:
            copies, self._ahead = self._ahead[1], None
        else:
            self._drop()
            copies = self._pieces[number].send(self._side)
        self._pieces[number].put(copies)
        place = len(self._seen)
        self._seen.append(number)
        # A pass that leaves the expected order fetches each piece when it is due, slower and as right.
        if self._expected[place : place + 1] == [number] and place + 1 < len(self._expected):
            following = self._expected[place + 1]
            self._ahead = (following, self._pieces[following].send(self._side))

    def leave(self, number: int) -> None:
        """Take a piece's weights away."""
        self._pieces[number].take_back()

    def _drop(self) -> None:
        if self._ahead is not None:
            self._ahead[1].wait()  # the room may not be taken by others while a copy still fills it
            self._ahead = None
