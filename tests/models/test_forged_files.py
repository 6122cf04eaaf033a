"""LoRA files and pickles that were forged: refused with the file's name, before anything is done with them."""

from __future__ import annotations

import inspect
import json
import math
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from kolora.errors import InputAbsent
from kolora.models import pickled
from kolora.models.lora import read_lora
from kolora.models.pickled import read_pickled
from kolora.models.weights import read_weights
from safetensors.torch import save_file
from torch import nn

from tests.tensors import same

MODULE = "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q"
DOWN, UP = torch.ones(2, 4), torch.ones(4, 2)
PAIR = {f"{MODULE}.lora_A.weight": DOWN, f"{MODULE}.lora_B.weight": UP}


def scale_of(path: Path) -> float:
    ((_, up),) = read_lora(path).pairs.values()
    return float(up[0, 0])


ODD = [math.nan, math.inf, -math.inf, 1e308, -1.0, 0.0, -0.0, 1e-400, 2.0**31]


@pytest.mark.parametrize("alpha", [*ODD, None, "four", "nan", "1e999", [], [2.0], {}, True])
@pytest.mark.parametrize("key", ["unet.lora_alpha", "unet.r"])
def test_a_strength_in_the_header_is_a_number_that_somebody_trained_with(tmp_path: Path, key: str, alpha: Any) -> None:
    settings = {"unet.lora_alpha": 2, "unet.r": 2} | {key: alpha}
    save_file(PAIR, tmp_path / "a.safetensors", {"lora_adapter_metadata": json.dumps(settings)})
    if alpha in (True, 2.0**31) and key == "unet.r":
        assert 0 < scale_of(tmp_path / "a.safetensors") <= 2
    elif alpha is True:
        assert scale_of(tmp_path / "a.safetensors") == 0.5
    else:
        with pytest.raises(InputAbsent, match=r"a\.safetensors"):
            read_lora(tmp_path / "a.safetensors")


@pytest.mark.parametrize(
    "text", ["{", "[]", "4", '"x"', "null", '{"unet.r": 2, "unet.lora_alpha": 2, "unet.r": 1}', "[" * 5000]
)
def test_settings_that_are_none_are_refused(tmp_path: Path, text: str) -> None:
    save_file(PAIR, tmp_path / "a.safetensors", {"lora_adapter_metadata": text})
    with pytest.raises(InputAbsent, match=r"a\.safetensors does not say its strength"):
        read_lora(tmp_path / "a.safetensors")


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("alpha", ODD)
def test_an_alpha_beside_the_matrices_is_one_too(tmp_path: Path, alpha: float, dtype: torch.dtype) -> None:
    tensors = {f"{MODULE}.lora_down.weight": DOWN, f"{MODULE}.lora_up.weight": UP}
    save_file({**tensors, f"{MODULE}.alpha": torch.tensor(alpha, dtype=dtype)}, tmp_path / "a.safetensors")
    with pytest.raises(InputAbsent, match=r"a\.safetensors says alpha"):
        read_lora(tmp_path / "a.safetensors")


@pytest.mark.parametrize("alpha", [torch.ones(2), torch.ones(0), torch.ones(2, 2)])
def test_an_alpha_of_several_numbers_is_none(tmp_path: Path, alpha: torch.Tensor) -> None:
    save_file({**PAIR, f"{MODULE}.alpha": alpha}, tmp_path / "a.safetensors")
    with pytest.raises(InputAbsent, match="holds no number as alpha"):
        read_lora(tmp_path / "a.safetensors")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("which", [0, 1])
def test_matrices_are_finite(tmp_path: Path, value: float, which: int) -> None:
    tensors = {name: tensor.clone() for name, tensor in PAIR.items()}
    list(tensors.values())[which][0, 0] = value
    save_file(tensors, tmp_path / "a.safetensors")
    with pytest.raises(InputAbsent, match="not finite"):
        read_lora(tmp_path / "a.safetensors")


def test_numbers_that_overflow_at_their_own_strength_are_not_finite(tmp_path: Path) -> None:
    save_file({**PAIR, f"{MODULE}.lora_B.weight": UP * 1e38, f"{MODULE}.alpha": torch.tensor(200.0)}, tmp_path / "a")
    with pytest.raises(InputAbsent, match="not finite"):
        read_lora(tmp_path / "a")


def test_one_module_under_two_names_is_refused(tmp_path: Path) -> None:
    plain = MODULE.removeprefix("unet.")
    save_file({**PAIR, f"{plain}.lora.down.weight": DOWN.clone()}, tmp_path / "a.safetensors")
    with pytest.raises(InputAbsent, match="twice, under two names"):
        read_lora(tmp_path / "a.safetensors")


def test_a_rank_of_nothing_is_refused(tmp_path: Path) -> None:
    empty = {f"{MODULE}.lora_A.weight": torch.ones(0, 4), f"{MODULE}.lora_B.weight": torch.ones(4, 0)}
    save_file({**empty, f"{MODULE}.alpha": torch.tensor(1.0)}, tmp_path / "a.safetensors")
    with pytest.raises(InputAbsent, match="lacks a matching pair"):
        read_lora(tmp_path / "a.safetensors")


def forged(header: str | bytes, data: bytes = bytes(64), *, length: int | None = None) -> bytes:
    raw = header.encode() if isinstance(header, str) else header
    return struct.pack("<Q", len(raw) if length is None else length) + raw + data


A, B = (json.dumps(f"{MODULE}.lora_{letter}.weight") for letter in "AB")
TENSOR = '{"dtype":"F32","shape":[2,4],"data_offsets":[0,32]}'
OTHER = '{"dtype":"F32","shape":[4,2],"data_offsets":[32,64]}'
HEADERS: dict[str, bytes] = {
    "a tensor twice": forged(f"{{{A}:{TENSOR},{B}:{OTHER},{A}:{TENSOR}}}"),
    "metadata twice": forged(f'{{"__metadata__":{{}},{A}:{TENSOR},{B}:{OTHER},"__metadata__":{{"a":"b"}}}}'),
    "a key of metadata twice": forged(f'{{"__metadata__":{{"a":"b","a":"c"}},{A}:{TENSOR},{B}:{OTHER}}}'),
    "a dtype twice": forged(f'{{{A}:{{"dtype":"F16",{TENSOR[1:]},{B}:{OTHER}}}'),
    "an escaped name twice": forged(f'{{{A}:{TENSOR},"\\u0075{A[2:]}:{TENSOR},{B}:{OTHER}}}'),
    "overlapping tensors": forged(f"{{{A}:{TENSOR},{B}:{OTHER.replace('[32,64]', '[0,32]')}}}"),
    "a hole": forged(f"{{{A}:{TENSOR},{B}:{OTHER.replace('[32,64]', '[40,72]')}}}", bytes(72)),
    "beyond the end": forged(f"{{{A}:{TENSOR},{B}:{OTHER}}}", bytes(40)),
    "more than is told": forged(f"{{{A}:{TENSOR},{B}:{OTHER}}}", bytes(80)),
    "offsets turned": forged(f"{{{A}:{TENSOR.replace('[0,32]', '[32,0]')},{B}:{OTHER}}}"),
    "negative offsets": forged(f"{{{A}:{TENSOR.replace('[0,32]', '[-32,32]')},{B}:{OTHER}}}"),
    "huge offsets": forged(f"{{{A}:{TENSOR.replace('[0,32]', '[0,18446744073709551615]')},{B}:{OTHER}}}"),
    "a huge shape": forged(f"{{{A}:{TENSOR.replace('[2,4]', '[4611686018427387904,8]')},{B}:{OTHER}}}"),
    "a negative shape": forged(f"{{{A}:{TENSOR.replace('[2,4]', '[-2,-4]')},{B}:{OTHER}}}"),
    "another dtype": forged(f"{{{A}:{TENSOR.replace('F32', 'X99')},{B}:{OTHER}}}"),
    "metadata that are numbers": forged(f'{{"__metadata__":{{"a":1}},{A}:{TENSOR},{B}:{OTHER}}}'),
    "metadata that are a list": forged(f'{{"__metadata__":["a"],{A}:{TENSOR},{B}:{OTHER}}}'),
    "metadata that nest": forged(f'{{"__metadata__":{{"a":{{}}}},{A}:{TENSOR},{B}:{OTHER}}}'),
    "NaN": forged(f'{{"__metadata__":{{"a":NaN}},{A}:{TENSOR},{B}:{OTHER}}}'),
    "no object": forged("[]"),
    "no JSON": forged("{"),
    "no UTF-8": forged(b'{"\xff\xfe":' + TENSOR.encode() + b"}"),
    "deep": forged('{"a":' + "[" * 100_000 + "]" * 100_000 + "}"),
    "a length beyond the end": forged("{}", length=10_000),
    "an endless length": forged("{}", length=2**64 - 1),
    "a length of nothing": forged("", length=0),
    "nothing": b"",
    "a few bytes": b"\1\2\3",
}


@pytest.mark.parametrize("kind", HEADERS)
def test_a_header_that_says_two_things_or_none_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(HEADERS[kind])
    with pytest.raises(InputAbsent, match=r"a\.safetensors"):
        read_lora(path)
    with pytest.raises(InputAbsent, match=r"a\.safetensors"):
        [read() for _, read in read_weights((path,), device="cpu")]


def test_the_header_that_those_are_made_of_is_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(forged(f'{{"__metadata__":{{"a":"b"}},{A}:{TENSOR},{B}:{OTHER}}}'))
    assert len(read_lora(tmp_path / "a").pairs) == 1


def archive(path: Path, stream: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("archive/data.pkl", stream)
        file.writestr("archive/data/0", bytes(96))
    return path


STORAGE = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x18tQ"
TARGETS = {
    "our function": b"ctorch._utils\n_rebuild_tensor_v2\n",
    "our other function": b"ctorch._utils\n_rebuild_parameter\n",
    "our function by its stack": b"\x8c\x0ctorch._utils\x8c\x12_rebuild_tensor_v2\x93",
    "the class": b"ccollections\nOrderedDict\n",
    "a dtype": b"ctorch\nFloatStorage\n",
    "a storage": STORAGE,
    "a tensor": b"ctorch._utils\n_rebuild_tensor_v2\n(" + STORAGE + b"K\x00(K\x04K\x06t(K\x06K\x01t\x89tR",
    "a dict": b"}",
    "a list": b"]",
    "a text": b"X\x01\x00\x00\x00x",
    "a number": b"K\x01",
    "an ordered dict": b"ccollections\nOrderedDict\n)R",
}
STATES = {
    "attributes": b"}X\x08\x00\x00\x00__call__K\x01s",
    "defaults": b"}X\x0c\x00\x00\x00__defaults__)s",
    "class": b"}X\x09\x00\x00\x00__class__K\x01s",
    "slots": b"N}X\x01\x00\x00\x00xK\x01s\x86",
    "four": b"(" + STORAGE + b"K\x00K\x01K\x01t",
}


def attributes() -> dict[str, dict[str, Any]]:
    """What functions and classes of the unpickler's module have on them."""
    own = {name: value for name, value in vars(pickled).items() if inspect.isfunction(value) or inspect.isclass(value)}
    return {name: dict(vars(value)) for name, value in own.items()} | {"float32": {"call": callable(torch.float32)}}


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("target", TARGETS)
def test_no_state_is_set_on_anything(tmp_path: Path, target: str, state: str) -> None:
    before = attributes()
    stream = b"\x80\x02}X\x01\x00\x00\x00w" + TARGETS[target] + STATES[state] + b"bs."
    with pytest.raises(InputAbsent, match=r"a\.bin is not a state dict of plain tensors: it sets the state of"):
        read_pickled(archive(tmp_path / "a.bin", stream))
    assert attributes() == before


NAMES = {
    "a module of ours": b"ckolora.models.pickled\nread_pickled\n",
    "the unpickler": b"ckolora.models.pickled\n_Tensors\n",
    "redaction": b"ckolora.redaction\nscrub\n",
    "a dotted name": b"\x8c\x0bcollections\x8c\x14OrderedDict.fromkeys\x93",
    "a dotted function": b"\x8c\x0ctorch._utils\x8c\x1e_rebuild_tensor_v2.__globals__\x93",
    "a dotted dtype": b"\x8c\x05torch\x8c\x16FloatStorage.__class__\x93",
    "builtins": b"c__builtin__\neval\n",
    "torch itself": b"ctorch\nload\n",
    "a storage of another kind": b"ctorch\nUntypedStorage\n",
    "an alias": b"ctorch.storage\nFloatStorage\n",
}
CALLS = {
    "called": b"%s)R",
    "named": b"%s",
    "as an instance": b"%s)\x81",
    "as an instance with names": b"%s)}\x92",
    "as an object": b"(%so",
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("name", NAMES)
def test_no_other_name_is_found(tmp_path: Path, name: str, call: str) -> None:
    stream = b"\x80\x04}X\x01\x00\x00\x00w" + CALLS[call] % NAMES[name] + b"s."
    with pytest.raises(InputAbsent, match=r"a\.bin is not a state dict of plain tensors: it asks for"):
        read_pickled(archive(tmp_path / "a.bin", stream))


@pytest.mark.parametrize("target", ["our function", "the class", "a dtype"])
@pytest.mark.parametrize("call", ["as an instance", "as an instance with names", "as an object"])
def test_nothing_is_made_but_by_a_plain_call(tmp_path: Path, target: str, call: str) -> None:
    stream = b"\x80\x04}X\x01\x00\x00\x00w" + CALLS[call] % TARGETS[target] + b"s."
    with pytest.raises(InputAbsent, match="makes objects in a way that no state dict needs"):
        read_pickled(archive(tmp_path / "a.bin", stream))


ARGUMENTS = (
    *(b")", b"(K\x01K\x02K\x03K\x04t", b"(NNNNt", b"(X\x01\x00\x00\x00xK\x00)(K\x01tt", b"((lK\x00))t"),
    b"(" + STORAGE + b"K\x00(J\xff\xff\xff\xfft(K\x01tt",
    b"(" + STORAGE + b"K\x00(J\xff\xff\xff\x7ft(K\x01tt",
    b"(" + STORAGE + b"J\xff\xff\xff\xff(K\x04t(K\x01tt",
    b"(" + STORAGE + b"K\x00(K\x04t(J\xff\xff\xff\xfftt",
    b"(" + STORAGE + b"K\x00(K\x18K\x18t(K\x01K\x01tt",
)


@pytest.mark.parametrize("arguments", ARGUMENTS)
@pytest.mark.parametrize("function", ["our function", "our function by its stack", "a dtype"])
def test_our_functions_take_nothing_but_tensors(tmp_path: Path, function: str, arguments: bytes) -> None:
    stream = b"\x80\x04}X\x01\x00\x00\x00w" + TARGETS[function] + arguments + b"Rs."
    with pytest.raises(InputAbsent, match=r"a\.bin"):
        read_pickled(archive(tmp_path / "a.bin", stream))


@pytest.mark.parametrize("protocol", range(2, 6))
@pytest.mark.parametrize(
    "make", [lambda: {"w": torch.ones(4, 6)}, nn.Linear(3, 2).state_dict, lambda: OrderedDict(w=torch.ones(2))]
)
def test_what_torch_saves_is_read(tmp_path: Path, make: Callable[[], dict[str, torch.Tensor]], protocol: int) -> None:
    torch.save(make(), tmp_path / "a.bin", pickle_protocol=protocol)
    assert same(read_pickled(tmp_path / "a.bin"), make())
    assert pickle.DEFAULT_PROTOCOL in range(2, 6)
