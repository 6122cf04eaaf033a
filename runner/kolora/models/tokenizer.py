"""Kolors' tokenizer: ChatGLM's sentence pieces, padded on the left to 256 tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from kolora.errors import InputAbsent
from kolora.limits import MAX_JSON, TooLarge, as_absent, read_file
from kolora.models.diffsynth_blocks import TOKENIZER_FOLDER, ChatGLMTokenizer
from kolora.tokens import TOKEN_LIMIT


@dataclass(frozen=True)
class Tokens:
    """Tokenised texts, each tensor (B, 256) int64: padded on the left, mask 0 and position 0 there."""

    input_ids: torch.Tensor
    attention_mask: torch.Tensor
    position_ids: torch.Tensor


class Tokenizer:
    """Texts to tokens, with the tokenizer of the checkpoint or, where it brings none, the one DiffSynth ships."""

    limit = TOKEN_LIMIT

    def __init__(self, folder: Path | None = None) -> None:
        own = folder / "tokenizer.model" if folder is not None else None
        if own is None or not own.is_file():
            self._tokenizer = ChatGLMTokenizer(str(TOKENIZER_FOLDER / "tokenizer.model"))
        else:
            self._tokenizer = _load(own)

    def __call__(self, texts: Sequence[str]) -> Tokens:
        """Tokenise texts; what exceeds 256 tokens is cut at the right, as Kolors does."""
        encoded = self._tokenizer(
            list(texts), padding="max_length", max_length=TOKEN_LIMIT, truncation=True, return_tensors="pt"
        )
        return Tokens(encoded["input_ids"], encoded["attention_mask"], encoded["position_ids"])

    def count(self, text: str) -> int:
        """Count a text's tokens, the two that open every prompt included; over 256 the rest is cut."""
        # ChatGLM's prefix is [gMASK] and sop.
        return len(self._tokenizer(text)["input_ids"])


def _load(path: Path) -> Any:
    """Load a checkpoint's own tokenizer; raises InputAbsent for a file that is too large or none."""
    try:
        read_file(path, MAX_JSON)
        return ChatGLMTokenizer(str(path))
    except TooLarge as problem:
        raise as_absent(problem, path.name) from problem
    except Exception as problem:  # sentencepiece raises whatever its parser finds
        raise InputAbsent(
            f"{path.name} is no tokenizer of ChatGLM's: {str(problem).partition(chr(10))[0]}",
            hint="download the checkpoint again, or take the file out: kolora brings the same",
        ) from problem
