"""The kernels compile for the cards they are used on; ``kolora.models.self_test`` tries on a GPU what they compute.

Nothing here needs a GPU: compiling stops before the driver.
"""

from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("triton.compiler.backends.cuda", reason="compiles by Triton 2.3, which comes with torch 2.3")

from kolora.models.kernels import attention, elements, norms
from triton.compiler import ASTSource
from triton.compiler.backends.cuda import CUDABackend

FLOATS = {"eps", "scale"}
NUMBERS = {"pixels", "channels", "tiles", "width", "groups", "elements", "heads", "queries", "keys"}
SINGLES = {"means", "squares", "mean_of", "scale_of", "sums", "products", "sum_of", "product_of", "lse", "delta"}
"""Arguments that are no tensors, and tensors that are float32 whatever is computed in."""
CUT: dict[str, Any] = {"PIXELS": norms.PIXELS, "CHANNELS": norms.CHANNELS, "ADDS": True, "SILU": True}
GROUPED: dict[str, Any] = {"PIXELS": norms.PIXELS, "TILES": norms.TILES, "WIDTH": 128}
HEADS: dict[str, Any] = {"WIDTH": 64, "EVEN": False}


def cases() -> Iterator[Any]:
    for kernel in (norms._moments, norms._normalise, norms._sum_slopes, norms._descend):
        yield pytest.param(kernel, CUT, id=kernel.__name__)
    for kernel in (norms._combine_moments, norms._combine_slopes):
        yield pytest.param(kernel, GROUPED, id=kernel.__name__)
    for kernel in (norms._layer_norm, norms._layer_norm_gradient):
        yield pytest.param(kernel, {"ADDS": True, "BLOCK": 2048}, id=kernel.__name__)
    for kernel in (elements._gate, elements._gate_gradient, elements._add):
        yield pytest.param(kernel, {"BLOCK": elements.BLOCK}, id=kernel.__name__)
    yield pytest.param(attention._attend, HEADS | attention.FORWARD, id="_attend")
    yield pytest.param(attention._products, HEADS | {"QUERIES": attention.PRODUCTS}, id="_products")
    yield pytest.param(attention._by_keys, HEADS | attention.BY_KEYS, id="_by_keys")
    yield pytest.param(attention._by_queries, HEADS | attention.BY_QUERIES, id="_by_queries")


def compiled(kernel: Any, given: dict[str, Any], *, capability: int, half: str) -> dict[str, Any]:
    """Compile a kernel down to machine code; returns every stage of it."""
    names = kernel.arg_names
    constants = {names.index(name): value for name, value in given.items() if name in names}
    kinds = {
        index: "fp32"
        if name in FLOATS
        else "i32"
        if name in NUMBERS or (len(name) == 2 and name[0] in "qkv")
        else "*fp32"
        if name in SINGLES
        else f"*{half}"
        for index, name in enumerate(names)
        if index not in constants
    }
    for name in ("dq", "dk", "dv"):
        if name in names:
            kinds[names.index(name)] = f"*{half}"
    backend = CUDABackend(("cuda", capability))
    options = backend.parse_options({name: given[name] for name in ("num_warps", "num_stages") if name in given})
    source = ASTSource(fn=kernel, signature=kinds, constants=constants)
    stages: dict[str, Any] = {}
    backend.add_stages(stages, options)
    facts = {"target": ("cuda", capability), **options.__dict__, **source.metadata()}
    made, module = {}, source.make_ir(options)
    for name, stage in stages.items():
        made[name] = module = stage(module, facts)
    return made | {"shared": facts["shared"]}


@pytest.mark.parametrize(("capability", "half"), [(80, "fp16"), (90, "bf16")])
@pytest.mark.parametrize(("kernel", "given"), list(cases()))
def test_it_compiles_within_a_cards_limits(kernel: Any, given: dict[str, Any], capability: int, half: str) -> None:
    made = compiled(kernel, given, capability=capability, half=half)
    assert made["shared"] <= 99 * 1024, "more shared memory than a card of compute capability 8.6 gives a block"
    assert "st.local" not in made["ptx"], "registers spill"
    products = {80: "mma.sync", 90: "wgmma.mma_async"}[capability]
    multiplies = kernel in (attention._attend, attention._by_keys, attention._by_queries)
    assert (products in made["ptx"]) == multiplies, "the matrix units are not used as they should be"
