"""Tensors out of torch's zipped ``.bin`` files, without running what a pickle says.

Kolors' text encoder is published as pickles. Unpickling can call anything, and ``weights_only`` of the torch we pin
has a known hole (CVE-2025-32434), so this reader admits exactly the four names that a state dict of tensors needs
and maps the storages straight from the file: a pickle that asks for more is refused before it does anything.
Format: torch/serialization.py; restriction: "Restricting Globals" in Python's pickle documentation.
"""

from __future__ import annotations

import io
import math
import mmap
import pickle
import pickletools
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import torch

from kolora.errors import InputAbsent
from kolora.limits import MAX_HEADER, TooLarge, as_absent, check_zip_directory

_DTYPES = {
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "BoolStorage": torch.bool,
    "ByteStorage": torch.uint8,
}
_REPEATED = 2**24
"""Numbers in all tensors together that their storages do not hold: expanded views."""
_REFUSED = (
    *(pickle.INST, pickle.OBJ, pickle.NEWOBJ, pickle.NEWOBJ_EX, pickle.EXT1, pickle.EXT2, pickle.EXT4),
    *(pickle.BYTEARRAY8, pickle.NEXT_BUFFER, pickle.READONLY_BUFFER),
)
_LOCAL_HEADER = 30
"""Bytes of a zip entry's local header before its name (APPNOTE 4.3.7)."""


def read_pickled(path: Path) -> dict[str, torch.Tensor]:
    """Read a state dict from a ``.bin`` file, its tensors mapped from disk.

    Raises InputAbsent when the file is no zipped torch archive, is damaged, or holds anything but tensors.
    """
    try:
        check_zip_directory(path)
        with zipfile.ZipFile(path) as archive:
            loaded: dict[str, torch.Tensor] = _Tensors(archive, path).load()
    except TooLarge as problem:
        raise as_absent(problem, path.name) from problem
    except Exception as problem:  # a damaged pickle can end in any of them, as Python's documentation says
        raise InputAbsent(
            f"{path.name} is not a state dict of plain tensors: {problem}",
            hint="download the checkpoint again, or take its safetensors files",
        ) from problem
    named = isinstance(loaded, dict) and all(isinstance(name, str) for name in loaded)
    if not named or not all(isinstance(value, torch.Tensor) for value in loaded.values()):
        raise InputAbsent(
            f"{path.name} holds something else than a dict of tensors", hint="download the checkpoint again"
        )
    return loaded


class _Tensors(pickle._Unpickler):
    # The unpickler in Python: that in C lets nobody look at what a state is set on.
    def __init__(self, archive: zipfile.ZipFile, path: Path) -> None:
        names = {info.filename: info for info in archive.infolist()}
        (data,) = [name for name in names if name.endswith("/data.pkl")] or [""]
        if not data:
            raise ValueError("it has no data.pkl")
        self._entries = names
        self._repeated = 0
        self._prefix = data.removesuffix("data.pkl")
        with path.open("rb") as file:
            # A private copy on write: torch wants memory it may write to, and nothing reaches the file.
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        super().__init__(io.BytesIO(_bounded_pickle(archive, data)))

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return self._rebuild_tensor
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return _rebuild_parameter
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no state dict needs")

    def persistent_load(self, pid: Any) -> torch.Tensor:
        kind, dtype, key, _location, count = pid
        if kind != "storage" or not isinstance(dtype, torch.dtype):
            raise pickle.UnpicklingError(f"it refers to a {kind!r}")
        # torch stores every storage uncompressed as an entry data/KEY of its own.
        info = self._entries[f"{self._prefix}data/{key}"]
        if info.compress_type != zipfile.ZIP_STORED or info.file_size != count * dtype.itemsize:
            raise ValueError(f"storage {key} is compressed or has another size than it says")
        # The local header's own lengths: its extra field need not be the central directory's.
        name_length, extra_length = struct.unpack_from("<HH", self._map, info.header_offset + 26)
        start = info.header_offset + _LOCAL_HEADER + name_length + extra_length
        if not count:
            return torch.empty(0, dtype=dtype)
        return torch.frombuffer(self._map, dtype=dtype, count=count, offset=start)

    def _rebuild_tensor(
        self, storage: torch.Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any
    ) -> torch.Tensor:
        # Strides of 0 make many numbers of one, and a copy would write them out.
        self._repeated += max(0, math.prod(size) - storage.numel())
        if self._repeated > _REPEATED:
            raise ValueError(f"a tensor of {tuple(size)} has a storage of {storage.numel()} numbers")
        # torch refuses what would reach beyond the storage.
        return storage.as_strided(size, stride, offset)

    def load(self) -> Any:
        return super().load()

    def load_build(self) -> None:
        """Take what torch adds to a state dict, the versions of its modules, and drop it; refuse all other states.

        Setting a state runs ``__setstate__`` or writes attributes, on whatever the pickle has got hold of: of the
        names above, on functions of ours, dtypes and tensors.
        """
        state = self.stack.pop()  # type: ignore[attr-defined]
        target = self.stack[-1]  # type: ignore[attr-defined]
        if type(target) is not OrderedDict or not isinstance(state, dict) or state.keys() - {"_metadata"}:
            raise pickle.UnpicklingError(f"it sets the state of a {type(target).__name__}")

    def refuse_opcode(self) -> None:
        """Refuse what makes objects otherwise than by the functions above, and what loads what others registered."""
        raise pickle.UnpicklingError("it makes objects in a way that no state dict needs")

    dispatch: ClassVar[dict[int, Any]] = {
        **pickle._Unpickler.dispatch,
        pickle.BUILD[0]: load_build,
        **dict.fromkeys((code[0] for code in _REFUSED), refuse_opcode),
    }


def _bounded_pickle(archive: zipfile.ZipFile, name: str) -> bytes:
    """Read a pickle that takes no more memory than its own length; raises TooLarge, ValueError."""
    with archive.open(name) as file:
        content = file.read(MAX_HEADER.value + 1)
    if len(content) > MAX_HEADER.value:
        raise TooLarge(f"its {name} has more than {MAX_HEADER}", MAX_HEADER)
    # The unpickler in C makes room for as many results as the largest number that one is put under: 283 bytes took
    # 4 GiB. Here lengths are checked too, before anything makes room for what they promise.
    for opcode, argument, _ in _opcodes(content):
        if "PUT" in opcode.name and int(argument or 0) > len(content):
            raise ValueError(f"it numbers its results up to {argument}")
        # Python's own unpickler reads what there is of a frame, and takes that for the whole.
        if opcode.name == "FRAME" and argument > len(content):
            raise ValueError(f"it has a frame of {argument:,} bytes")
    return content


def _opcodes(content: bytes) -> Iterator[tuple[pickletools.OpcodeInfo, Any, int | None]]:
    try:
        yield from pickletools.genops(content)
    except ValueError as problem:
        raise ValueError(f"its pickle is truncated or damaged: {problem}") from problem


_rebuild_parameter: Callable[..., torch.Tensor] = lambda tensor, *_: tensor  # noqa: E731
