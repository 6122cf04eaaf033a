"""Kolors' networks with the widths and depths of a config.json, built from DiffSynth's blocks.

With the published config each of them has exactly the state dict of DiffSynth's own class; with pocket's config it
is the same topology, small. Every part is built without storage (meta device) and filled by the loader.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from kolora.configs import LATENT_CHANNELS
from kolora.errors import InputAbsent
from kolora.models.cross_attention_cache import TextProjection
from kolora.models.diffsynth_blocks import (
    ChatGLMConfig,
    ChatGLMModel,
    DownSampler,
    PopBlock,
    PushBlock,
    SDXLUNet,
    SDXLVAEDecoder,
    SDXLVAEEncoder,
    Timesteps,
    VAEAttentionBlock,
)
from kolora.models.layers import GroupNorm, Resnet, Upsample, build_stack


class UNet(SDXLUNet):  # type: ignore[misc]
    """DiffSynth's Kolors U-Net with other widths; ``forward`` is DiffSynth's, blocks are ``kolora.models.layers``'s.

    forward(sample (B, 4, H/8, W/8), timestep (B,), encoder_hidden_states (B, 256, D), add_time_id (6 B,),
    add_text_embeds (B, D)) -> predicted noise (B, 4, H/8, W/8).
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        nn.Module.__init__(self)
        # Kolors: 320, 640, 1280; stacks of 0, 2 and 10 layers; 10 and 20 heads of 64 (SDXL's U-Net).
        low, middle, high = config["block_out_channels"]
        _, middle_depth, high_depth = config["transformer_layers_per_block"]
        _, middle_heads, high_heads = config["attention_head_dim"]  # diffusers' name; for SDXL it counts the heads
        context = config["cross_attention_dim"]
        # 1280 in Kolors: time and added embedding are summed at this width.
        embedding = 4 * low

        def resnet(inside: int, outside: int) -> nn.Module:
            return Resnet(inside, outside, embedding)

        def attention(width: int) -> nn.Module:
            heads, depth = (middle_heads, middle_depth) if width == middle else (high_heads, high_depth)
            return build_stack(heads, width, depth, context)

        def down(inside: int, outside: int) -> list[nn.Module]:
            blocks: list[nn.Module] = []
            # PushBlock keeps the features that PopBlock joins on the way up: the skips of a U-Net.
            for width in (inside, outside):
                blocks += [resnet(width, outside), attention(outside), PushBlock()]
            return blocks

        def up(insides: Sequence[int], outside: int, *, attend: bool) -> list[nn.Module]:
            blocks: list[nn.Module] = []
            for width in insides:
                blocks += [PopBlock(), resnet(width, outside)] + ([attention(outside)] if attend else [])
            return blocks

        self.time_proj = Timesteps(low)
        self.time_embedding = nn.Sequential(nn.Linear(low, embedding), nn.SiLU(), nn.Linear(embedding, embedding))
        # Six time ids of 256 each beside the pooled text of 4096: the 5632 inputs of the next layer in Kolors.
        self.add_time_proj = Timesteps(config["addition_time_embed_dim"])
        self.add_time_embedding = nn.Sequential(
            nn.Linear(config["projection_class_embeddings_input_dim"], embedding),
            nn.SiLU(),
            nn.Linear(embedding, embedding),
        )
        self.conv_in = nn.Conv2d(LATENT_CHANNELS, low, 3, padding=1)
        self.text_intermediate_proj = TextProjection(config["encoder_hid_dim"], context)
        # The order is DiffSynth's numbering, which names.UNET_BLOCKS and DiffSynth's LoRA keys rest on.
        self.blocks = nn.ModuleList(
            [resnet(low, low), PushBlock(), resnet(low, low), PushBlock(), DownSampler(low), PushBlock()]
            + [*down(low, middle), DownSampler(middle), PushBlock()]
            + down(middle, high)
            + [resnet(high, high), attention(high), resnet(high, high)]
            # Inputs on the way up: the features' own width and that of the skip that is joined to them.
            + [*up((2 * high, 2 * high, high + middle), high, attend=True), Upsample(high)]
            + [*up((high + middle, 2 * middle, middle + low), middle, attend=True), Upsample(middle)]
            + up((middle + low, 2 * low, 2 * low), low, attend=False)
        )
        self.conv_norm_out = GroupNorm(32, low, eps=1e-5)
        self.conv_act = nn.SiLU()
        self.conv_out = nn.Conv2d(low, LATENT_CHANNELS, 3, padding=1)
        self.is_kolors = True


def _vae_resnet(inside: int, outside: int) -> nn.Module:
    return Resnet(inside, outside, eps=1e-6)


def _vae_middle(width: int) -> list[nn.Module]:
    return [
        _vae_resnet(width, width),
        # One head as wide as the features, at the lowest resolution alone.
        VAEAttentionBlock(1, width, width, 1, eps=1e-6),
        _vae_resnet(width, width),
    ]


class VAEDecoder(SDXLVAEDecoder):  # type: ignore[misc]
    """DiffSynth's VAE decoder with other widths: latents (B, 4, h, w), scaled -> pixels (B, 3, 8 h, 8 w) in -1..1."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        nn.Module.__init__(self)
        first, *_, last = widths = config["block_out_channels"]
        self.scaling_factor = config["scaling_factor"]
        self.post_quant_conv = nn.Conv2d(LATENT_CHANNELS, LATENT_CHANNELS, 1)
        self.conv_in = nn.Conv2d(LATENT_CHANNELS, last, 3, padding=1)
        blocks, width = _vae_middle(last), last
        for index, outside in enumerate(reversed(widths)):
            if index:
                blocks.append(Upsample(width))
            # Three residual blocks a level here, two in the encoder, as in SDXL's VAE.
            blocks += [_vae_resnet(width, outside), _vae_resnet(outside, outside), _vae_resnet(outside, outside)]
            width = outside
        self.blocks = nn.ModuleList(blocks)
        # 1e-5 where the rest of the VAE has 1e-6: DiffSynth's value, kept for equal numbers.
        self.conv_norm_out = GroupNorm(32, first, eps=1e-5)
        self.conv_act = nn.SiLU()
        self.conv_out = nn.Conv2d(first, 3, 3, padding=1)


class VAEEncoder(SDXLVAEEncoder):  # type: ignore[misc]
    """DiffSynth's VAE encoder with other widths: pixels (B, 3, H, W) in -1..1 -> mean latents (B, 4, H/8, W/8)."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        nn.Module.__init__(self)
        first, *_, last = widths = config["block_out_channels"]
        self.scaling_factor = config["scaling_factor"]
        # Mean and log-variance, four channels each; only the mean is used, so encoding draws no lot.
        self.quant_conv = nn.Conv2d(2 * LATENT_CHANNELS, 2 * LATENT_CHANNELS, 1)
        self.conv_in = nn.Conv2d(3, first, 3, padding=1)
        blocks: list[nn.Module] = []
        width = first
        for index, outside in enumerate(widths):
            if index:
                # Zeros at the right and at the bottom only, as in DiffSynth and diffusers.
                blocks.append(DownSampler(width, padding=0, extra_padding=True))
            blocks += [_vae_resnet(width, outside), _vae_resnet(outside, outside)]
            width = outside
        self.blocks = nn.ModuleList(blocks + _vae_middle(last))
        self.conv_norm_out = GroupNorm(32, last, eps=1e-6)
        self.conv_act = nn.SiLU()
        self.conv_out = nn.Conv2d(last, 2 * LATENT_CHANNELS, 3, padding=1)


def build_unet(config: Mapping[str, Any]) -> nn.Module:
    """Build the U-Net of a diffusers-style ``unet/config.json``."""
    return _build("unet", UNet, config)


def build_vae_encoder(config: Mapping[str, Any]) -> nn.Module:
    """Build the encoder half of a diffusers-style ``vae/config.json``."""
    return _build("vae", VAEEncoder, config)


def build_vae_decoder(config: Mapping[str, Any]) -> nn.Module:
    """Build the decoder half of a diffusers-style ``vae/config.json``."""
    return _build("vae", VAEDecoder, config)


def build_text_encoder(config: Mapping[str, Any]) -> nn.Module:
    """Build ChatGLM as ``text_encoder/config.json`` has it.

    Newer transformers no longer fill in ``use_cache`` and ``original_rope``, and the cache is of no use to an
    encoder that runs once a text, so both are set here.
    """
    settings = {**config, "use_cache": False, "original_rope": config.get("original_rope", True)}
    settings.setdefault("torch_dtype", "float32")
    for key in ("architectures", "auto_map", "model_type", "transformers_version", "_name_or_path"):
        settings.pop(key, None)
    return _build("text_encoder", lambda config: ChatGLMModel(ChatGLMConfig(**config), empty_init=False), settings)


def _build(part: str, make: Any, config: Mapping[str, Any]) -> nn.Module:
    try:
        module: nn.Module = make(config)
    # Whatever numbers that fit no network make torch raise: a width of 0, heads that do not divide it.
    except (LookupError, ValueError, TypeError, ArithmeticError, RuntimeError, AssertionError) as problem:
        raise InputAbsent(
            f"{part}/config.json is not one of a Kolors checkpoint: {problem!r}",
            hint="point model.checkpoint at a folder in the layout of Kwai-Kolors/Kolors",
        ) from problem
    return module
