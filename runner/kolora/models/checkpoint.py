"""The model seam: one checkpoint folder's models, tensors in and tensors out.

Training, rendering and the encoders stand on this class and know neither DiffSynth nor the checkpoint's size.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from torch import nn

from kolora.configs import read_config
from kolora.environment import set_environment
from kolora.errors import DeviceUnusable, InputAbsent
from kolora.files import is_folder
from kolora.memory.plan import AMPLE, CONTEXT, MemoryPlan
from kolora.models.architecture import (
    build_text_encoder,
    build_unet,
    build_vae_decoder,
    build_vae_encoder,
)
from kolora.models.layers import lay_out
from kolora.models.lora import LoraSwitch
from kolora.models.names import unet_name, vae_decoder_name, vae_encoder_name
from kolora.models.predictor import Predictor
from kolora.models.prompt_embeds import PromptEmbeds
from kolora.models.schedule import NoiseSchedule
from kolora.models.sequential_offload import offload, text_pieces, unet_pieces
from kolora.models.tiling import decode_tiled, encode_tiled
from kolora.models.tokenizer import Tokenizer
from kolora.models.weights import load_part, read_ahead

T = TypeVar("T")
FOLDERS = ("text_encoder", "unet", "vae", "scheduler")


class Checkpoint:
    """A checkpoint folder's models, each loaded when first asked for and kept until released.

    device: "cpu" or "cuda"; dtype: "auto", "float32", "float16" or "bfloat16", of the text encoder and the U-Net
    ("auto": float16 on a GPU, float32 on a CPU). The VAE always computes in float32: the published one overflows in
    half precision, and it is a small share of the time. memory: how the models fit into the GPU's memory; of what it
    counts with, no more is taken.
    """

    def __init__(self, folder: Path, *, device: str, dtype: str = "auto", memory: MemoryPlan = AMPLE) -> None:
        absent = [name for name in FOLDERS if not is_folder(folder / name)]
        if absent:
            raise InputAbsent(
                f"{folder} lacks {', '.join(absent)}, which every Kolors checkpoint has",
                hint="point model.checkpoint at a folder in the layout of Kwai-Kolors/Kolors",
            )
        if device == "cuda" and not torch.cuda.is_available():
            raise DeviceUnusable(
                "there is a GPU, but torch cannot use it (its driver may be too old for CUDA 12.1)",
                hint="kolora doctor",
            )
        make_deterministic()
        self.folder = folder
        self.device = device
        self.dtype = cast(torch.dtype, getattr(torch, _resolved(dtype, device)))
        self.memory = memory
        self._kernels: set[str] = set()
        self._loaded: dict[str, Any] = {}
        if device == "cuda" and memory.available_bytes is not None:
            _limit_memory(memory.available_bytes)

    @property
    def kernels(self) -> str:
        """Say whose kernels the U-Nets and VAEs loaded so far compute with: torch's, or Triton's besides, or both."""
        return ", ".join(sorted(self._kernels)) or "torch"

    def step_down(self, stage: str) -> bool:
        """Release everything and do a stage's work more frugally from now on; False when there is no such option."""
        self.release()
        lower = self.memory.lower(stage)
        self.memory = lower or self.memory
        return lower is not None

    def release(self, *names: str) -> None:
        """Forget the named models, or all, and give their memory back."""
        if "unet" in names:
            # Its graphs hold the U-Net's weights, which would then stay.
            names += ("predictor",)
        for name in names or tuple(self._loaded):
            self._loaded.pop(name, None)
        # Hooks of an offloaded network and the network hold each other: only a collection frees them.
        gc.collect()
        if self.device == "cuda":
            torch.cuda.empty_cache()

    @torch.inference_mode()
    def encode_prompt(self, texts: Sequence[str]) -> PromptEmbeds:
        """Encode texts, one at a time, because a row's bytes depend on the batch it is in.

        Of ChatGLM's hidden states (tokens, 1, D) Kolors reads the last but one, and pools the last token of the last.
        """
        encoder = self._part("text_encoder", self._load_text_encoder)
        prompt_embeds, pooled_prompt_embeds = [], []
        for text in texts:
            tokens = self.tokenizer()([text])
            states = encoder(
                input_ids=tokens.input_ids.to(self.device),
                attention_mask=tokens.attention_mask.to(self.device),
                position_ids=tokens.position_ids.to(self.device),
                output_hidden_states=True,
            ).hidden_states
            # (256, 1, D) to (256, D)
            prompt_embeds.append(states[-2][:, 0])
            # Texts are padded on the left, so the last position is the text's own last token; (D,).
            pooled_prompt_embeds.append(states[-1][-1, 0])
        return PromptEmbeds(torch.stack(prompt_embeds), torch.stack(pooled_prompt_embeds))

    @torch.inference_mode()
    def encode(self, pixels: torch.Tensor) -> torch.Tensor:
        """Encode pixels (B, 3, H, W) in -1..1 to scaled mean latents (B, 4, H/8, W/8), float32."""
        tiling = self.memory.option("encode_images").tiling
        encoder = self._part("vae_encoder", lambda: self._load_vae(build_vae_encoder, vae_encoder_name, tiling=tiling))
        pixels = pixels.to(self.device, torch.float32)
        return encode_tiled(encoder, pixels) if tiling else encoder(pixels)

    @torch.inference_mode()
    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Decode scaled latents (B, 4, h, w) to pixels (B, 3, 8 h, 8 w), float32, about -1..1."""
        tiling = self.memory.option("render").tiling
        decoder = self._part("vae_decoder", lambda: self._load_vae(build_vae_decoder, vae_decoder_name, tiling=tiling))
        latents = latents.to(self.device, torch.float32)
        return decode_tiled(decoder, latents) if tiling else decoder(latents)

    def unet(self, *, lora: Path | None = None, strength: float = 1.0) -> nn.Module:
        """Give the U-Net with a LoRA merged in; ``kolora.models.architecture.UNet`` says what its forward takes.

        Without a LoRA, and at strength 0, it is the checkpoint's to the bit.
        """
        return self._part("unet", self._load_switch).merge(lora, strength=strength)

    def predictor(self, *, lora: Path | None = None, strength: float = 1.0) -> Predictor:
        """Give the noise prediction of the U-Net with a LoRA, as ``unet`` would; kept with the graphs it captures."""
        unet = self.unet(lora=lora, strength=strength)
        return self._part("predictor", lambda: Predictor(unet, use_graph=not self.memory.option("render").offload))

    def training_unet(self) -> nn.Module:
        """Load the U-Net anew for a caller that will change it, in the dtype that training computes in.

        Gradients underflow in plain float16, so bfloat16 takes its place, or float32 on cards that lack it. Where its
        weights are to be offloaded it lies in CPU memory, for the adapters must come first.
        """
        dtype = self.dtype
        if dtype == torch.float16:
            usable = self.device == "cuda" and torch.cuda.get_device_capability() >= (8, 0)
            dtype = torch.bfloat16 if usable else torch.float32
        return self._load_unet(dtype, device="cpu" if self.memory.option("train").offload else self.device)

    def schedule(self) -> NoiseSchedule:
        """Give the checkpoint's noise schedule."""
        return self._part("schedule", lambda: NoiseSchedule.from_config(read_config(self.folder / "scheduler")))

    def tokenizer(self) -> Tokenizer:
        """Give the checkpoint's tokenizer."""
        return self._part("tokenizer", lambda: Tokenizer(self.folder / "text_encoder"))

    def _part(self, name: str, load: Callable[[], T]) -> T:
        if name not in self._loaded:
            # Weights made in inference mode could never be changed outside it, as a LoRA does.
            with torch.inference_mode(False):
                self._loaded[name] = load()
        return cast(T, self._loaded[name])

    def _load_switch(self) -> LoraSwitch:
        option = self.memory.option("render")
        unet = self._load_unet(self.dtype, device="cpu" if option.offload else self.device)
        if option.offload:
            offload(
                unet,
                unet_pieces(unet),
                device=torch.device(self.device),
                resident_bytes=option.resident_bytes,
                pinned=True,
            )
        return LoraSwitch(unet, device=self.device)

    def _load_unet(self, dtype: torch.dtype, *, device: str) -> nn.Module:
        unet = load_part(build_unet, self.folder / "unet", rename=unet_name, device=device, dtype=dtype)
        return self._laid_out(unet)

    def _load_vae(
        self, build: Callable[[dict[str, Any]], nn.Module], rename: Callable[[str], str], *, tiling: bool
    ) -> nn.Module:
        vae = self.folder / "vae"
        half = load_part(build, vae, rename=rename, device=self.device, dtype=torch.float32)
        # kolora.models.tiling computes every layer with torch, on whole rows in the usual layout.
        if tiling and self.device == "cuda":
            self._kernels.add("torch")
            return half
        return self._laid_out(half)

    def _laid_out(self, module: nn.Module) -> nn.Module:
        """Lay convolutions out with channels last where there are kernels, and on a CPU: a third to a half faster."""
        if self.device == "cpu":
            cast(Any, module).to(memory_format=torch.channels_last)
        self._kernels.add("triton" if self.device == "cuda" and lay_out(module) else "torch")
        return module

    def _load_text_encoder(self) -> nn.Module:
        """Load ChatGLM without its output layer (0.5 GB of logits that no prompt needs).

        The rotary table's dtype sets the precision of the positions, so it is made here, in the dtype computed in.
        """
        option = self.memory.option("encode_prompt")
        encoder = load_part(
            build_text_encoder,
            self.folder / "text_encoder",
            rename=lambda name: name,
            device="cpu" if option.offload else self.device,
            dtype=self.dtype,
            optional=("rotary_pos_emb.inv_freq",),
            drop=("output_layer",),
        )
        rotary = cast(Any, encoder).rotary_pos_emb
        exponents = torch.arange(0, rotary.dim, 2, device=self.device).to(self.dtype) / rotary.dim
        rotary.inv_freq = 1.0 / (10000**exponents)
        if option.offload:
            # Its weights stay in the files, mapped: a copy that cannot be swapped out would fill the CPU's memory.
            offload(
                encoder,
                text_pieces(encoder),
                device=torch.device(self.device),
                resident_bytes=option.resident_bytes,
                pinned=False,
            )
        # They are wanted next, and the disk is idle while texts are encoded.
        for part, dtype in (("vae", torch.float32), ("unet", self.dtype)):
            read_ahead(self.folder / part, dtype=dtype)
        return encoder


def make_deterministic() -> None:
    """Ask for kernels that give the same bits every time, where there are such; the others only warn.

    The command line has set the environment by now; for others it is done here, before CUDA starts. torch would also
    fill all fresh memory, for programs that read what they never wrote: none of ours do, and it costs a tenth of the
    time.
    """
    set_environment()
    # With it, convolutions are chosen by how fast they were just now: another run, other bits.
    torch.backends.cudnn.benchmark = False
    torch.use_deterministic_algorithms(True, warn_only=True)
    cast(Any, torch.utils.deterministic).fill_uninitialized_memory = False


def _limit_memory(memory: int) -> None:
    """Let torch take no more of the GPU than leaves room for CUDA itself within ``memory`` bytes."""
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(min(1.0, max(memory - CONTEXT, 0) / total))


def _resolved(dtype: str, device: str) -> str:
    return {"cpu": "float32", "cuda": "float16"}[device] if dtype == "auto" else dtype


def size_ids(height: int, width: int) -> torch.Tensor:
    """Give the time ids of a picture: original height and width, crop 0 0, target height and width; (6,) float32."""
    return torch.tensor([height, width, 0, 0, height, width], dtype=torch.float32)
