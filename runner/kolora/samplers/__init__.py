"""The samplers by name: the one place to add one to.

A sampler is a few lines of algebra on whatever tensors it is handed: nothing here loads torch, so that a story's
choices are read from this table before anything heavy loads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kolora.samplers.ddim import sample_ddim
from kolora.samplers.schedule import Sample


@dataclass(frozen=True)
class Sampler:
    """A sampler, and what other tools call it.

    a1111: as A1111's settings text says it. comfyui: ``sampler_name`` and ``scheduler`` of ComfyUI's KSampler.
    """

    sample: Sample
    a1111: str
    comfyui: tuple[str, str]


SAMPLERS: Mapping[str, Sampler] = {
    # ComfyUI's "ddim" is Euler too, and DDIM with eta 0 is Euler in the variance-exploding form that ComfyUI works in.
    "ddim": Sampler(sample_ddim, a1111="DDIM", comfyui=("euler", "ddim_uniform")),
}
"""What ``render.scheduler`` chooses from."""
