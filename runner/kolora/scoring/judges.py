"""The two judges of a submission, loaded from a folder in their published layout, offline.

Aesthetics: the LAION predictor, class AestheticsPredictorV2Linear of simple-aesthetics-predictor, about 1 to 10.
Similarity: CLIP's cosine between picture and text, times 100. Higher is better for both.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from aesthetics_predictor import AestheticsPredictorV2Linear
from PIL import Image
from torch import nn
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPTokenizerFast, CLIPVisionConfig

from kolora.errors import InputAbsent
from kolora.files import open_regular
from kolora.limits import MAX_JSON, TooLarge, as_absent, read_file, read_json
from kolora.models.weights import read_weights, weight_files
from kolora.names import fault_of_part, printable

_PATHS = ("vocab_file", "merges_file", "tokenizer_file")
"""Keys of tokenizer_config.json that win over the files' usual names, so that any file of this machine would be read;
the published ones do not have them."""
_AGAIN = "download the scorer again, or point scores.clip and scores.aesthetics at complete folders"
T = TypeVar("T")
M = TypeVar("M", bound=nn.Module)

_LARGEST = {"config.json": 1_048_576, "preprocessor_config.json": 4096}
"""Numbers that a scorer's files may hold: widths and tokens, sides of pictures."""
BATCH = 16
"""Pictures judged at once: enough to fill a GPU, little enough for a laptop."""


class Aesthetics:
    """Grades pictures by their looks."""

    def __init__(self, folder: Path, *, device: str) -> None:
        _check_files(folder)
        self._device = device
        self._processor = _from(folder, lambda: CLIPImageProcessor.from_pretrained(folder, local_files_only=True))
        config = _from(folder, lambda: CLIPVisionConfig.from_pretrained(folder, local_files_only=True))
        _check_side(folder, self._processor, config.image_size)
        # Filled by our own reader: transformers would open a pickle, and name what is absent in a warning only.
        self._model = _filled(lambda: AestheticsPredictorV2Linear(config), folder).to(device)

    @torch.inference_mode()
    def grade(self, paths: Sequence[Path]) -> list[float]:
        """Grade pictures, about 1 to 10 each."""
        grades: list[float] = []
        for pixels in _batches(self._processor, paths):
            grades += self._model(pixel_values=pixels.to(self._device)).logits[:, 0].tolist()
        return grades


class Similarity:
    """Embeds pictures and texts in one space."""

    def __init__(self, folder: Path, *, device: str) -> None:
        _check_files(folder)
        self._device = device
        self._processor = _from(folder, lambda: CLIPImageProcessor.from_pretrained(folder, local_files_only=True))
        self._tokenizer = _from(folder, lambda: CLIPTokenizerFast.from_pretrained(folder, local_files_only=True))
        config = _from(folder, lambda: CLIPConfig.from_pretrained(folder, local_files_only=True))
        _check_side(folder, self._processor, config.vision_config.image_size)
        # A vocabulary that lacks its own special tokens loads, and fails at the first text.
        _from(folder, lambda: self._tokenizer("?"))
        # 77; Chinese takes 2.6 tokens a character, so all 8 prompts of specs/story.yaml are cut (2026-11).
        self._limit = config.text_config.max_position_embeddings
        self._model = _filled(lambda: CLIPModel(config), folder).to(device)

    @torch.inference_mode()
    def pictures(self, paths: Sequence[Path]) -> torch.Tensor:
        """Embed pictures: (N, D) float32 on the CPU, each of length 1."""
        rows = [
            self._model.get_image_features(pixel_values=pixels.to(self._device))
            for pixels in _batches(self._processor, paths)
        ]
        return nn.functional.normalize(torch.cat(rows).float(), dim=-1).cpu()

    @torch.inference_mode()
    def texts(self, texts: Sequence[str]) -> torch.Tensor:
        """Embed texts: (N, D) float32 on the CPU, each of length 1; CLIP reads only as many tokens as it knows."""
        rows = []
        for text in texts:
            # One at a time: a row's bytes depend on the batch it is in, and nothing needs padding.
            tokens = self._tokenizer(text, truncation=True, max_length=self._limit, return_tensors="pt")
            rows.append(self._model.get_text_features(**tokens.to(self._device)))
        return nn.functional.normalize(torch.cat(rows).float(), dim=-1).cpu()


def similarities(pictures: torch.Tensor, texts: torch.Tensor) -> list[float]:
    """Compare pictures (N, D) with texts (N, D) pair by pair: 100 x cosine."""
    return (100 * (pictures * texts).sum(dim=-1)).tolist()


def _batches(processor: CLIPImageProcessor, paths: Sequence[Path]) -> list[torch.Tensor]:
    return [_pixels(processor, paths[start : start + BATCH]) for start in range(0, len(paths), BATCH)]


def _pixels(processor: CLIPImageProcessor, paths: Sequence[Path]) -> torch.Tensor:
    pictures = []
    for path in paths:
        with Image.open(path) as opened:
            pictures.append(opened.convert("RGB"))
    pixels: torch.Tensor = processor(images=pictures, return_tensors="pt")["pixel_values"]
    return pixels


def _check_files(folder: Path) -> None:
    """Read a scorer's small files before libraries do, which bound nothing; raises InputAbsent."""
    for path in sorted(folder.glob("[!.]*.json")) + sorted(folder.glob("[!.]*.txt")):
        try:
            value = read_json(path) if path.suffix == ".json" else read_file(path, MAX_JSON)
        except TooLarge as problem:
            raise as_absent(problem, f"{folder.name}/{path.name}") from problem
        except (OSError, ValueError):
            continue  # who reads it says better what is wrong
        if path.name in _LARGEST and _largest(value) > _LARGEST[path.name]:
            raise InputAbsent(
                f"{folder.name}/{path.name} has a number above {_LARGEST[path.name]:,}",
                hint="download the scorer again",
            )


def _largest(value: Any) -> float:
    """Find the largest number in what JSON says."""
    largest, level = 0.0, [value]
    while level:
        each = level.pop()
        if isinstance(each, dict | list):
            level += each.values() if isinstance(each, dict) else each
        elif isinstance(each, int | float) and not abs(each) <= largest:
            largest = math.inf if each != each else max(largest, abs(each))
    return largest


def _check_side(folder: Path, processor: CLIPImageProcessor, side: int) -> None:
    """See that pictures are prepared as the model takes them; raises InputAbsent."""
    picture = Image.new("RGB", (16, 16))
    shape = _from(folder, lambda: processor(images=[picture], return_tensors="pt")["pixel_values"].shape)
    if tuple(shape) != (1, 3, side, side):
        raise InputAbsent(
            f"{folder.name}/preprocessor_config.json makes pictures of {tuple(shape)[-2:]}, config.json has {side}",
            hint="download the scorer again",
        )


def _from(folder: Path, load: Callable[[], T]) -> T:
    _check_named_files(folder)
    try:
        return load()
    except Exception as problem:  # a stranger's files make the libraries raise whatever they like
        raise InputAbsent(
            f"{folder.name}/ is no complete scorer: {(str(problem) or repr(problem)).splitlines()[0]}",
            hint="point scores.clip and scores.aesthetics at complete folders, or set them to off",
        ) from problem


def _check_named_files(folder: Path) -> None:
    """Refuse what makes transformers open files that are no part of the scorer's identity; raises InputAbsent."""
    template = folder / "chat_template.jinja"
    if template.is_symlink():
        raise InputAbsent(f"{folder.name}/{template.name} is a link, which no scorer has", hint="take it out")
    try:
        with open_regular(folder / "tokenizer_config.json") as file:
            config = json.load(file)
    except FileNotFoundError:
        return
    except (OSError, ValueError, RecursionError) as problem:
        raise InputAbsent(f"{folder.name}/tokenizer_config.json cannot be read: {problem}", hint=_AGAIN) from problem
    named = {key: config.get(key) for key in (*_PATHS, "fast_tokenizer_files")} if isinstance(config, dict) else {}
    for key, value in named.items():
        names = value if key not in _PATHS and isinstance(value, list) else [value]
        is_own = [name is None or (key not in _PATHS and _is_part(name)) for name in names]
        if not all(is_own):
            raise InputAbsent(
                f"{folder.name}/tokenizer_config.json names '{printable(str(value))}' as {key}, a file outside of it",
                hint=f"take {key} out of it",
            )


def _is_part(name: object) -> bool:
    return isinstance(name, str) and fault_of_part(name) is None


def _filled(make: Callable[[], M], folder: Path) -> M:
    # Without storage first: what a config asks for may be larger than any machine, and the files say how large it is.
    with torch.device("meta"):
        wanted = _from(folder, make).state_dict()
    # In float32 everywhere, so that a score is the same to rounding on a GPU and on a CPU.
    weights = {name: read() for name, read in read_weights(weight_files(folder, half=False), device="cpu")}
    absent = [name for name in wanted if name not in weights or weights[name].shape != wanted[name].shape]
    if absent:
        raise InputAbsent(
            f"{folder.name}: the files lack {absent[0]} of shape {tuple(wanted[absent[0]].shape)}",
            hint=_AGAIN,
        )
    model = make()
    # Only what the model has: older files also hold position_ids.
    model.load_state_dict({name: weights[name].to(wanted[name].dtype) for name in wanted})
    return model.eval().requires_grad_(False)
