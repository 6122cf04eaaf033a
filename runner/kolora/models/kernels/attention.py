"""Attention and its gradients, by blocks of the score matrix that is never written (Dao et al., 2022 and 2023).

Every gradient is summed by one program, in the order of the sequence: the scores are computed twice more, and the bits
are the same every time.
"""

from __future__ import annotations

from functools import cache
from typing import Any, cast

import torch
import triton
import triton.language as tl

LOG2E = tl.constexpr(1.4426950408889634)
FORWARD = {"QUERIES": 64, "KEYS": 64, "num_warps": 4, "num_stages": 3}
BY_KEYS = {"QUERIES": 128, "KEYS": 64, "num_warps": 4, "num_stages": 2}
BY_QUERIES = {"QUERIES": 64, "KEYS": 64, "num_warps": 4, "num_stages": 3}
"""Shapes of blocks, warps and stages of loading ahead: the fastest of those tried on an H200."""
PRODUCTS = 64


@triton.jit
def _rows(x, batch, head, stride_batch, stride_row, stride_head, first, count, ROWS: tl.constexpr, WIDTH: tl.constexpr):
    """Load rows of one head: (ROWS, WIDTH), zeros beyond the last."""
    row = first + tl.arange(0, ROWS)
    base = x + batch.to(tl.int64) * stride_batch + head * stride_head
    at = tl.expand_dims(row, 1) * stride_row + tl.expand_dims(tl.arange(0, WIDTH), 0)
    return tl.load(base + at, mask=tl.expand_dims(row < count, 1), other=0.0)


@triton.jit
def _keep(
    x, value, batch, head, stride_batch, stride_row, stride_head, first, count, ROWS: tl.constexpr, WIDTH: tl.constexpr
):
    """Store rows of one head, up to the last."""
    row = first + tl.arange(0, ROWS)
    base = x + batch.to(tl.int64) * stride_batch + head * stride_head
    at = tl.expand_dims(row, 1) * stride_row + tl.expand_dims(tl.arange(0, WIDTH), 0)
    tl.store(base + at, value.to(x.dtype.element_ty), mask=tl.expand_dims(row < count, 1))


@triton.jit
def _attend(
    q, k, v, y, lse, scale, heads, queries, keys,
    qb, qr, qh, kb, kr, kh, vb, vr, vh,
    QUERIES: tl.constexpr, KEYS: tl.constexpr, WIDTH: tl.constexpr, EVEN: tl.constexpr,
):  # fmt: skip
    first = tl.program_id(0) * QUERIES
    batch, head = tl.program_id(1) // heads, tl.program_id(1) % heads
    query = _rows(q, batch, head, qb, qr, qh, first, queries, QUERIES, WIDTH)
    most = tl.full([QUERIES], float("-inf"), dtype=tl.float32)
    total = tl.zeros([QUERIES], dtype=tl.float32)
    given = tl.zeros([QUERIES, WIDTH], dtype=tl.float32)
    for start in range(0, keys, KEYS):
        key = _rows(k, batch, head, kb, kr, kh, start, keys, KEYS, WIDTH)
        score = tl.dot(query, tl.trans(key)) * (scale * LOG2E)
        if not EVEN:
            score = tl.where(tl.expand_dims(start + tl.arange(0, KEYS) < keys, 0), score, float("-inf"))
        higher = tl.maximum(most, tl.max(score, 1))
        share = tl.math.exp2(score - tl.expand_dims(higher, 1))
        faded = tl.math.exp2(most - higher)
        total = total * faded + tl.sum(share, 1)
        value = _rows(v, batch, head, vb, vr, vh, start, keys, KEYS, WIDTH)
        given = given * tl.expand_dims(faded, 1) + tl.dot(share.to(value.dtype), value)
        most = higher
    row = first + tl.arange(0, QUERIES)
    tl.store(lse + tl.program_id(1) * queries + row, most + tl.math.log2(total), mask=row < queries)
    stride = heads * WIDTH
    given /= tl.expand_dims(total, 1)
    _keep(y, given, batch, head, queries * stride, stride, WIDTH, first, queries, QUERIES, WIDTH)


@triton.jit
def _products(y, dy, delta, heads, queries, QUERIES: tl.constexpr, WIDTH: tl.constexpr):
    """Write every query's sum of y * dy."""
    first = tl.program_id(0) * QUERIES
    batch, head = tl.program_id(1) // heads, tl.program_id(1) % heads
    stride = heads * WIDTH
    one = _rows(y, batch, head, queries * stride, stride, WIDTH, first, queries, QUERIES, WIDTH).to(tl.float32)
    other = _rows(dy, batch, head, queries * stride, stride, WIDTH, first, queries, QUERIES, WIDTH).to(tl.float32)
    row = first + tl.arange(0, QUERIES)
    tl.store(delta + tl.program_id(1) * queries + row, tl.sum(one * other, 1), mask=row < queries)


@triton.jit
def _by_keys(
    q, k, v, dy, lse, delta, dk, dv, scale, heads, queries, keys,
    qb, qr, qh, kb, kr, kh, vb, vr, vh,
    QUERIES: tl.constexpr, KEYS: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """Write the gradients of some keys and their values."""
    first = tl.program_id(0) * KEYS
    batch, head = tl.program_id(1) // heads, tl.program_id(1) % heads
    stride = heads * WIDTH
    key = _rows(k, batch, head, kb, kr, kh, first, keys, KEYS, WIDTH)
    value = _rows(v, batch, head, vb, vr, vh, first, keys, KEYS, WIDTH)
    key_slope = tl.zeros([KEYS, WIDTH], dtype=tl.float32)
    value_slope = tl.zeros([KEYS, WIDTH], dtype=tl.float32)
    for start in range(0, queries, QUERIES):
        row = start + tl.arange(0, QUERIES)
        at = tl.program_id(1) * queries + row
        query = _rows(q, batch, head, qb, qr, qh, start, queries, QUERIES, WIDTH)
        slope = _rows(dy, batch, head, queries * stride, stride, WIDTH, start, queries, QUERIES, WIDTH)
        # Beyond the last query the share is exp2(-inf), nothing.
        level = tl.expand_dims(tl.load(lse + at, mask=row < queries, other=float("inf")), 0)
        share = tl.math.exp2(tl.dot(key, tl.trans(query)) * (scale * LOG2E) - level)
        value_slope += tl.dot(share.to(slope.dtype), slope)
        mean = tl.expand_dims(tl.load(delta + at, mask=row < queries, other=0.0), 0)
        score_slope = share * (tl.dot(value, tl.trans(slope)) - mean)
        key_slope += tl.dot(score_slope.to(query.dtype), query)
    _keep(dk, key_slope * scale, batch, head, kb, kr, kh, first, keys, KEYS, WIDTH)
    _keep(dv, value_slope, batch, head, vb, vr, vh, first, keys, KEYS, WIDTH)


@triton.jit
def _by_queries(
    q, k, v, dy, lse, delta, dq, scale, heads, queries, keys,
    qb, qr, qh, kb, kr, kh, vb, vr, vh,
    QUERIES: tl.constexpr, KEYS: tl.constexpr, WIDTH: tl.constexpr, EVEN: tl.constexpr,
):  # fmt: skip
    """Write the gradients of some queries."""
    first = tl.program_id(0) * QUERIES
    batch, head = tl.program_id(1) // heads, tl.program_id(1) % heads
    stride = heads * WIDTH
    row = first + tl.arange(0, QUERIES)
    at = tl.program_id(1) * queries + row
    query = _rows(q, batch, head, qb, qr, qh, first, queries, QUERIES, WIDTH)
    slope = _rows(dy, batch, head, queries * stride, stride, WIDTH, first, queries, QUERIES, WIDTH)
    level = tl.expand_dims(tl.load(lse + at, mask=row < queries, other=0.0), 1)
    mean = tl.expand_dims(tl.load(delta + at, mask=row < queries, other=0.0), 1)
    query_slope = tl.zeros([QUERIES, WIDTH], dtype=tl.float32)
    for start in range(0, keys, KEYS):
        key = _rows(k, batch, head, kb, kr, kh, start, keys, KEYS, WIDTH)
        value = _rows(v, batch, head, vb, vr, vh, start, keys, KEYS, WIDTH)
        share = tl.math.exp2(tl.dot(query, tl.trans(key)) * (scale * LOG2E) - level)
        if not EVEN:
            share = tl.where(tl.expand_dims(start + tl.arange(0, KEYS) < keys, 0), share, 0.0)
        score_slope = share * (tl.dot(slope, tl.trans(value)) - mean)
        query_slope += tl.dot(score_slope.to(key.dtype), key)
    _keep(dq, query_slope * scale, batch, head, qb, qr, qh, first, queries, QUERIES, WIDTH)


def _sizes(q: torch.Tensor, k: torch.Tensor) -> tuple[int, int, int, int, int]:
    batch, queries, heads, width = q.shape
    return batch, heads, queries, k.shape[1], width


def _strides(*tensors: torch.Tensor) -> tuple[int, ...]:
    strides: list[int] = []
    for tensor in tensors:
        strides += tensor.stride()[:3]
    return tuple(strides)


def attend(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, *, shape: dict[str, Any] = FORWARD
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attend with queries (B, S, heads, D) to keys and values (B, T, heads, D), D a power of two, its step 1.

    Returns (B, S, heads, D), contiguous, and the base-2 logarithm of every query's sum of exponentials (B, heads, S).
    """
    batch, heads, queries, keys, width = _sizes(q, k)
    y = torch.empty(q.shape, dtype=q.dtype, device=q.device)
    lse = torch.empty((batch, heads, queries), dtype=torch.float32, device=q.device)
    grid = (triton.cdiv(queries, shape["QUERIES"]), batch * heads)
    even = keys % shape["KEYS"] == 0
    _attend[grid](
        q, k, v, y, lse, width**-0.5, heads, queries, keys, *_strides(q, k, v), WIDTH=width, EVEN=even, **shape
    )
    return y, lse


def attend_gradient(
    dy: torch.Tensor,
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    y: torch.Tensor,
    lse: torch.Tensor,
    dq: torch.Tensor,
    dk: torch.Tensor,
    dv: torch.Tensor,
    *,
    by_keys: dict[str, Any] = BY_KEYS,
    by_queries: dict[str, Any] = BY_QUERIES,
) -> None:
    """Write the gradients of ``attend``'s q, k and v into dq, dk and dv, laid out like these; dy contiguous."""
    batch, heads, queries, keys, width = _sizes(q, k)
    delta = torch.empty_like(lse)
    _products[(triton.cdiv(queries, PRODUCTS), batch * heads)](
        y, dy, delta, heads, queries, QUERIES=PRODUCTS, WIDTH=width
    )
    given = (q, k, v, dy, lse, delta)
    sizes = (width**-0.5, heads, queries, keys, *_strides(q, k, v))
    # Both at once: one alone leaves part of the card idle, above all where a text's few keys are many pixels'.
    cuda = cast(Any, torch.cuda)
    side = _side_stream(q.device)
    side.wait_stream(cuda.current_stream())
    with cuda.stream(side):
        grid = (triton.cdiv(keys, by_keys["KEYS"]), batch * heads)
        _by_keys[grid](*given, dk, dv, *sizes, WIDTH=width, **by_keys)
    grid = (triton.cdiv(queries, by_queries["QUERIES"]), batch * heads)
    even = keys % by_queries["KEYS"] == 0
    _by_queries[grid](*given, dq, *sizes, WIDTH=width, EVEN=even, **by_queries)
    cuda.current_stream().wait_stream(side)


@cache
def _side_stream(device: torch.device) -> Any:
    """Give a second stream of a card."""
    return cast(Any, torch.cuda).Stream(device)
