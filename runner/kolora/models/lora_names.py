"""How other tools spell a LoRA's keys: one table of the U-Net's modules, in every spelling."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from kolora.models.names import UNET_BLOCKS, unet_name


@dataclass(frozen=True)
class _Spelling:
    """What an ecosystem appends to a module's name for A and for B."""

    down: str
    up: str


DIFFSYNTH = _Spelling(".lora_A.default.weight", ".lora_B.default.weight")
DIFFUSERS = _Spelling(".lora_A.weight", ".lora_B.weight")
KOHYA = _Spelling(".lora_down.weight", ".lora_up.weight")
OLDER_DIFFUSERS = _Spelling(".lora.down.weight", ".lora.up.weight")
ALPHA = ".alpha"

_MOST_LAYERS = 10
"""Transformer layers of SDXL's, and so Kolors', deepest stack."""
_SIDES = ("q", "k", "v", "out")
# kohya's scripts also train the gated unit and proj_in, proj_out: 722 modules where kolora has 560.
_INNER = (*(f"attn1.to_{side}" for side in _SIDES), *(f"attn2.to_{side}" for side in _SIDES), "act_fn.proj", "ff")
_LDM = {
    "down_blocks.1.attentions": ("input_blocks.4.1", "input_blocks.5.1"),
    "down_blocks.2.attentions": ("input_blocks.7.1", "input_blocks.8.1"),
    "mid_block.attentions": ("middle_block.1",),
    "up_blocks.0.attentions": ("output_blocks.0.1", "output_blocks.1.1", "output_blocks.2.1"),
    "up_blocks.1.attentions": ("output_blocks.3.1", "output_blocks.4.1", "output_blocks.5.1"),
}
"""Where the stacks stand in the tree that SDXL was published in; kohya's own SDXL files name them so."""


def diffusers_name(module: str) -> str:
    """Give diffusers' key of a module that DiffSynth calls ``module``."""
    return f"unet.{_plain(module)}"


def kohya_name(module: str) -> str:
    """Give kohya's and ComfyUI's key of a module that DiffSynth calls ``module``."""
    return f"lora_unet_{_plain(module).replace('.', '_')}"


def _plain(module: str) -> str:
    return unet_name(f"{module}.weight").removesuffix(".weight")


def _modules() -> Iterator[str]:
    """Name every linear layer of the U-Net's transformer stacks."""
    for number, place in UNET_BLOCKS.items():
        if ".attentions." in place:
            yield from (f"blocks.{number}.{side}" for side in ("proj_in", "proj_out"))
            for layer in range(_MOST_LAYERS):
                # Stacks of two layers get ten names as well: MergedWeights refuses those that a checkpoint lacks.
                yield from (f"blocks.{number}.transformer_blocks.{layer}.{inner}" for inner in _INNER)


def _spellings(module: str) -> Iterator[str]:
    plain = _plain(module)
    stack, _, rest = plain.partition(".attentions.")
    place, _, inner = rest.partition(".")
    ldm = f"{_LDM[f'{stack}.attentions'][int(place)]}.{inner}"
    yield from (module, f"unet.{plain}", plain, kohya_name(module), f"lora_unet_{ldm.replace('.', '_')}")


def _table() -> dict[str, str]:
    table: dict[str, str] = {}
    for module in _modules():
        table |= dict.fromkeys(_spellings(module), module)
    return table


_MODULE_OF = _table()


def module_of(key: str) -> str | None:
    """Give DiffSynth's name of the module that a key means in any spelling; None where the U-Net has no such one."""
    return _MODULE_OF.get(key)
