"""A submission's LoRA files, held against those made here of the same weights: header, tensors, nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kolora.errors import InputAbsent
from kolora.verification.statements import read_json
from kolora.verification.words import Finding, brief, excerpt

if TYPE_CHECKING:
    import torch

    from kolora.models.lora import LoraWeights

LONGEST_HEADER = 100 * 2**20
"""What safetensors itself allows."""
HASH = "modelspec.hash_sha256"


def lora_findings(name: str, theirs: Path, ours: Path, *, former: Mapping[str, str | None]) -> Iterator[Finding]:
    """Say where a LoRA file is another than the one made here.

    theirs, ours: places of ours. former: what an older kolora wrote into its header otherwise; None for
    anything.
    """
    from kolora.models.lora import read_metadata, read_tensors

    try:
        stated, made = read_metadata(theirs), read_metadata(ours)
        one, other = read_tensors(theirs), read_tensors(ours)
        _check_header(theirs)
    except (InputAbsent, ValueError) as problem:
        yield Finding("lora_unreadable", (name, str(problem)))
        return
    differing = _differing(one, other)
    if differing:
        yield Finding("lora_other", (name, brief([excerpt(each) for each in differing])))
    for key in sorted(stated.keys() | made.keys()):
        if stated.get(key) == made.get(key) or (key == HASH and differing):
            continue
        if key not in stated:
            yield Finding("lora_header_less", (name, key), "unchecked")
        elif key in former and former[key] in (None, stated[key]):
            yield Finding("other_version", (name, key), "unchecked")
        else:
            yield Finding("lora_header", (name, excerpt(key), excerpt(stated[key]), excerpt(made.get(key))))


def _check_header(path: Path) -> None:
    """Raise ValueError for a header that says a thing twice: safetensors takes one of the two in silence."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > LONGEST_HEADER:
            raise ValueError("its header is too long")
        read_json(file.read(length))


def _differing(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> list[str]:
    """Name the tensors that are not the same on both sides."""
    import torch

    def are_equal(name: str) -> bool:
        if name not in one or name not in other:
            return False
        return one[name].dtype == other[name].dtype and torch.equal(one[name], other[name])

    return [name for name in sorted(one.keys() | other.keys()) if not are_equal(name)]


def different_loras(paths: Sequence[Path]) -> dict[Path, str]:
    """Name the LoRA files that do not hold the first one's weights, each with why it does not load, or nothing."""
    import torch

    from kolora.models.lora import read_lora

    def weights_of(path: Path) -> LoraWeights | str:
        try:
            return read_lora(path)
        except InputAbsent as problem:
            return problem.error

    def are_equal(one: LoraWeights, other: LoraWeights) -> bool:
        if one.pairs.keys() != other.pairs.keys():
            return False
        pairs = [(pair, other.pairs[module]) for module, pair in one.pairs.items()]
        return all(torch.equal(down, its_down) and torch.equal(up, its_up) for (down, up), (its_down, its_up) in pairs)

    # Weights and not bytes: each ecosystem's file has other names and another header.
    first, *others = paths
    expected = weights_of(first)
    if isinstance(expected, str):
        return {first: expected}
    different: dict[Path, str] = {}
    for path in others:
        found = weights_of(path)
        if isinstance(found, str):
            different[path] = found
        elif not are_equal(expected, found):
            different[path] = ""
    return different
