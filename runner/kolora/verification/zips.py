"""A stranger's zip: its entries by the names that they are unpacked under, and what it holds besides its files."""

from __future__ import annotations

import os
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

ENCODINGS = ("utf-8", "gb18030", "cp437")
"""Of names that do not say that they are UTF-8: zip on Linux and macOS, Chinese Windows, and what the format says."""
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
NAME_FIELD, LONG_FIELD = 0x7075, 0x0001
USUAL_FIELDS = {LONG_FIELD: 28, 0x000A: 32, 0x5455: 13, 0x7875: 24, NAME_FIELD: 5 + 2**10}
"""What zips tell of an entry besides, and its greatest length: 64-bit sizes, times, owners, the name in UTF-8."""
LOCAL_BYTES, END_BYTES = 30, 22
"""Of an entry's own head without its name, and of the record at a zip's end without its comment."""
LONG_SIZE = 0xFFFFFFFF
"""In the place of a size that is told in 64 bits elsewhere."""
BLOCK = 1 << 20


def open_zip(path: Path) -> zipfile.ZipFile:
    """Open a zip, its names read as they were most likely written; raises what ``zipfile.ZipFile`` does."""
    for encoding in ENCODINGS[:-1]:
        try:
            return zipfile.ZipFile(path, metadata_encoding=encoding)
        except UnicodeDecodeError:
            continue
    return zipfile.ZipFile(path)


def besides_files(archive: zipfile.ZipFile) -> Iterator[str]:
    """Name what a zip holds besides its files: words that unpackers show, bytes that none of them reads."""
    entries = archive.infolist()
    if archive.comment or any(entry.comment for entry in entries):
        yield "zip_comment"
    if not _fills_its_file(archive, entries):
        yield "zip_bytes"


def _fills_its_file(archive: zipfile.ZipFile, entries: Sequence[zipfile.ZipInfo]) -> bool:
    """Tell whether files, their list and its end follow each other without a gap, with nothing that hides more."""
    file, place = archive.fp, 0
    assert file is not None
    for entry in sorted(entries, key=lambda entry: entry.header_offset):
        length = _entry_length(file, entry) if entry.header_offset == place else None
        if length is None:
            return False
        place += length
    end = file.seek(0, os.SEEK_END) - END_BYTES - len(archive.comment)
    file.seek(max(0, end))
    last = file.read(END_BYTES)
    size, offset = struct.unpack("<LL", last[12:20]) if len(last) == END_BYTES else (0, 0)
    return last.startswith(b"PK\x05\x06") and place == archive.start_dir == offset and offset + size == end


def _entry_length(file: IO[bytes], entry: zipfile.ZipInfo) -> int | None:
    """Return how many bytes of a zip an entry takes; None where these say more, or other things, than the list does."""
    file.seek(entry.header_offset)
    head = file.read(LOCAL_BYTES)
    if len(head) < LOCAL_BYTES:
        return None
    _, _, flags, method, _, _, crc, packed, size, name_length, extra_length = struct.unpack("<4sHHHHHLLLHH", head)
    name, extra = file.read(name_length), file.read(extra_length)
    # With bit 3, checksum and sizes follow the data, after a mark that is optional and in 4 or 8 bytes each.
    is_streamed = bool(entry.flag_bits & 8)
    # Who unpacks while receiving goes by this head alone. Sizes of 64 bits stand in an extra field.
    later = {0} if is_streamed else set[int]()
    is_as_listed = (
        (flags, method) == (entry.flag_bits, entry.compress_type)
        and crc in later | {entry.CRC}
        and packed in later | {entry.compress_size, LONG_SIZE}
        and size in later | {entry.file_size, LONG_SIZE}
    )
    if not is_as_listed:
        return None
    if not all(_are_usual(each, name) for each in (entry.extra, extra)) or not _is_all_content(file, entry):
        return None
    length: int = LOCAL_BYTES + name_length + extra_length + entry.compress_size
    if is_streamed:
        file.seek(entry.header_offset + length)
        length += _descriptor_length(file.read(24), entry)
    return length


def _are_usual(extra: bytes, name: bytes) -> bool:
    """Tell whether extra fields are those that zips have, no longer than what belongs there."""
    place = 0
    while place < len(extra):
        if place + 4 > len(extra):
            return False
        kind, length = struct.unpack("<HH", extra[place : place + 4])
        content = extra[place + 4 : place + 4 + length]
        place += 4 + length
        if len(content) < length or length > USUAL_FIELDS.get(kind, -1):
            return False
        # Another name than the entry's would be unpacked by some tools alone.
        if kind == NAME_FIELD and content != b"\x01" + struct.pack("<L", zlib.crc32(name)) + name:
            return False
    return True


def _is_all_content(file: IO[bytes], entry: zipfile.ZipInfo) -> bool:
    """Tell whether an entry's bytes, which come next, are its content and nothing behind it; a folder has none."""
    if entry.is_dir() and entry.file_size:
        return False
    if entry.compress_type == zipfile.ZIP_STORED:
        return entry.compress_size == entry.file_size
    unpacker, left, unpacked = zlib.decompressobj(-zlib.MAX_WBITS), entry.compress_size, 0
    while left and not unpacker.eof:
        packed = file.read(min(BLOCK, left))
        if not packed:
            return False
        left -= len(packed)
        while packed and not unpacker.eof:
            unpacked += len(unpacker.decompress(packed, BLOCK))
            packed = unpacker.unconsumed_tail
            if unpacked > entry.file_size:
                return False
    return unpacker.eof and not left and not unpacker.unused_data


def _descriptor_length(found: bytes, entry: zipfile.ZipInfo) -> int:
    for mark in (b"PK\x07\x08", b""):
        for form in ("<LLL", "<LQQ"):
            if found.startswith(mark + struct.pack(form, entry.CRC, entry.compress_size, entry.file_size)):
                return len(mark) + struct.calcsize(form)
    return 0
