"""Counting tokens without torch agrees with the tokenizer that Kolors is given its prompts by."""

import pytest
from kolora.models.tokenizer import Tokenizer
from kolora.tokens import TOKEN_LIMIT, count_tokens


@pytest.mark.parametrize("text", ["", "cat", "一个紫色短发的小女孩，穿着粉色连衣裙", "a  b\n🐱 <|user|>", "长" * 400])
def test_both_counts_agree(text):
    assert count_tokens(text) == Tokenizer().count(text)


def test_the_limit_is_what_the_tokenizer_cuts_at():
    tokens = Tokenizer()(["长" * 400])
    assert tokens.input_ids.shape == (1, TOKEN_LIMIT)
    assert tokens.attention_mask.sum() == TOKEN_LIMIT
