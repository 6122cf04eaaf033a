"""Weight files of a checkpoint part: found, read one tensor at a time, and put into a module."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from kolora.configs import read_config
from kolora.errors import InputAbsent
from kolora.files import open_regular
from kolora.limits import TooLarge, as_absent, read_json
from kolora.models.headers import check_header
from kolora.models.pickled import read_pickled
from kolora.names import LONGEST_PART, printable

HALF = (torch.float16, torch.bfloat16)
_SHOWN = 5
"""Names in one message."""
_AGAIN = "download the checkpoint again, or point model.checkpoint at a complete folder"


def weight_files(folder: Path, *, half: bool) -> tuple[Path, ...]:
    """List the files that together hold a part's weights once.

    safetensors win over pickles; of the published fp16 and fp32 files the one that fits ``half`` is taken. What may be
    read here is what ``kolora.hubs.catalogue.loaded_files`` counts to a checkpoint's identity, so no hidden file is.
    """
    indexes = sorted(folder.glob("[!.]*.safetensors.index*.json")) or sorted(folder.glob("[!.]*.bin.index*.json"))
    # Shards without an index are no whole part.
    singles = [path for path in sorted(folder.glob("[!.]*.safetensors")) if "-of-" not in path.name]
    if singles and not any(".safetensors." in index.name for index in indexes):
        return (_regular(_variant(singles, half=half)),)
    if indexes:
        index = _variant(indexes, half=half)
        try:
            names = sorted(set(read_json(index)["weight_map"].values()))
        except TooLarge as problem:
            raise as_absent(problem, f"{folder.name}/{index.name}") from problem
        except (ValueError, LookupError, TypeError, AttributeError) as problem:
            raise InputAbsent(f"{folder.name}/{index.name} is no index: {problem!r}", hint=_AGAIN) from problem
        ending = "safetensors" if ".safetensors." in index.name else "bin"
        there = {path.name for path in folder.glob(f"[!.]*.{ending}")}
        absent = [name for name in names if not isinstance(name, str) or name not in there]
        if absent:
            listed = ", ".join(printable(str(name), most=LONGEST_PART) for name in absent[:_SHOWN])
            raise InputAbsent(
                f"{folder.name}/{index.name} names {listed}{' and others' if len(absent) > _SHOWN else ''}, which is "
                "not there",
                hint=_AGAIN,
            )
        return tuple(_regular(folder / name) for name in names)
    pickles = sorted(folder.glob("[!.]*.bin"))
    if pickles:
        return (_regular(_variant(pickles, half=half)),)
    raise InputAbsent(f"the checkpoint has no weights in {folder.name}/", hint=_AGAIN)


def _regular(path: Path) -> Path:
    """Return a file's path; raises InputAbsent where there is no regular file: others could be waited for for ever."""
    try:
        with open_regular(path):
            return path
    except OSError as problem:
        raise InputAbsent(
            f"{path.parent.name}/{path.name} cannot be read: {problem.strerror}", hint=_AGAIN
        ) from problem


def _variant(paths: list[Path], *, half: bool) -> Path:
    # diffusers' convention: the half-precision file beside the full one bears ".fp16".
    fitting = [path for path in paths if (".fp16" in path.name) == half]
    return (fitting or paths)[0]


def read_ahead(folder: Path, *, dtype: torch.dtype) -> None:
    """Ask the system to bring a part's weights from the disk while others compute, where it can be asked."""
    for path in weight_files(folder, half=dtype in HALF) if hasattr(os, "posix_fadvise") else ():
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_WILLNEED)


def read_weights(files: tuple[Path, ...], *, device: str) -> Iterator[tuple[str, Callable[[], torch.Tensor]]]:
    """Yield each weight's published name and a function that reads it onto ``device``."""
    for path in files:
        if path.suffix == ".bin":
            for name, tensor in read_pickled(path).items():
                yield name, lambda tensor=tensor: tensor.to(device)  # type: ignore[misc]
            continue
        try:
            check_header(path)
            with safe_open(path, framework="pt", device=device) as opened:
                for name in opened.keys():  # noqa: SIM118 - the file object is no dict
                    yield name, lambda name=name, opened=opened: opened.get_tensor(name)  # type: ignore[misc]
        except TooLarge as problem:
            raise as_absent(problem, f"{path.parent.name}/{path.name}") from problem
        except (SafetensorError, ValueError) as problem:
            raise InputAbsent(f"{path.parent.name}/{path.name} is damaged: {problem}", hint=_AGAIN) from problem


def load_part(
    build: Callable[[dict[str, Any]], nn.Module],
    folder: Path,
    *,
    rename: Callable[[str], str],
    device: str,
    dtype: torch.dtype,
    optional: tuple[str, ...] = (),
    drop: tuple[str, ...] = (),
) -> nn.Module:
    """Build a part without storage and fill it from ``folder``, each tensor read once, straight to ``device``.

    build: config -> module.
    rename: module's name of a weight -> published name.
    optional: weights that may be absent from the files (the module computes them); drop: submodules not wanted.
    Raises InputAbsent naming the first absent, foreign or misshapen weight.
    """
    config = read_config(folder)
    with torch.device("meta"):
        module = build(config)
    for submodule in drop:
        setattr(module, submodule, None)
    wanted = {rename(name): name for name in module.state_dict()}
    shapes = {name: tensor.shape for name, tensor in module.state_dict().items()}
    found: dict[str, torch.Tensor] = {}
    for published, read in read_weights(weight_files(folder, half=dtype in HALF), device=device):
        # ChatGLM's own classes put the encoder below "transformer.".
        name = wanted.get(published.removeprefix("transformer."))
        # The VAE's file holds both halves, and each takes its own; ChatGLM's holds the output layer.
        if name is None:
            continue
        tensor = read()
        if tensor.shape != shapes[name]:
            raise InputAbsent(
                f"{folder.name}: {published} has shape {tuple(tensor.shape)}, its config.json asks for "
                f"{tuple(shapes[name])}",
                hint=_AGAIN,
            )
        found[name] = tensor.to(dtype) if tensor.is_floating_point() else tensor
    absent = [rename(key) for key in shapes if key not in found and key not in optional]
    if absent:
        more = f" and {len(absent) - 1} more" if len(absent) > 1 else ""
        raise InputAbsent(f"{folder.name}: the files lack {absent[0]}{more}", hint=_AGAIN)
    # assign: the module is on the meta device, where there is nothing to copy into.
    module.load_state_dict(found, strict=False, assign=True)
    return module.eval().requires_grad_(False)
