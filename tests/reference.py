"""DiffSynth's own Kolors pipeline, loaded by its own converters: what ours is compared with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffsynth import EnhancedDDIMScheduler, KolorsPrompter, SDXLImagePipeline
from diffsynth.controlnets import MultiControlNetManager
from diffsynth.models.kolors_text_encoder import ChatGLMConfig, ChatGLMModel
from diffsynth.models.sdxl_unet import SDXLUNet
from diffsynth.models.sdxl_vae_decoder import SDXLVAEDecoder
from diffsynth.models.sdxl_vae_encoder import SDXLVAEEncoder
from kolora.configs import read_config
from kolora.models.architecture import build_unet, build_vae_decoder, build_vae_encoder
from safetensors.torch import load_file
from torch import nn


def read_pipeline(checkpoint: Path, *, device: str, dtype: torch.dtype) -> Any:
    """Load the pipeline; the VAE in float32, as half precision overflows in the published one."""
    pipe = SDXLImagePipeline(device=device, torch_dtype=dtype)
    with torch.device("meta"):
        unet = build_unet(read_config(checkpoint / "unet"))
        halves = [build(read_config(checkpoint / "vae")) for build in (build_vae_encoder, build_vae_decoder)]
    pipe.unet = _converted(unet, SDXLUNet, _weights(checkpoint / "unet", device, dtype))
    vae = _weights(checkpoint / "vae", device, torch.float32)
    pipe.vae_encoder = _converted(halves[0], SDXLVAEEncoder, vae)
    pipe.vae_decoder = _converted(halves[1], SDXLVAEDecoder, vae)
    pipe.text_encoder_kolors = _text_encoder(checkpoint / "text_encoder", device, dtype)
    pipe.prompter = KolorsPrompter()
    pipe.prompter.fetch_models(pipe.text_encoder_kolors)
    pipe.scheduler = EnhancedDDIMScheduler(beta_end=0.014, num_train_timesteps=1100)
    pipe.controlnet = MultiControlNetManager([])
    return pipe


def _weights(folder: Path, device: str, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """Read all the files of a part."""
    found: dict[str, torch.Tensor] = {}
    for path in sorted(folder.glob("*.safetensors")):
        found |= {name: tensor.to(dtype) for name, tensor in load_file(path, device=device).items()}
    for path in sorted(folder.glob("*.bin")):
        shard = torch.load(path, map_location=device, weights_only=True, mmap=True)
        found |= {name: tensor.to(dtype) for name, tensor in shard.items()}
    return found


def _converted(module: nn.Module, kind: Any, published: dict[str, torch.Tensor]) -> nn.Module:
    read, *_ = kind.state_dict_converter().from_diffusers(published)
    module.load_state_dict({name: read[name] for name in module.state_dict()}, assign=True)
    return module.eval().requires_grad_(False)


def _text_encoder(folder: Path, device: str, dtype: torch.dtype) -> nn.Module:
    """Load ChatGLM; its rotary table is made with it, in its dtype, and is in no file that we write."""
    config = ChatGLMConfig(**{**read_config(folder), "torch_dtype": str(dtype).removeprefix("torch.")})
    with torch.device(device):
        encoder: nn.Module = ChatGLMModel(config, empty_init=False)
    absent, foreign = encoder.load_state_dict(_weights(folder, device, dtype), strict=False, assign=True)
    assert {name.split(".")[0] for name in absent} <= {"output_layer", "rotary_pos_emb"}
    assert not foreign
    return encoder.to(device=device, dtype=dtype).eval()
