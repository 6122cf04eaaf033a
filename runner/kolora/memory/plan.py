"""Chooses how each stage of a story fits into a GPU's memory: the fastest way that does.

A stage has a ladder of ways, fastest first. What weights take is counted from the checkpoint's configs; what a
computation takes on the way is that of Kolors' size at 1024 x 1024 pixels, as ``python -m tests.on_gpu_memory``
measured it on an H200 with torch 2.11, rounded up; it grows with pixels and widths.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from kolora.memory.weights import Counted, count_weights

GIB = 2**30
CONTEXT = int(0.9 * GIB)
"""Bytes that CUDA and its libraries take beside what torch allocates."""
ADAPTER = 28
"""Bytes a trained weight: itself, two moments and gradient in float32, and copies in the network's dtype."""
STEP_ROW, FRUGAL_STEP_ROW = int(5.35 * GIB), int(0.9 * GIB)
"""Bytes of a training step's activations a picture: kept (4.4 GiB with Triton's kernels), and computed twice."""
PREDICTION_ROW = int(0.4 * GIB)
"""Bytes of a noise prediction's activations a row."""
DECODING, DECODING_IN_STRIPS = int(4.4 * GIB), int(2.0 * GIB)
ENCODING, ENCODING_IN_STRIPS = int(2.6 * GIB), int(1.4 * GIB)
"""Bytes of the VAE's activations, in float32."""
SLACK = int(0.3 * GIB)
"""Bytes left free where as many weights stay as there is room for: memory gets fragmented."""
LISTENING = int(0.4 * GIB)
"""Bytes of the text encoder's activations, one text of 256 tokens at a time."""
MEASURED_PIXELS, MEASURED_UNET, MEASURED_VAE, MEASURED_TEXT = 1024**2, 320, 128, 4096
"""Pixels of the pictures, and first widths of the networks, that all this holds for."""

LADDERS: Mapping[str, tuple[str, ...]] = {
    "condition": ("condition",),
    "encode": ("condition", "encode"),
    "train": ("train",),
    "prior": ("render",),
    "render": ("render",),
}
"""The ladders that a stage's work stands on, by stage."""


@dataclass(frozen=True)
class Work:
    """What of a story decides about memory.

    item: bytes of a weight. resolution, batch_size, rank: of the training. width, height: of the largest scene.
    """

    item: int
    resolution: int
    batch_size: int
    rank: int
    checkpointing: Literal["auto"] | bool
    width: int
    height: int


@dataclass(frozen=True)
class Way:
    """One way to do a ladder's work; without arguments the fastest.

    bytes: of GPU memory that it is expected to need, all told. streamed: weights come from CPU memory piece by piece,
    but for ``room`` bytes of them that stay. strips: the VAE goes through pictures strip by strip. checkpointing:
    activations are computed twice. rows: pictures computed at once in a training step; None means all.
    """

    bytes: int = 0
    streamed: bool = False
    room: int = 0
    strips: bool = False
    checkpointing: bool = False
    rows: int | None = None

    @property
    def is_frugal(self) -> bool:
        """Whether anything is given up for memory."""
        return replace(self, bytes=0) != Way()

    def __str__(self) -> str:
        told = []
        if self.streamed:
            told.append("weights come from CPU memory piece by piece")
        if self.room:
            told.append(f"{self.room / GIB:.1f} GiB of them stay")
        if self.strips:
            told.append("VAE strip by strip")
        if self.checkpointing:
            told.append("activations computed twice")
        if self.rows is not None:
            told.append(f"{self.rows} a pass, gradients summed")
        return ", ".join(told) or "all at once"


@dataclass(frozen=True)
class MemoryPlan:
    """The ways that are left of every ladder; the first is taken. memory: bytes there are, None where nobody knows."""

    ladders: Mapping[str, tuple[Way, ...]]
    memory: int | None = None

    def way(self, ladder: str) -> Way:
        """Give the way that is taken."""
        return self.ladders[ladder][0]

    def ways(self, stage: str) -> dict[str, Way]:
        """Give the ways that a stage takes, by ladder; none for a stage without a plan."""
        return {name: self.way(name) for name in LADDERS.get(stage, ())}

    def lower(self, stage: str) -> MemoryPlan | None:
        """Give the plan with the stage a step further down, or None when there is none."""
        lowered = {name: self.ladders[name][1:] for name in LADDERS.get(stage, ()) if len(self.ladders[name]) > 1}
        return replace(self, ladders={**self.ladders, **lowered}) if lowered else None


AMPLE = MemoryPlan({ladder: (Way(),) for ladder in ("condition", "encode", "train", "render")})
"""The plan where memory is no question."""


def plan_memory(configs: Mapping[str, Mapping[str, Any]], work: Work, *, memory: int | None) -> MemoryPlan:
    """Plan a story; configs: the checkpoint's, by folder. memory: bytes of the GPU, None for as much as one likes.

    Where even the most frugal way needs more than there is, it is taken all the same.
    """
    reckoning = _Reckoning(count_weights(configs), configs, work, memory)
    ladders = {
        "condition": reckoning.conditioning(),
        "encode": reckoning.encoding(),
        "train": reckoning.training(),
        "render": reckoning.rendering(),
    }
    return MemoryPlan({name: _fitting(ways, memory) for name, ways in ladders.items()}, memory)


def _fitting(ways: Iterator[Way], memory: int | None) -> tuple[Way, ...]:
    """Keep the ways that fit, each more frugal than those before; the last where none does."""
    ladder: list[Way] = []
    for way in ways:
        if not ladder or way.bytes < ladder[-1].bytes:
            ladder.append(way)
    return tuple(way for way in ladder if memory is None or way.bytes <= memory) or (ladder[-1],)


@dataclass(frozen=True)
class _Reckoning:
    """The ladders of one story on one checkpoint, from fast to frugal."""

    counted: Counted
    configs: Mapping[str, Mapping[str, Any]]
    work: Work
    memory: int | None

    def conditioning(self) -> Iterator[Way]:
        item, counted = self.work.item, self.counted
        listening = LISTENING * self.configs["text_encoder"]["hidden_size"] // MEASURED_TEXT * item // 2
        yield Way(CONTEXT + item * counted.text_encoder + listening)
        least = CONTEXT + item * (counted.text_encoder - counted.text_layers + 2 * counted.text_layer) + listening
        yield from self._streamed(Way(least), item * counted.text_layers)

    def encoding(self) -> Iterator[Way]:
        scale = self._vae_scale(self.work.resolution**2)
        weights = CONTEXT + 4 * self.counted.vae_encoder
        yield Way(weights + int(ENCODING * scale))
        yield Way(weights + int(ENCODING_IN_STRIPS * scale), strips=True)

    def training(self) -> Iterator[Way]:
        work, counted = self.work, self.counted
        known = CONTEXT + ADAPTER * work.rank * counted.unet_adapted
        sizes = [rows for rows in range(work.batch_size, 0, -1) if work.batch_size % rows == 0]
        scale = self._unet_scale(work.resolution**2)
        ways = []
        for checkpointing in (False, True) if work.checkpointing == "auto" else (work.checkpointing,):
            row = int((FRUGAL_STEP_ROW if checkpointing else STEP_ROW) * scale)
            for rows in sizes:
                some = None if rows == work.batch_size else rows
                needed = known + work.item * counted.unet + rows * row
                ways.append((_cost(rows, checkpointing), Way(needed, checkpointing=checkpointing, rows=some)))
        yield from (way for _, way in sorted(ways, key=lambda each: each[0]))
        if work.checkpointing is not False:
            for rows in sizes:
                some = None if rows == work.batch_size else rows
                least = known + self._least_unet() + work.item * counted.unet_stack
                frugal = least + int(rows * FRUGAL_STEP_ROW * scale)
                yield from self._streamed(Way(frugal, checkpointing=True, rows=some), work.item * counted.unet_pieces)

    def rendering(self) -> Iterator[Way]:
        work, counted = self.work, self.counted
        pixels = work.width * work.height
        prediction = int(2 * PREDICTION_ROW * self._unet_scale(pixels))
        whole, strips = (int(each * self._vae_scale(pixels)) for each in (DECODING, DECODING_IN_STRIPS))
        known = CONTEXT + 4 * counted.vae_decoder
        resident = known + work.item * counted.unet + prediction
        yield Way(resident + whole)
        yield Way(resident + strips, strips=True)
        # Nothing is recorded then, so that decoding can use the room that predicting used.
        least = known + self._least_unet() + max(prediction, strips)
        yield from self._streamed(Way(least, strips=True), work.item * counted.unet_pieces)

    def _streamed(self, way: Way, weights: int) -> Iterator[Way]:
        """Give a way with as many of the weights resident as there is room for, and with none."""
        room = min(weights, (self.memory or 0) - way.bytes - SLACK)
        if room > 0:
            yield replace(way, streamed=True, room=room, bytes=way.bytes + room)
        yield replace(way, streamed=True)

    def _least_unet(self) -> int:
        """Reckon what a streamed U-Net has on the GPU: two pieces, and what does not travel."""
        return self.work.item * (2 * self.counted.unet_piece + self.counted.unet - self.counted.unet_pieces)

    def _unet_scale(self, pixels: int) -> float:
        width: int = self.configs["unet"]["block_out_channels"][0]
        return pixels / MEASURED_PIXELS * width / MEASURED_UNET * self.work.item / 2

    def _vae_scale(self, pixels: int) -> float:
        width: int = self.configs["vae"]["block_out_channels"][0]
        return pixels / MEASURED_PIXELS * width / MEASURED_VAE


def _cost(rows: int, checkpointing: bool) -> float:
    """Give the milliseconds that training takes a picture; measured: 48 one at a time, 38 of four, 37 of eight."""
    return (35 + 13 / rows) * (1.35 if checkpointing else 1.0)


def told(plan: MemoryPlan) -> Sequence[tuple[str, str]]:
    """Put a plan in words: each ladder's name, and what is done and what it is expected to need."""
    lines = []
    for name in plan.ladders:
        way = plan.way(name)
        given = "" if plan.memory is None else f" of {plan.memory / GIB:.1f}"
        lines.append((name, f"{way.bytes / GIB:.1f}{given} GiB: {way}"))
    return lines
