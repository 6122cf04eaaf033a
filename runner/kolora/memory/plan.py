"""Chooses how each stage of a story fits into a GPU's memory: the fastest option that does.

Each kind of work has options, fastest first. What weights take is counted from the checkpoint's configs; what a
computation takes besides is that of Kolors' size at 1024 x 1024 pixels, as ``python -m benchmarks.memory``
measured it on an H200 with torch 2.11, rounded up; it grows with pixels and widths.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from kolora.memory.weights import WeightCounts, count_weights

GIB = 2**30
CONTEXT = int(0.9 * GIB)
"""Bytes that CUDA and its libraries take beside what torch allocates."""
_ADAPTER = 28
"""Bytes a trained weight: itself, two moments and gradient in float32, and copies in the network's dtype."""
STEP_ROW, FRUGAL_STEP_ROW = int(5.35 * GIB), int(0.9 * GIB)
"""Bytes of a training step's activations a picture: kept (4.4 GiB with Triton's kernels), and computed twice."""
_PREDICTION_ROW = int(0.4 * GIB)
"""Bytes of a noise prediction's activations a row."""
DECODING, DECODING_TILED = int(4.4 * GIB), int(2.0 * GIB)
ENCODING, ENCODING_TILED = int(2.6 * GIB), int(1.4 * GIB)
"""Bytes of the VAE's activations, in float32."""
_SLACK = int(0.3 * GIB)
"""Bytes left free where as many weights stay as there is room for: memory gets fragmented."""
TEXT = int(0.4 * GIB)
"""Bytes of the text encoder's activations, one text of 256 tokens at a time."""
MEASURED_PIXELS, MEASURED_UNET, MEASURED_VAE, MEASURED_TEXT = 1024**2, 320, 128, 4096
"""Pixels of the pictures, and first widths of the networks, that all this holds for."""

WORK_OF_STAGE: Mapping[str, tuple[str, ...]] = {
    "encode_prompt": ("encode_prompt",),
    "encode_prior": ("encode_prompt",),
    "cache_latents": ("encode_prompt", "encode_images"),
    "prior": ("render",),
    "train": ("train",),
    "render": ("render",),
    "baseline": ("render",),
}
"""Kinds of work that a stage does, by stage."""


@dataclass(frozen=True)
class StorySize:
    """What of a story decides about memory.

    resolution, batch_size, rank: of the training. width, height: of the largest scene.
    """

    bytes_per_weight: int
    resolution: int
    batch_size: int
    rank: int
    checkpointing: Literal["auto"] | bool
    width: int
    height: int


@dataclass(frozen=True)
class OffloadOption:
    """One way to fit a kind of work into memory; without arguments the fastest.

    required_bytes: of GPU memory that it is expected to need in all. offload: weights come from CPU memory piece by
    piece, but for ``resident_bytes`` of them that stay. tiling: the VAE computes pictures tile by tile.
    checkpointing: activations are computed twice. rows: pictures computed at once in a training step; None means all.
    """

    required_bytes: int = 0
    offload: bool = False
    resident_bytes: int = 0
    tiling: bool = False
    checkpointing: bool = False
    rows: int | None = None

    @property
    def is_frugal(self) -> bool:
        """Whether anything is given up for memory."""
        return replace(self, required_bytes=0) != OffloadOption()

    def __str__(self) -> str:
        words = []
        if self.offload:
            words.append("weights come from CPU memory piece by piece")
        if self.resident_bytes:
            words.append(f"{self.resident_bytes / GIB:.1f} GiB of them stay")
        if self.tiling:
            words.append("VAE with exact tiling")
        if self.checkpointing:
            words.append("activations computed twice")
        if self.rows is not None:
            words.append(f"{self.rows} a pass, gradients summed")
        return ", ".join(words) or "all at once"


@dataclass(frozen=True)
class MemoryPlan:
    """The options that are left for every kind of work; the first is taken.

    available_bytes: None where nobody knows.
    """

    options: Mapping[str, tuple[OffloadOption, ...]]
    available_bytes: int | None = None

    def option(self, work: str) -> OffloadOption:
        """Give the option that is taken for a kind of work."""
        return self.options[work][0]

    def options_of(self, stage: str) -> dict[str, OffloadOption]:
        """Give the options that a stage takes, by kind of work; none for a stage without a plan."""
        return {name: self.option(name) for name in WORK_OF_STAGE.get(stage, ())}

    def lower(self, stage: str) -> MemoryPlan | None:
        """Give the plan with the stage a step further down, or None when there is none."""
        lowered = {name: self.options[name][1:] for name in WORK_OF_STAGE.get(stage, ()) if len(self.options[name]) > 1}
        return replace(self, options={**self.options, **lowered}) if lowered else None


AMPLE = MemoryPlan(dict.fromkeys(("encode_prompt", "encode_images", "train", "render"), (OffloadOption(),)))
"""The plan where memory is no question."""


def plan_memory(
    configs: Mapping[str, Mapping[str, Any]], size: StorySize, *, available_bytes: int | None
) -> MemoryPlan:
    """Plan a story; configs: the checkpoint's, by folder. available_bytes: of the GPU, None for as much as one likes.

    Where even the most frugal option needs more than there is, it is taken all the same.
    """
    options = _Options(count_weights(configs), configs, size, available_bytes)
    by_work = {
        "encode_prompt": options.encode_prompt(),
        "encode_images": options.encode_images(),
        "train": options.train(),
        "render": options.render(),
    }
    return MemoryPlan({work: _fitting(options, available_bytes) for work, options in by_work.items()}, available_bytes)


def _fitting(options: Iterator[OffloadOption], available_bytes: int | None) -> tuple[OffloadOption, ...]:
    """Keep the options that fit, each more frugal than those before; the last where none does."""
    frugal: list[OffloadOption] = []
    for option in options:
        if not frugal or option.required_bytes < frugal[-1].required_bytes:
            frugal.append(option)
    return tuple(
        option for option in frugal if available_bytes is None or option.required_bytes <= available_bytes
    ) or (frugal[-1],)


@dataclass(frozen=True)
class _Options:
    """The options of one story on one checkpoint, from fast to frugal."""

    counted: WeightCounts
    configs: Mapping[str, Mapping[str, Any]]
    size: StorySize
    available_bytes: int | None

    def encode_prompt(self) -> Iterator[OffloadOption]:
        bytes_per_weight, counted = self.size.bytes_per_weight, self.counted
        activations = TEXT * self.configs["text_encoder"]["hidden_size"] // MEASURED_TEXT * bytes_per_weight // 2
        yield OffloadOption(CONTEXT + bytes_per_weight * counted.text_encoder + activations)
        # Two layers: the one that computes and the one that arrives meanwhile.
        resident = counted.text_encoder - counted.text_layers + 2 * counted.text_layer
        least = CONTEXT + bytes_per_weight * resident + activations
        yield from self._offloaded(OffloadOption(least), bytes_per_weight * counted.text_layers)

    def encode_images(self) -> Iterator[OffloadOption]:
        scale = self._vae_scale(self.size.resolution**2)
        # Four bytes a weight: the VAE computes in float32, whatever model.dtype says.
        weights = CONTEXT + 4 * self.counted.vae_encoder
        yield OffloadOption(weights + int(ENCODING * scale))
        yield OffloadOption(weights + int(ENCODING_TILED * scale), tiling=True)

    def train(self) -> Iterator[OffloadOption]:
        size, counted = self.size, self.counted
        fixed = CONTEXT + _ADAPTER * size.rank * counted.unet_adapted
        # Divisors only, so that all passes of a step have one size.
        sizes = [rows for rows in range(size.batch_size, 0, -1) if size.batch_size % rows == 0]
        scale = self._unet_scale(size.resolution**2)
        resident = []
        for checkpointing in (False, True) if size.checkpointing == "auto" else (size.checkpointing,):
            row = int((FRUGAL_STEP_ROW if checkpointing else STEP_ROW) * scale)
            for rows in sizes:
                at_once = None if rows == size.batch_size else rows
                needed = fixed + size.bytes_per_weight * counted.unet + rows * row
                resident.append(
                    (_cost(rows, checkpointing), OffloadOption(needed, checkpointing=checkpointing, rows=at_once))
                )
        # By cost, not by order: four at once computed twice are slower than one at a time kept.
        yield from (option for _, option in sorted(resident, key=lambda each: each[0]))
        if size.checkpointing is not False:
            for rows in sizes:
                at_once = None if rows == size.batch_size else rows
                # A block computed a second time keeps its weights until its gradients are done.
                least = fixed + self._least_unet() + size.bytes_per_weight * counted.unet_stack
                frugal = least + int(rows * FRUGAL_STEP_ROW * scale)
                yield from self._offloaded(
                    OffloadOption(frugal, checkpointing=True, rows=at_once), size.bytes_per_weight * counted.unet_pieces
                )

    def render(self) -> Iterator[OffloadOption]:
        size, counted = self.size, self.counted
        pixels = size.width * size.height
        # Two rows: the prompt's and the negative prompt's.
        prediction = int(2 * _PREDICTION_ROW * self._unet_scale(pixels))
        whole, tiled = (int(each * self._vae_scale(pixels)) for each in (DECODING, DECODING_TILED))
        fixed = CONTEXT + 4 * counted.vae_decoder
        # Added, not the larger of both: a captured graph keeps its room while pictures are decoded.
        resident = fixed + size.bytes_per_weight * counted.unet + prediction
        yield OffloadOption(resident + whole)
        yield OffloadOption(resident + tiled, tiling=True)
        # Nothing is captured then, so that decoding can use the room that predicting used.
        least = fixed + self._least_unet() + max(prediction, tiled)
        yield from self._offloaded(OffloadOption(least, tiling=True), size.bytes_per_weight * counted.unet_pieces)

    def _offloaded(self, option: OffloadOption, weights: int) -> Iterator[OffloadOption]:
        """Give an option with as many of the weights resident as there is room for, and with none."""
        # What stays need not travel: with none, each prediction moves the whole U-Net, 5.2 GB in half precision.
        room = min(weights, (self.available_bytes or 0) - option.required_bytes - _SLACK)
        if room > 0:
            yield replace(option, offload=True, resident_bytes=room, required_bytes=option.required_bytes + room)
        yield replace(option, offload=True)

    def _least_unet(self) -> int:
        """Reckon what an offloaded U-Net has on the GPU: two pieces, and what does not travel."""
        return self.size.bytes_per_weight * (2 * self.counted.unet_piece + self.counted.unet - self.counted.unet_pieces)

    def _unet_scale(self, pixels: int) -> float:
        width: int = self.configs["unet"]["block_out_channels"][0]
        # Linear in pixels: no attention matrix is ever written.
        return pixels / MEASURED_PIXELS * width / MEASURED_UNET * self.size.bytes_per_weight / 2

    def _vae_scale(self, pixels: int) -> float:
        width: int = self.configs["vae"]["block_out_channels"][0]
        return pixels / MEASURED_PIXELS * width / MEASURED_VAE


def _cost(rows: int, checkpointing: bool) -> float:
    """Give the milliseconds that training takes a picture; measured: 48 one at a time, 38 of four, 37 of eight."""
    return (35 + 13 / rows) * (1.35 if checkpointing else 1.0)


def describe(plan: MemoryPlan) -> Sequence[tuple[str, str]]:
    """Put a plan in words: each kind of work, and what is done and what it is expected to need."""
    lines = []
    for name in plan.options:
        option = plan.option(name)
        there = "" if plan.available_bytes is None else f" of {plan.available_bytes / GIB:.1f}"
        lines.append((name, f"{option.required_bytes / GIB:.1f}{there} GiB: {option}"))
    return lines
