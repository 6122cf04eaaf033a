"""Pickles give the tensors that were saved, and nothing else happens."""

from __future__ import annotations

import os
import pickle
import random
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from kolora.errors import InputAbsent
from kolora.models.pickled import read_pickled
from torch import nn

from tests.tensors import same

GRID = torch.arange(24, dtype=torch.float32).reshape(4, 6)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.bin"


@pytest.mark.parametrize(
    "saved",
    [
        {"half": GRID.half(), "brain": GRID.bfloat16(), "single": GRID, "double": GRID.double()},
        {"long": GRID.long(), "int": GRID.int(), "byte": GRID.byte(), "bool": GRID > 3},
        {"transposed": GRID.T, "slice": GRID[1:3, ::2], "spread": GRID[:1].expand(5, 6), "scalar": GRID[0, 0]},
        {"whole": GRID, "same again": GRID, "row of it": GRID[2]},
        {"empty": torch.zeros(0, 3), "parameter": nn.Parameter(GRID.clone())},
        OrderedDict(weight=GRID),
        nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)).state_dict(),
    ],
    ids=["floats", "integers", "views", "tied", "odd", "ordered", "state dict"],
)
def test_the_saved_tensors_come_back(path: Path, saved: dict[str, torch.Tensor]) -> None:
    torch.save(saved, path)
    assert same(read_pickled(path), saved)


def test_what_is_read_does_not_write_to_the_file(path: Path) -> None:
    torch.save({"weight": GRID}, path)
    before = path.read_bytes()
    read_pickled(path)["weight"].zero_()
    assert path.read_bytes() == before
    assert same(read_pickled(path), {"weight": GRID})


class Call:
    """Pickles as a call of ``function``, which unpickling makes."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self._call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self._call


@pytest.mark.parametrize(
    ("function", "argument", "named"),
    [
        (os.system, "touch {}", r"posix\.system"),
        (exec, "open({!r}, 'w')", r"__builtin__\.exec"),
        (eval, "open({!r}, 'w')", r"__builtin__\.eval"),
        (getattr, "x", r"__builtin__\.getattr"),
        (torch.load, "{}", r"torch\.serialization\.load"),
        (torch.hub.load_state_dict_from_url, "file://{}", r"torch\.hub"),
    ],
)
@pytest.mark.parametrize("nest", [lambda call: call, lambda call: {"weight": GRID, "more": [call]}])
def test_a_pickle_that_calls_is_refused_before_it_does(
    path: Path, nest: Callable[[Call], Any], function: Callable[..., Any], argument: str, named: str
) -> None:
    sentinel = path.parent / "sentinel"
    torch.save(nest(Call(function, argument.format(str(sentinel)))), path)
    with pytest.raises(InputAbsent, match=rf"model\.bin.*asks for {named}"):
        read_pickled(path)
    assert not sentinel.exists()


def test_the_calls_above_would_have_been_made(path: Path) -> None:
    torch.save(Call(os.system, f"touch {path.parent / 'sentinel'}"), path)
    torch.load(path)
    assert (path.parent / "sentinel").exists()


def rewrite(path: Path, change: Callable[[str, bytes], bytes], *, compression: int = zipfile.ZIP_STORED) -> None:
    """Write an archive anew with right checksums, each entry changed."""
    with zipfile.ZipFile(path) as archive:
        entries = [(name, archive.read(name)) for name in archive.namelist()]
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in entries:
            archive.writestr(name, change(name, data))


def lack_the_pickle(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/version", "3")


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-200]), "not a zip"),
        (lambda path: path.write_bytes(b""), "not a zip"),
        (lambda path: path.write_text("version https://git-lfs.github.com/spec/v1"), "not a zip"),
        (lambda path: path.write_bytes(pickle.dumps({"weight": 1})), "not a zip"),
        (lack_the_pickle, "no data.pkl"),
        (lambda path: rewrite(path, lambda name, data: data[: len(data) // 2]), "(truncated|asks for)"),
        (lambda path: rewrite(path, lambda name, data: data, compression=zipfile.ZIP_DEFLATED), "compressed"),
        (lambda path: torch.save([GRID], path), "something else than a dict of tensors"),
        (lambda path: torch.save({0: GRID}, path), "something else than a dict of tensors"),
        (lambda path: torch.save({"weight": GRID, "epoch": 3}, path), "something else than a dict of tensors"),
        (lambda path: torch.save({"weight": GRID}, path, _use_new_zipfile_serialization=False), "not a zip"),
    ],
)
def test_what_is_no_state_dict_is_named(path: Path, spoil: Callable[[Path], None], named: str) -> None:
    torch.save({"weight": GRID}, path)
    spoil(path)
    with pytest.raises(InputAbsent, match=rf"model\.bin.* {named}"):
        read_pickled(path)


def damaged(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.randint(1, 3)):
        changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed)


def test_any_damage_ends_in_tensors_or_a_named_file(path: Path) -> None:
    """Bytes of the pickle are changed under a right checksum, so that the damage reaches the reader."""
    refused = 0
    for seed in range(200):
        rng = random.Random(seed)
        torch.save({"weight": GRID.T, "bias": nn.Parameter(GRID[0])}, path)
        rewrite(path, lambda name, data, rng=rng: damaged(data, rng) if name.endswith("data.pkl") else data)
        try:
            read = read_pickled(path)
        except InputAbsent:
            refused += 1
        else:
            assert all(isinstance(tensor, torch.Tensor) for tensor in read.values())
    assert 100 < refused < 200
