"""How many weights a checkpoint's parts have, counted from their configs: exact, and no file of weights is opened.

The topology is that of ``kolora.models.architecture`` and of ChatGLM; a test builds both and compares.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kolora.configs import LATENT_CHANNELS

Config = Mapping[str, Any]
COLOURS = 3


@dataclass(frozen=True)
class WeightCounts:
    """Numbers of weights: of each part, of the pieces of it that can be brought to the GPU by themselves, all of them
    and the largest.

    unet_stack: of the largest block of the U-Net, whose activations and weights a backward pass needs together.
    unet_adapted: inputs and outputs, summed over the projections that a LoRA may change; a LoRA has rank times that.
    """

    text_encoder: int
    text_layers: int
    text_layer: int
    unet: int
    unet_pieces: int
    unet_piece: int
    unet_stack: int
    unet_adapted: int
    vae_encoder: int
    vae_decoder: int


def count_weights(configs: Mapping[str, Config]) -> WeightCounts:
    """Count the weights of a checkpoint; configs: by folder, ``text_encoder``, ``unet`` and ``vae``."""
    text, unet, widths = configs["text_encoder"], configs["unet"], configs["vae"]["block_out_channels"]
    hidden = text["hidden_size"]
    layer = _text_layer(text)
    blocks = list(_unet_blocks(unet))
    context, low = unet["cross_attention_dim"], unet["block_out_channels"][0]
    embeddings = _linear(low, 4 * low) + _linear(unet["projection_class_embeddings_input_dim"], 4 * low)
    embeddings += 2 * _linear(4 * low, 4 * low) + _linear(unet["encoder_hid_dim"], context)
    return WeightCounts(
        # Layers, embedding and last norm; the output layer is never loaded.
        text_encoder=text["num_layers"] * layer + text["padded_vocab_size"] * hidden + hidden,
        text_layers=text["num_layers"] * layer,
        text_layer=layer,
        unet=sum(block.weights for block in blocks) + embeddings + _ends(LATENT_CHANNELS, low, LATENT_CHANNELS),
        unet_pieces=sum(block.pieces for block in blocks),
        unet_piece=max(block.piece for block in blocks),
        unet_stack=max(block.weights for block in blocks),
        unet_adapted=sum(block.adapted for block in blocks),
        vae_encoder=_vae_encoder(widths),
        vae_decoder=_vae_decoder(widths),
    )


@dataclass(frozen=True)
class _Counts:
    weights: int
    pieces: int
    piece: int
    adapted: int = 0


def _linear(inside: int, outside: int, *, bias: bool = True) -> int:
    return inside * outside + bias * outside


def _conv(inside: int, outside: int, side: int = 3) -> int:
    return side * side * inside * outside + outside


def _resnet(inside: int, outside: int, embedding: int = 0) -> int:
    # A norm has a weight and a bias a channel.
    counted = 2 * inside + _conv(inside, outside) + 2 * outside + _conv(outside, outside)
    shortcut = _conv(inside, outside, 1) if inside != outside else 0
    return counted + shortcut + (_linear(embedding, outside) if embedding else 0)


def _ends(inside: int, width: int, outside: int, last: int = 0) -> int:
    """Count the first convolution, and the last norm and convolution."""
    last = last or width
    return _conv(inside, width) + 2 * last + _conv(last, outside)


def _text_layer(config: Config) -> int:
    hidden: int = config["hidden_size"]
    ffn: int = config["ffn_hidden_size"]
    heads = config["num_attention_heads"] * config["kv_channels"]
    # Multi-query attention (arXiv 1911.02150): Kolors' 32 heads share 2 sets of keys and values.
    groups = config["multi_query_group_num"] * config["kv_channels"] if config["multi_query_attention"] else heads
    attention: int = _linear(hidden, heads + 2 * groups, bias=config["add_qkv_bias"])
    attention += _linear(heads, hidden, bias=False)
    # SwiGLU takes two halves from one product; two RMS norms, which have no bias.
    return attention + _linear(hidden, 2 * ffn, bias=False) + _linear(ffn, hidden, bias=False) + 2 * hidden


def _unet_blocks(config: Config) -> Iterator[_Counts]:
    low, middle, high = config["block_out_channels"]
    _, middle_depth, high_depth = config["transformer_layers_per_block"]
    context = config["cross_attention_dim"]

    def whole(weights: int) -> _Counts:
        return _Counts(weights, weights, weights)

    def resnet(inside: int, outside: int) -> _Counts:
        return whole(_resnet(inside, outside, 4 * low))

    def stack(width: int, depth: int) -> _Counts:
        # q, k, v, out of attn1, q and out of attn2; the biases of both outs; k and v from the text.
        attention = 6 * width * width + 2 * width + 2 * context * width
        # Three layer norms; the gated unit's two halves of 4 widths; back to the width.
        layer = attention + 6 * width + _linear(width, 8 * width) + _linear(4 * width, width)
        # A LoRA has rank x (inputs + outputs) weights a projection: 23.2 M in all for Kolors at rank 16.
        adapted = depth * (6 * 2 * width + 2 * (context + width))
        return _Counts(depth * layer + 2 * width + 2 * _linear(width, width), depth * layer, layer, adapted)

    yield from (resnet(low, low), resnet(low, low), whole(_conv(low, low)))
    for inside in (low, middle):
        yield from (resnet(inside, middle), stack(middle, middle_depth))
    yield whole(_conv(middle, middle))
    for inside in (middle, high):
        yield from (resnet(inside, high), stack(high, high_depth))
    yield from (resnet(high, high), stack(high, high_depth), resnet(high, high))
    for inside in (2 * high, 2 * high, high + middle):
        yield from (resnet(inside, high), stack(high, high_depth))
    yield whole(_conv(high, high))
    for inside in (high + middle, 2 * middle, middle + low):
        yield from (resnet(inside, middle), stack(middle, middle_depth))
    yield whole(_conv(middle, middle))
    yield from (resnet(inside, low) for inside in (middle + low, 2 * low, 2 * low))


def _vae_middle(width: int) -> int:
    # Two residual blocks; the attention's norm and its q, k, v, out, all with biases.
    return 2 * _resnet(width, width) + 2 * width + 4 * _linear(width, width)


def _vae_encoder(widths: list[int]) -> int:
    first, last = widths[0], widths[-1]
    counted = (
        _ends(COLOURS, first, 2 * LATENT_CHANNELS, last)
        + _conv(2 * LATENT_CHANNELS, 2 * LATENT_CHANNELS, 1)
        + _vae_middle(last)
    )
    insides = [first, *widths[:-1]]
    counted += sum(_conv(inside, inside) for inside in insides[1:])
    return counted + sum(
        _resnet(inside, width) + _resnet(width, width) for inside, width in zip(insides, widths, strict=True)
    )


def _vae_decoder(widths: list[int]) -> int:
    first, last = widths[0], widths[-1]
    counted = (
        _ends(LATENT_CHANNELS, last, COLOURS, first) + _conv(LATENT_CHANNELS, LATENT_CHANNELS, 1) + _vae_middle(last)
    )
    insides, outsides = [last, *widths[:0:-1]], widths[::-1]
    counted += sum(_conv(inside, inside) for inside in insides[1:])
    return counted + sum(
        _resnet(inside, width) + 2 * _resnet(width, width) for inside, width in zip(insides, outsides, strict=True)
    )
