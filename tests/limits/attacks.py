"""Files that are small and would take a machine: each is built, opened as kolora opens its kind, and the peak measured.

``python -m tests.limits.attacks FOLDER`` runs all of them in one process, and prints what came of each as JSON.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

GIB = 2**30
SPARSE = 3 * GIB
REJECTED = -1
"""Stands for a code where one picture is left out, with its reason in the ledger."""


class Attack(NamedTuple):
    """How a file is made, how it is opened, and the code that must come of it; owner: variables of the machine's owner.

    peak: MiB of memory that it may take at most.
    """

    build: Callable[[Path], None]
    open: Callable[[Path], object]
    code: int
    owner: dict[str, str] = {}  # noqa: RUF012 - never written to
    peak: int = 300


def sparse(name: str, head: bytes = b"", size: int = SPARSE) -> Callable[[Path], None]:
    def build(folder: Path) -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        with (folder / name).open("wb") as file:
            file.write(head)
            file.truncate(size)

    return build


def written(name: str, content: bytes | Callable[[], bytes]) -> Callable[[Path], None]:
    def build(folder: Path) -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content if isinstance(content, bytes) else content())

    return build


def both(*builds: Callable[[Path], None]) -> Callable[[Path], None]:
    def build(folder: Path) -> None:
        for each in builds:
            each(folder)

    return build


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, *extra: bytes) -> bytes:
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    rows = zlib.compress(bytes(min(height * (3 * width + 1), 64 << 20)), 9)
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(extra) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def bmp(width: int, height: int) -> bytes:
    return b"BM" + struct.pack("<IIIIiiHHIIiiII", 54, 0, 54, 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)


def gif(width: int, height: int) -> bytes:
    screen = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes(6)
    return screen + b"," + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\x02\x02D\x01\x00;"


def tiff(width: int, height: int, *, tag_bytes: int = 0) -> bytes:
    tags = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (262, 3, 1, 1), (273, 4, 1, 8), (279, 4, 1, 8)]
    if tag_bytes:
        tags.append((700, 1, tag_bytes, 200))
    body = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags) + bytes(4)
    return b"II*\0" + struct.pack("<I", 8) + body


def jpeg(width: int, height: int) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.new("L", (8, 8)).save(file, "JPEG")
    content = bytearray(file.getvalue())
    at = content.index(b"\xff\xc0") + 5
    content[at : at + 4] = struct.pack(">HH", height, width)
    return bytes(content)


def webp(width: int, height: int) -> bytes:
    canvas = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    body = b"WEBPVP8X" + struct.pack("<I", 10) + b"\x02\0\0\0" + canvas
    return b"RIFF" + struct.pack("<I", len(body)) + body


def zipped(files: dict[str, bytes], kind: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", kind) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return file.getvalue()


def tarred(members: Iterator[tuple[str, bytes]], mode: str = "w:gz", **headers: str) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode, format=tarfile.PAX_FORMAT) as archive:  # type: ignore[call-overload]
        for name, content in members:
            entry = tarfile.TarInfo(name)
            entry.size, entry.pax_headers = len(content), headers
            archive.addfile(entry, io.BytesIO(content))
    return file.getvalue()


def swollen_directory(count: int) -> bytes:
    """Make a zip that says that it lists so many files."""
    return zipped({"1.png": b"a"})[:-14] + struct.pack("<HHIIH", 65535, 65535, min(count, 2**32 - 2), 0, 0)


def pickled(content: bytes, storage: bytes = bytes(8), *, kind: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a/data.pkl", content, kind)
        archive.writestr("a/data/0", storage)
    return file.getvalue()


def expanded() -> bytes:
    """Pickle a tensor of 2 ** 40 numbers that are all the same one."""
    storage = b"(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\0" + b"0X\x03\0\0\0cpuK\x02tQ"
    shape = pickle.dumps((2**20, 2**20), 2)[2:-1] + pickle.dumps((0, 0), 2)[2:-1]
    args = b"(" + storage + b"K\x00" + shape + b"\x89ccollections\nOrderedDict\n)Rt"
    return b"\x80\x02}X\x01\0\0\0actorch._utils\n_rebuild_tensor_v2\n" + args + b"Rs."


def deep(depth: int = 200_000, inside: str = "1") -> bytes:
    return ("[" * depth + inside + "]" * depth).encode()


def safetensors(header: bytes, *, length: int | None = None) -> bytes:
    return struct.pack("<Q", len(header) if length is None else length) + header


def read_picture(folder: Path) -> object:
    from kolora.datasets.pictures import Picture
    from kolora.datasets.pictures import read_picture as read

    (path,) = folder.iterdir()
    came = read(path, max_pixels=2**31 - 1)
    if not isinstance(came, Picture):
        raise Rejected(came.reason)
    return came


class Rejected(Exception):
    """One picture of a set is left out."""

    code = REJECTED


def read_folder(folder: Path) -> object:
    from kolora.datasets.folder import read_folder as read

    return read(folder, tuple(sorted(path.name for path in folder.iterdir())), caption="a")


def read_table(folder: Path) -> object:
    from kolora.datasets.tables import read_table as read
    from kolora.spec.sections.dataset import HubDataset

    (name,) = (path.name for path in folder.iterdir())
    return read(folder, name, frozenset(), HubDataset(source="modelscope", id="a/b"))


def unpack(folder: Path) -> object:
    from kolora.datasets.archives import unpack as unpack_archive

    (path,) = folder.iterdir()
    return unpack_archive(path, folder / "into")


def open_pack(folder: Path) -> object:
    from kolora.verification.pack import open_pack as open_submission

    (path,) = folder.iterdir()
    return open_submission(path)


def open_folder_pack(folder: Path) -> object:
    from kolora.verification.pack import open_pack as open_submission

    return open_submission(folder)


def read_rows(folder: Path) -> object:
    from kolora.datasets.parquet import read_rows as read
    from kolora.spec.sections.dataset import HubDataset

    (path,) = folder.iterdir()
    return list(read(path, HubDataset(source="modelscope", id="a/b")))


def parquet() -> bytes:
    import pyarrow
    from pyarrow import parquet as written_parquet

    file = io.BytesIO()
    table = pyarrow.table({"image": [bytes(4_000_000)] * 8, "text": ["a"] * 8})
    written_parquet.write_table(table, file, compression="zstd", use_dictionary=False)
    return file.getvalue()


def read_pickled(folder: Path) -> object:
    from kolora.models.pickled import read_pickled as read

    (path,) = folder.iterdir()
    return read(path)


def read_config(folder: Path) -> object:
    from kolora.configs import read_config as read

    return read(folder)


def weight_files(folder: Path) -> object:
    from kolora.models.weights import weight_files as find

    return find(folder, half=False)


def read_weights(folder: Path) -> object:
    from kolora.models.weights import read_weights as read

    (path,) = folder.iterdir()
    return list(read((path,), device="cpu"))


def read_lora(folder: Path) -> object:
    from kolora.models.lora import read_lora as read

    (path,) = folder.iterdir()
    return read(path)


def adapter_settings() -> bytes:
    """Write a LoRA whose settings are nested without end; a loader takes it as if it had none, or refuses it."""
    settings = {"lora_adapter_metadata": deep(50_000).decode()}
    return safetensors(json.dumps({"__metadata__": settings}).encode())


def load_tokenizer(folder: Path) -> object:
    from kolora.models.tokenizer import Tokenizer

    return Tokenizer(folder)


def load_aesthetics(folder: Path) -> object:
    from kolora.scoring.judges import Aesthetics

    return Aesthetics(folder, device="cpu")


def load_clip(folder: Path) -> object:
    from kolora.scoring.judges import Similarity

    return Similarity(folder, device="cpu")


def spoiled(kind: str, name: str, content: bytes | int) -> Callable[[Path], None]:
    """Take pocket's scorer with one file of another content; a number: so many bytes, sparse."""

    def build(folder: Path) -> None:
        from kolora.hubs.catalogue import POCKET

        for path in (POCKET / kind).iterdir():
            (folder / path.name).write_bytes(path.read_bytes())
        (sparse(name, size=content) if isinstance(content, int) else written(name, content))(folder)

    return build


def with_number(kind: str, name: str, key: str, value: object) -> bytes:
    from kolora.hubs.catalogue import POCKET

    config = json.loads((POCKET / kind / name).read_text(encoding="utf-8"))
    return json.dumps(config | {key: value}).encode()


PICTURES = {
    "png": png(30_000, 30_000),
    "bmp": bmp(30_000, 30_000),
    "gif": gif(65_535, 65_535),
    "tiff": tiff(60_000, 60_000),
    "jpeg": None,
    "webp": webp(16_384, 16_384),
}
TEXT_BOMB = chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(200 << 20), 9))
PROFILE_BOMB = chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(200 << 20), 9))
MEMBERS = {"KOLORA_MAX_MEMBERS": "100"}
SMALL_PICTURES = {"KOLORA_MAX_PICTURE_BYTES": "1000000"}
PROTO = b"\x80\x02"

ATTACKS: dict[str, Attack] = {
    **{
        f"a {kind} of many pixels": Attack(
            written("a", (lambda: jpeg(65_500, 65_500)) if content is None else content), read_picture, REJECTED
        )
        for kind, content in PICTURES.items()
    },
    "a picture above what the owner allows": Attack(
        written("a", png(100, 100)), read_picture, REJECTED, {"KOLORA_MAX_PIXELS": "9999"}
    ),
    "a sparse bmp": Attack(sparse("a", bmp(8, 8)), read_picture, REJECTED),
    "a tiff with a tag of gigabytes": Attack(sparse("a", tiff(8, 8, tag_bytes=SPARSE - GIB)), read_picture, REJECTED),
    "a png with a text that swells": Attack(written("a", png(8, 8, TEXT_BOMB)), read_picture, REJECTED),
    "a png with a profile that swells": Attack(written("a", png(8, 8, PROFILE_BOMB)), read_picture, REJECTED),
    "a sparse caption": Attack(both(written("1.png", b""), sparse("1.txt")), read_folder, 65),
    "a sparse metadata.csv": Attack(sparse("metadata.csv", b"file_name,text\n"), read_folder, 65),
    "a sparse metadata.jsonl": Attack(sparse("metadata.jsonl"), read_folder, 65),
    "a deep metadata.jsonl": Attack(written("metadata.jsonl", deep()), read_folder, 65),
    "a field of megabytes": Attack(
        written("metadata.csv", b"file_name,text\n1.png," + b"a" * 2_000_000), read_folder, 65
    ),
    "a sparse table": Attack(sparse("data.csv"), read_table, 65),
    "a sparse table of lines": Attack(sparse("data.jsonl"), read_table, 65),
    "a deep table": Attack(written("data.jsonl", deep()), read_table, 65),
    "a zip that swells": Attack(written("a.zip", lambda: zipped({"1.png": bytes(300 << 20)})), unpack, 65, peak=400),
    "a zip of many": Attack(
        written("a.zip", lambda: zipped({f"{number}.txt": b"a" for number in range(101)})), unpack, 65, MEMBERS
    ),
    "a zip that lists billions": Attack(written("a.zip", swollen_directory(2**32)), unpack, 65),
    "a zip above what the owner allows": Attack(
        written("a.zip", lambda: zipped({"1.png": os.urandom(3000)})), unpack, 65, {"KOLORA_MAX_UNPACKED_BYTES": "2000"}
    ),
    **{
        f"a tar that swells, {mode}": Attack(
            written("a.tar", lambda mode=mode: tarred(iter([("1.png", bytes(200 << 20))]), f"w:{mode}")),  # type: ignore[misc]
            unpack,
            65,
            peak=500,
        )
        for mode in ("gz", "bz2", "xz")
    },
    "a tar that swells in what is left in it": Attack(
        written("a.tar.gz", lambda: tarred(iter([("1.bin", bytes(300 << 20)), ("1.png", b"a")]))), unpack, 65, peak=500
    ),
    "a tar with a name of megabytes": Attack(
        written("a.tar.gz", lambda: tarred(iter([("1.png", b"a")]), comment="a" * (40 << 20))), unpack, 66, peak=500
    ),
    "a tar of many": Attack(
        written("a.tar", lambda: tarred(((f"{number}.txt", b"a") for number in range(101)), "w")), unpack, 65, MEMBERS
    ),
    "rows that swell": Attack(written("a.parquet", parquet), read_rows, 65, SMALL_PICTURES, peak=500),
    "a submission of many small files that swell": Attack(
        written("a.zip", lambda: zipped({f"images/{number}.png": bytes(1 << 20) for number in range(100)})),
        open_pack,
        65,
    ),
    "a submission that swells": Attack(
        written("a.zip", lambda: zipped({"lora/a.safetensors": bytes(300 << 20)})), open_pack, 65, peak=500
    ),
    "a submission above what the owner allows": Attack(
        sparse("lora/a.safetensors", size=2**20), open_folder_pack, 65, {"KOLORA_MAX_SUBMISSION_BYTES": "1000000"}
    ),
    "a submission of many": Attack(
        both(*(written(f"images/{number}.png", b"a") for number in range(101))), open_folder_pack, 65, MEMBERS
    ),
    "a submission with a sparse file": Attack(sparse("lora/a.safetensors", size=5 * GIB), open_folder_pack, 65),
    "a sparse submission": Attack(
        both(*(sparse(f"lora/{number}.safetensors") for number in range(3))), open_folder_pack, 65
    ),
    "a pickle that numbers its results": Attack(
        written("a.bin", pickled(PROTO + b"}r\xff\xff\xff\x7f.")), read_pickled, 66
    ),
    "a pickle that numbers its results in words": Attack(
        written("a.bin", pickled(PROTO + b"}p4000000000\n.")), read_pickled, 66
    ),
    "a pickle of an array to come": Attack(
        written("a.bin", pickled(b"\x80\x05\x96" + struct.pack("<Q", 2**40) + b".")), read_pickled, 66
    ),
    "a pickle of a word to come": Attack(
        written("a.bin", pickled(b"\x80\x04\x8d" + struct.pack("<Q", 2**40) + b".")), read_pickled, 66
    ),
    "a pickle in a frame to come": Attack(
        written("a.bin", pickled(b"\x80\x04\x95" + struct.pack("<Q", 2**40) + b"}.")), read_pickled, 66
    ),
    "a pickle that swells": Attack(
        written("a.bin", lambda: pickled(PROTO + bytes(200 << 20), kind=zipfile.ZIP_DEFLATED)),
        read_pickled,
        66,
        peak=500,
    ),
    "a pickle of one number said often": Attack(written("a.bin", pickled(expanded())), read_pickled, 66),
    "a deep config": Attack(written("config.json", deep()), read_config, 66),
    "a sparse config": Attack(sparse("config.json"), read_config, 66),
    "a long number": Attack(written("config.json", b'{"a": ' + b"9" * 100_000 + b"}"), read_config, 66),
    "a deep index": Attack(written("a.safetensors.index.json", deep()), weight_files, 66),
    "a sparse index": Attack(sparse("a.safetensors.index.json"), weight_files, 66),
    "a header of megabytes": Attack(
        written("a.safetensors", lambda: safetensors(b'{"__metadata__":{"a":"' + b"a" * (40 << 20) + b'"}}')),
        read_weights,
        66,
    ),
    "a header beyond the file": Attack(written("a.safetensors", safetensors(b"{}", length=2**50)), read_weights, 66),
    "a deep header": Attack(written("a.safetensors", safetensors(deep(10_000))), read_weights, 66),
    "a LoRA's header of megabytes": Attack(
        written("a.safetensors", lambda: safetensors(b'{"__metadata__":{"a":"' + b"a" * (40 << 20) + b'"}}')),
        read_lora,
        66,
    ),
    "a sparse LoRA": Attack(sparse("a.safetensors", safetensors(b"{}"), size=5 * GIB), read_lora, 66),
    "deep settings of a LoRA": Attack(written("a.safetensors", adapter_settings), read_lora, 66),
    "a sparse tokenizer": Attack(sparse("tokenizer.model"), load_tokenizer, 66),
    "a tokenizer that is none": Attack(written("tokenizer.model", b"\x0a\xff\xff\xff\xff\x0f"), load_tokenizer, 66),
    "a scorer's deep config": Attack(spoiled("clip", "config.json", deep()), load_clip, 66),
    "a scorer's deep vocabulary": Attack(spoiled("clip", "vocab.json", deep()), load_clip, 66),
    "a scorer's sparse tokenizer": Attack(spoiled("clip", "tokenizer.json", SPARSE), load_clip, 66),
    "a scorer's sparse merges": Attack(spoiled("clip", "merges.txt", SPARSE), load_clip, 66),
    "a scorer wider than memory": Attack(
        spoiled("aesthetics", "config.json", with_number("aesthetics", "config.json", "hidden_size", 1_000_000)),
        load_aesthetics,
        66,
    ),
    "a scorer of a billion layers": Attack(
        spoiled("aesthetics", "config.json", with_number("aesthetics", "config.json", "num_hidden_layers", 10**9)),
        load_aesthetics,
        66,
    ),
    "a scorer that looks at large pictures": Attack(
        spoiled(
            "aesthetics",
            "preprocessor_config.json",
            with_number("aesthetics", "preprocessor_config.json", "size", {"shortest_edge": 10**6}),
        ),
        load_aesthetics,
        66,
    ),
}


def main(root: Path) -> None:
    """Run all attacks; prints {name: [code, message, MiB]}."""
    # Loaded before anything is measured: libraries take hundreds of megabytes.
    import kolora.models.checkpoint
    import kolora.scoring.judges  # noqa: F401
    from kolora.errors import KoloraError

    came = {}
    for number, (name, attack) in enumerate(ATTACKS.items()):
        folder = root / str(number)
        folder.mkdir()
        attack.build(folder)
        os.environ.update(attack.owner)
        before = _reset_peak()
        code, told = 0, ""
        try:
            attack.open(folder)
        except (KoloraError, Rejected) as problem:
            code, told = problem.code, str(problem)
        except Exception as problem:
            code, told = 70, f"{type(problem).__name__}: {problem}"
        came[name] = [code, told[:500], _peak() - before]
        for variable in attack.owner:
            del os.environ[variable]
    print(json.dumps(came))


def _reset_peak() -> int:
    # Writing 5 makes Linux count the process's peak anew (proc(5)).
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return _peak()


def _peak() -> int:
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) // 1024


if __name__ == "__main__":
    main(Path(sys.argv[1]))
