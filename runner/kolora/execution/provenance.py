"""Where a result comes from: machine, packages, image, and the arithmetic and memory of one step."""

from __future__ import annotations

import contextlib
import datetime
import importlib.metadata
import os
import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from kolora.device import cpu_name, device_class, gpu_count
from kolora.redaction import redact
from kolora.runfolder.records import Machine
from kolora.service import find_service

if TYPE_CHECKING:
    from kolora.models.checkpoint import Checkpoint

PACKAGES = (
    "torch",
    "triton",
    "diffsynth",
    "transformers",
    "peft",
    "lightning",
    "py-data-juicer",
    "simple-aesthetics-predictor",
    "safetensors",
    "pillow",
    "numpy",
)
"""What results depend on."""


def packages() -> dict[str, str]:
    """Return the versions of what results depend on, as far as it is installed here."""
    versions = {}
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions


def image_digest() -> str | None:
    """Name the image that this runs in; None outside of one.

    An image cannot hold its own digest: whoever starts it may tell it, else it is named by what it was built from.
    """
    return redact(os.environ.get("KOLORA_IMAGE_DIGEST") or os.environ.get("KOLORA_IMAGE_SOURCE") or "") or None


def machine(device: str) -> Machine:
    """Describe the machine; device: "cuda" or "cpu"."""
    # Only where a stage has loaded it: importing it takes seconds, and a run that keeps everything needs none.
    torch = sys.modules.get("torch")
    gpu = torch.cuda.get_device_name() if torch and device == "cuda" and torch.cuda.is_available() else None
    return Machine(
        python=platform.python_version(),
        platform=platform.platform(),
        cpu=cpu_name(),
        cores=os.cpu_count(),
        gpu=gpu,
        gpus=gpu_count(),
        service=find_service(os.environ),
        image=image_digest(),
        packages=packages(),
    )


def numerics(device: str, checkpoint: Checkpoint | None, stage: str) -> dict[str, str | bool | int | float | None]:
    """Describe the arithmetic in force; a step that loads no checkpoint computes nothing that could differ."""
    torch = sys.modules.get("torch")
    if torch is None or checkpoint is None:
        return {"device": "cpu", "torch": None}
    described: dict[str, str | bool | int | float | None] = {
        "device": device,
        "device_class": device_class(device),
        "device_name": torch.cuda.get_device_name() if device == "cuda" else cpu_name(),
        "dtype": str(checkpoint.dtype).removeprefix("torch."),
        "torch": torch.__version__,
        "kernels": checkpoint.kernels,
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "threads": torch.get_num_threads(),
    }
    for name, option in checkpoint.memory.options_of(stage).items():
        if option.is_frugal:
            described[f"memory, {name}"] = str(option)
    return described


def reset_peaks() -> None:
    """Count peak memory anew from here on."""
    # Writing 5 makes Linux count the process's peak anew (proc(5)); some sandboxes forbid it.
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    torch = sys.modules.get("torch")
    if torch and torch.cuda.is_initialized():
        torch.cuda.reset_peak_memory_stats()


def peaks() -> dict[str, int | None]:
    """Return the peak memory of this process and on the GPU, in bytes, since it was last reset."""
    torch = sys.modules.get("torch")
    gpu = torch.cuda.max_memory_allocated() if torch and torch.cuda.is_initialized() else None
    return {"cpu": _peak_of_process(), "gpu": gpu}


def now() -> str:
    """Return the time as ISO 8601 in UTC, to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _peak_of_process() -> int | None:
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), None)
