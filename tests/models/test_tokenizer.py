"""Prompts become tokens as Kolors reads them, and are counted alike with and without torch."""

from __future__ import annotations

import pytest
from kolora.models.tokenizer import Tokenizer
from kolora.tokens import TOKEN_LIMIT, count_tokens

TEXTS = (
    "",
    " ",
    "一个紫色短发小女孩，在家中沙发上坐着",
    "a knight  on an old bridge\n\tat dawn ",
    "🐉　全角 é </s> <unk> <|user|> [gMASK]sop <pad>",
    "很" * 400,
)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer()


@pytest.mark.parametrize("text", TEXTS)
def test_the_plan_counts_the_tokens_that_the_model_reads(tokenizer: Tokenizer, text: str) -> None:
    read = int(tokenizer([text]).attention_mask.sum())
    assert count_tokens(text) == tokenizer.count(text)
    assert read == min(tokenizer.count(text), TOKEN_LIMIT)


def test_texts_are_padded_on_the_left(tokenizer: Tokenizer) -> None:
    tokens = tokenizer(["a cat", "很" * 400])
    count = tokenizer.count("a cat")
    assert tokens.input_ids.shape == (2, TOKEN_LIMIT)
    assert tokens.attention_mask[0].tolist() == [0] * (TOKEN_LIMIT - count) + [1] * count
    assert tokens.position_ids[0].tolist() == [0] * (TOKEN_LIMIT - count) + list(range(count))
    assert tokens.input_ids[0, : TOKEN_LIMIT - count].eq(0).all()


def test_what_is_too_long_is_cut_at_the_right(tokenizer: Tokenizer) -> None:
    one, other = tokenizer(["很" * 400, "很" * 400 + "一只猫"]).input_ids
    assert one.equal(other)
