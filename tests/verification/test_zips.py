"""What a zip can hide beside its files, at every place that has room; and zips as honest tools write them."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from kolora.verification.pack import SubmissionUnsafe, open_pack

FILES = {"story.yaml": b"kolora: 1\n" * 99, "lora/渡口.safetensors": b"weights" * 99}
UTF_8, STREAMED = 0x800, 8


@dataclass(frozen=True)
class Entry:
    """One entry of a zip, as its own head and as the list say it."""

    name: bytes
    content: bytes
    behind: bytes = b""
    method: int = zipfile.ZIP_DEFLATED
    flags: int = UTF_8
    extra: bytes = b""
    head: Mapping[str, int] | None = None

    def written(self, offset: int) -> tuple[bytes, bytes]:
        packed = self.content
        if self.method == zipfile.ZIP_DEFLATED:
            packer = zlib.compressobj(wbits=-15)
            packed = packer.compress(self.content) + packer.flush()
        packed += self.behind
        said = {"flags": self.flags, "method": self.method, "crc": zlib.crc32(self.content)}
        said |= {"packed": len(packed), "size": len(self.content)}
        heads = []
        for values in (said | dict(self.head or {}), said):
            flags, method, *sizes = values.values()
            head = struct.pack("<HHHHHLLL", 20, flags, method, 0, 0x5000, *sizes)
            heads.append(head + struct.pack("<HH", len(self.name), len(self.extra)))
        listed = b"PK\1\2" + struct.pack("<H", 0x31E) + heads[1]
        listed += struct.pack("<HHHLL", 0, 0, 0, 0, offset) + self.name + self.extra
        return b"PK\3\4" + heads[0] + self.name + self.extra + packed, listed


def zip_of(entries: list[Entry]) -> bytes:
    files, listed = b"", b""
    for entry in entries:
        one, other = entry.written(len(files))
        files, listed = files + one, listed + other
    count = len(entries)
    return files + listed + b"PK\5\6" + struct.pack("<HHHHLLH", 0, 0, count, count, len(listed), len(files), 0)


def entries_of(encoding: str = "utf-8", flags: int = UTF_8) -> list[Entry]:
    return [Entry(name.encode(encoding), content, flags=flags) for name, content in FILES.items()]


def field(kind: int, content: bytes) -> bytes:
    return struct.pack("<HH", kind, len(content)) + content


@pytest.mark.parametrize("encoding", ["utf-8", "gb18030"])
@pytest.mark.parametrize("flags", [0, UTF_8])
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_names_are_read_as_honest_tools_write_them(tmp_path: Path, encoding: str, flags: int, method: int) -> None:
    if flags and encoding != "utf-8":
        pytest.skip("the flag says that it is UTF-8")
    folder = Entry(b"lora/", b"", method=zipfile.ZIP_STORED, flags=flags)
    owner = field(0x5455, b"\3" + bytes(8)) + field(0x7875, b"\1\4" + bytes(4) + b"\4" + bytes(4))
    entries = [replace(entry, method=method, extra=owner) for entry in entries_of(encoding, flags)]
    (tmp_path / "pack.zip").write_bytes(zip_of([folder, *entries]))
    pack = open_pack(tmp_path / "pack.zip")
    assert pack.sizes.keys() == FILES.keys()
    assert pack.faults == ()
    for name, content in FILES.items():
        assert pack.read(name, most=10_000) == content


def with_first(**changes: object) -> list[Entry]:
    first, *others = entries_of()
    return [replace(first, **changes), *others]  # type: ignore[arg-type]


HEADS = ("flags", "method", "crc", "packed", "size")
FIELDS = (0x0001, 0x000A, 0x5455, 0x7875, 0x7075, 0x6375, 0xCAFE)
STORED = zipfile.ZIP_STORED
HIDING: dict[str, Callable[[], list[Entry]]] = {
    "behind what is deflated": lambda: with_first(behind=b"#!/bin/sh\n"),
    "behind what is stored": lambda: with_first(behind=b"#!/bin/sh\n", method=STORED, head={"packed": 990}),
    "a stream in a stream": lambda: with_first(behind=zlib.compress(b"hidden")),
    "in a folder": lambda: [Entry(b"lora/", b"hidden", method=STORED), *entries_of()],
    "in a folder, deflated": lambda: [Entry(b"lora/", b"hidden"), *entries_of()],
    "the name in a field": lambda: with_first(
        extra=field(0x7075, b"\1" + struct.pack("<L", zlib.crc32(b"story.yaml")) + b"evil.sh")
    ),
    **{f"head: {key}": lambda key=key: with_first(head={key: 1}) for key in HEADS},  # type: ignore[misc]
    **{f"field {kind:x}": lambda kind=kind: with_first(extra=field(kind, bytes(2000))) for kind in FIELDS},  # type: ignore[misc]
}


@pytest.mark.parametrize("place", HIDING)
def test_nothing_hides_in_a_zip(tmp_path: Path, place: str) -> None:
    (tmp_path / "pack.zip").write_bytes(zip_of(HIDING[place]()))
    try:
        faults = open_pack(tmp_path / "pack.zip").faults
    except SubmissionUnsafe:
        faults = ("zip_bytes",)
    assert faults == ("zip_bytes",)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_unusual_compression_is_refused(tmp_path: Path, method: int) -> None:
    with zipfile.ZipFile(tmp_path / "pack.zip", "w", method) as archive:
        archive.writestr("story.yaml", b"kolora: 1\n" * 99)
    with pytest.raises(SubmissionUnsafe, match="compressed otherwise"):
        open_pack(tmp_path / "pack.zip")


def test_a_zip_of_a_run_folder_is_read_as_the_folder(tmp_path: Path) -> None:
    names = ["records/run.json", "story.yaml", "work/a/record.json", "logs/a.log", ".lock", "images/work/x"]
    for prefix in ("", "run/"):
        (tmp_path / "pack.zip").write_bytes(zip_of([Entry((prefix + name).encode(), b"x") for name in names]))
        pack = open_pack(tmp_path / "pack.zip")
        assert pack.sizes.keys() == {"records/run.json", "story.yaml", "images/work/x"}
        assert pack.own.keys() == {"work/a/record.json", "logs/a.log", ".lock"}
        assert not {"work", "work/a", "logs"} & set(pack.folders)


@pytest.mark.parametrize("name", ["work", "logs", "export"])
def test_a_file_that_is_called_as_a_folder_is_looked_at(tmp_path: Path, name: str) -> None:
    for each in ("records/run.json", name):
        (tmp_path / "run" / each).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "run" / each).write_bytes(b"#!/bin/sh\n")
    pack = open_pack(tmp_path / "run")
    assert name in pack.sizes
    assert pack.own == {}
