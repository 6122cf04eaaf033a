"""Counting a prompt's tokens without torch, by the sentence pieces that DiffSynth ships for Kolors."""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path

from sentencepiece import SentencePieceProcessor

TOKEN_LIMIT = 256
"""Tokens of a prompt that Kolors reads."""
OPENING_TOKENS = 2
"""The marks that open every prompt."""


def count_tokens(text: str) -> int:
    """Count a prompt's tokens, the two that open it included."""
    return OPENING_TOKENS + len(_pieces().encode(text))


@cache
def _pieces() -> SentencePieceProcessor:
    package = importlib.util.find_spec("diffsynth")
    assert package is not None
    assert package.origin is not None
    model = Path(package.origin).parent / "tokenizer_configs" / "kolors" / "tokenizer" / "tokenizer.model"
    return SentencePieceProcessor(model_file=str(model))
