"""DiffSynth's building blocks, imported alone.

``import diffsynth`` runs every pipeline it ships (7 s, and a dozen packages that Kolors does not need). The modules
wanted here need none of that, so the two packages above them are stood in for while they load and removed after:
a later, complete ``import diffsynth`` in the same process finds these same modules and works as ever.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import warnings
from pathlib import Path
from types import ModuleType


def _import_alone(*names: str) -> list[ModuleType]:
    spec = importlib.util.find_spec("diffsynth")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("diffsynth is not installed")
    root = Path(spec.origin).parent
    stand_ins = {}
    for package in ("diffsynth", "diffsynth.models", "diffsynth.prompters"):
        if package not in sys.modules:
            module = ModuleType(package)
            # A path makes it a package, so the modules below it are found without running its __init__.
            module.__path__ = [str(root.joinpath(*package.split(".")[1:]))]
            stand_ins[package] = sys.modules[package] = module
    # The prompter's module imports these two names at its top and uses neither in its tokenizer.
    base = "diffsynth.prompters.base_prompter"
    if base not in sys.modules:
        stand_ins[base] = sys.modules[base] = ModuleType(base)
        sys.modules[base].BasePrompter = object  # type: ignore[attr-defined]
    manager = "diffsynth.models.model_manager"
    if manager not in sys.modules:
        stand_ins[manager] = sys.modules[manager] = ModuleType(manager)
        sys.modules[manager].ModelManager = object  # type: ignore[attr-defined]
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=FutureWarning, message=".*pynvml.*")
            warnings.filterwarnings("ignore", category=DeprecationWarning)
            return [importlib.import_module(name) for name in names]
    finally:
        for name, module in stand_ins.items():
            if sys.modules.get(name) is module:
                del sys.modules[name]


def _import_tokenizer() -> type:
    (module,) = _import_alone("diffsynth.prompters.kolors_prompter")
    # This one module was bound to stand-ins: keep its class, and let a complete import make its own copy.
    del sys.modules["diffsynth.prompters.kolors_prompter"]
    return module.ChatGLMTokenizer  # type: ignore[no-any-return]


_attention, _sd_unet, _sdxl_unet, _sd_vae_decoder, _sdxl_vae_decoder, _sdxl_vae_encoder, _chatglm = _import_alone(
    "diffsynth.models.attention",
    "diffsynth.models.sd_unet",
    "diffsynth.models.sdxl_unet",
    "diffsynth.models.sd_vae_decoder",
    "diffsynth.models.sdxl_vae_decoder",
    "diffsynth.models.sdxl_vae_encoder",
    "diffsynth.models.kolors_text_encoder",
)

Attention = _attention.Attention
Timesteps = _sd_unet.Timesteps
GEGLU = _sd_unet.GEGLU
ResnetBlock = _sd_unet.ResnetBlock
AttentionBlock = _sd_unet.AttentionBlock
BasicTransformerBlock = _sd_unet.BasicTransformerBlock
PushBlock = _sd_unet.PushBlock
PopBlock = _sd_unet.PopBlock
DownSampler = _sd_unet.DownSampler
UpSampler = _sd_unet.UpSampler
SDXLUNet = _sdxl_unet.SDXLUNet
VAEAttentionBlock = _sd_vae_decoder.VAEAttentionBlock
SDXLVAEDecoder = _sdxl_vae_decoder.SDXLVAEDecoder
SDXLVAEEncoder = _sdxl_vae_encoder.SDXLVAEEncoder
ChatGLMConfig = _chatglm.ChatGLMConfig
ChatGLMModel = _chatglm.ChatGLMModel
ChatGLMTokenizer = _import_tokenizer()
TOKENIZER_FOLDER = Path(str(_sdxl_unet.__file__)).parents[1] / "tokenizer_configs" / "kolors" / "tokenizer"
