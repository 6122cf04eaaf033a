"""Data sets in the shapes that hubs serve: parquet, tables, folders and archives, each picture with its text."""

from __future__ import annotations

import csv
import io
import json
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from kolora.datasets.pictures import Picture, Rejection
from kolora.datasets.source import RawPicture, open_dataset
from kolora.errors import InputAbsent, StoryInvalid
from kolora.hubs.identity import identify_folder
from kolora.spec.sections.dataset import HubDataset
from PIL import Image
from pyarrow import parquet


def picture(level: int, format: str = "PNG") -> bytes:  # noqa: A002 - Pillow's own word
    file = io.BytesIO()
    Image.new("RGB", (8, 8), (level, level, level)).save(file, format=format)
    return file.getvalue()


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def read(folder: Path, scratch: Path, **changes: Any) -> list[RawPicture]:
    dataset = HubDataset(source="modelscope", id="some/set", **changes)
    scratch.mkdir(exist_ok=True)
    count, raws = open_dataset(
        dataset, language="zh", identity=identify_folder(folder)[0], folder=folder, scratch=scratch
    )
    found = list(raws)
    assert len(found) == count
    return found


def levels(raws: list[RawPicture]) -> list[tuple[str, int]]:
    return [(raw.text, raw.picture.image.getpixel((0, 0))[0]) for raw in raws if isinstance(raw.picture, Picture)]  # type: ignore[index]


def zipped(files: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return file.getvalue()


def tarred(files: dict[str, bytes], *, link: str | None = None) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
        if link:
            entry = tarfile.TarInfo("link.png")
            entry.type, entry.linkname = tarfile.SYMTYPE, link
            archive.addfile(entry)
    return file.getvalue()


@pytest.mark.parametrize("shape", ["struct", "bytes", "another name"])
def test_parquet_rows_are_pictures_with_their_texts(tmp_path: Path, shape: str) -> None:
    contents = [picture(10), picture(20, "JPEG"), b"no picture", None]
    cells = [{"bytes": each, "path": "a.png"} if shape == "struct" else each for each in contents]
    name = "photo" if shape == "another name" else "image"
    table = pyarrow.table({"id": [1, 2, 3, 4], name: cells, "text": ["甲", "乙", "丙", "丁"]})
    (tmp_path / "set" / "data").mkdir(parents=True)
    for piece in (0, 1):
        parquet.write_table(table, tmp_path / "set" / "data" / f"train-0000{piece}-of-00002.parquet")
    raws = read(tmp_path / "set", tmp_path / "scratch")
    assert levels(raws) == [("甲", 10), ("乙", 20)] * 2
    assert [raw.picture.kind for raw in raws if isinstance(raw.picture, Rejection)] == [
        "not a picture",
        "empty row",
    ] * 2
    assert raws[0].source.startswith("data/train-00000-of-00002.parquet/1")
    assert list((tmp_path / "scratch").iterdir()) == []
    assert levels(read(tmp_path / "set", tmp_path / "scratch", caption="一句")) == [("一句", 10), ("一句", 20)] * 2
    if shape != "struct":
        assert not any(isinstance(raw.picture, Picture) and raw.picture.notes for raw in raws)


@pytest.mark.parametrize("key", ["image_column", "text_column"])
def test_a_parquet_file_without_the_column_says_which_it_has(tmp_path: Path, key: str) -> None:
    table = pyarrow.table({"first": [picture(1)], "second": [picture(2)], "words": ["x"]})
    (tmp_path / "set").mkdir()
    parquet.write_table(table, tmp_path / "set" / "a.parquet")
    changes = {"image_column": "first"} | {key: "absent"}
    with pytest.raises(StoryInvalid, match="'first', 'second', 'words'") as caught:
        read(tmp_path / "set", tmp_path / "scratch", **changes)
    assert key in caught.value.hint
    raws = read(tmp_path / "set", tmp_path / "scratch", image_column="second", text_column="words")
    assert levels(raws) == [("x", 2)]


def test_a_damaged_parquet_file_is_66(tmp_path: Path) -> None:
    write(tmp_path / "set", {"a.parquet": b"PAR1 and no more"})
    with pytest.raises(InputAbsent, match="no whole parquet"):
        read(tmp_path / "set", tmp_path / "scratch")


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
@pytest.mark.parametrize("columns", [("image", "caption"), ("file_name", "text"), ("image:FILE", "prompt")])
def test_tables_name_pictures_by_path(tmp_path: Path, ending: str, columns: tuple[str, str]) -> None:
    rows = [("pictures/a.png", "甲,一"), ("./pictures/b.png", "乙"), ("pictures/gone.png", "丙")]
    file = io.StringIO()
    if ending == "csv":
        csv.writer(file).writerows([(*columns, "other"), *[(*row, "1") for row in rows]])
    else:
        file.write("\n".join(json.dumps(dict(zip(columns, row, strict=True))) for row in rows))
    files = {"pictures/a.png": picture(1), "pictures/b.png": picture(2), "pictures/c.png": picture(3)}
    write(tmp_path / "set", files | {f"list.{ending}": file.getvalue().encode()})
    assert levels(read(tmp_path / "set", tmp_path / "scratch")) == [("甲,一", 1), ("乙", 2)]


def test_pictures_in_folders_have_captions_beside_them_or_one_for_all(tmp_path: Path) -> None:
    write(tmp_path / "set", {"a/1.png": picture(1), "a/1.txt": "自己".encode(), "b/2.jpg": picture(2, "JPEG")})
    assert levels(read(tmp_path / "set", tmp_path / "scratch", caption="众")) == [("自己", 1), ("众", 2)]


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_archives_are_read_like_folders(tmp_path: Path, pack: Any) -> None:
    name = "a.zip" if pack is zipped else "a.tar.gz"
    inside = {"one/1.png": picture(1), "one/1.txt": "里".encode(), "run.py": b"raise", "__MACOSX/1.png": b"litter"}
    write(tmp_path / "set", {name: pack(inside), "0.png": picture(9), "0.txt": "外".encode()})
    raws = read(tmp_path / "set", tmp_path / "scratch")
    assert levels(raws) == [("外", 9), ("里", 1)]
    assert [raw.source for raw in raws] == ["0.png", f"{name}/one/1.png"]
    assert all(len(raw.sha256) == 64 for raw in raws)
    assert not list((tmp_path / "scratch").rglob("run.py"))


@pytest.mark.parametrize("pack", [zipped, tarred])
@pytest.mark.parametrize("name", ["../out.png", "/tmp/out.png", "a/../../out.png"])
def test_an_archive_that_leads_out_is_refused(tmp_path: Path, pack: Any, name: str) -> None:
    write(tmp_path / "set", {"a.zip" if pack is zipped else "a.tgz": pack({name: picture(1)})})
    with pytest.raises(StoryInvalid, match="leads out"):
        read(tmp_path / "set", tmp_path / "scratch", caption="x")
    assert not list(tmp_path.rglob("out.png"))


def test_links_in_an_archive_are_left_in_it(tmp_path: Path) -> None:
    write(tmp_path / "set", {"a.tar.gz": tarred({"1.png": picture(1)}, link="/etc/passwd")})
    assert levels(read(tmp_path / "set", tmp_path / "scratch", caption="x")) == [("x", 1)]
    assert not list((tmp_path / "scratch").rglob("link.png"))


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_a_bomb_is_refused_before_it_fills_the_disk(tmp_path: Path, pack: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kolora.datasets.archives.ALLOWANCE", 0)
    write(tmp_path / "set", {"a.zip" if pack is zipped else "a.tgz": pack({"1.png": bytes(10_000_000)})})
    with pytest.raises(StoryInvalid, match="more than 20 times"):
        read(tmp_path / "set", tmp_path / "scratch", caption="x")


def test_a_damaged_archive_is_66(tmp_path: Path) -> None:
    write(tmp_path / "set", {"a.zip": zipped({"1.png": picture(1)})[:-30]})
    with pytest.raises(InputAbsent, match=r"a\.zip cannot be unpacked"):
        read(tmp_path / "set", tmp_path / "scratch", caption="x")


def test_a_data_set_without_pictures_says_so(tmp_path: Path) -> None:
    write(tmp_path / "set", {"list.csv": b"a,b\n1,2\n"})
    with pytest.raises(StoryInvalid, match="has no pictures"):
        read(tmp_path / "set", tmp_path / "scratch", caption="x")
