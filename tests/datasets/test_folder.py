"""A folder's pictures find their captions, and what is wrong with the captions is said with its line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from kolora.datasets.folder import CaptionedFile, read_folder
from kolora.errors import InputAbsent, StoryInvalid
from kolora.hubs.identity import files_in


def read(folder: Path, caption: str = "") -> dict[str, str]:
    return {source.path: source.text for source in sources(folder, caption)}


def sources(folder: Path, caption: str = "") -> tuple[CaptionedFile, ...]:
    return read_folder(folder, files_in(folder), caption=caption)


def fill(folder: Path, **contents: str) -> Path:
    for name, content in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content, encoding="utf-8")
    return folder


def test_metadata_goes_before_the_sidecar_and_the_sidecar_before_the_caption_for_all(tmp_path: Path) -> None:
    files = {f"{name}.jpg": "" for name in "abc"} | {"a.txt": "sidecar a", "b.txt": " sidecar b\n"}
    fill(tmp_path, **files, **{"metadata.csv": "file_name,text\na.jpg,metadata a\n"})
    assert read(tmp_path, "all") == {"a.jpg": "metadata a", "b.jpg": "sidecar b", "c.jpg": "all"}


def test_an_empty_caption_in_the_metadata_is_none(tmp_path: Path) -> None:
    fill(tmp_path, **{"a.jpg": "", "metadata.csv": "file_name,text\na.jpg,\n"})
    assert read(tmp_path, "all") == {"a.jpg": "all"}


def test_csv_is_read_as_spreadsheets_write_it(tmp_path: Path) -> None:
    content = '\ufefftext,seed,file_name\r\n"一位少女,微笑\r\n在桥上",7,a.jpg\r\n\r\n"say ""hi""",8,sub\\b.jpg\r\n'
    fill(tmp_path, **{"a.jpg": "", "sub/b.jpg": ""})
    (tmp_path / "metadata.csv").write_bytes(content.encode())
    assert read(tmp_path) == {"a.jpg": "一位少女,微笑\n在桥上", "sub/b.jpg": 'say "hi"'}


def test_jsonl_is_read_by_line(tmp_path: Path) -> None:
    content = '{"file_name": "a.jpg", "text": "水墨\u2028画", "more": 1}\n\n{"file_name": "./b.jpg", "text": "b"}\n'
    fill(tmp_path, **{"a.jpg": "", "b.jpg": "", "metadata.jsonl": content})
    assert read(tmp_path) == {"a.jpg": "水墨\u2028画", "b.jpg": "b"}


def test_decomposed_file_names_are_found(tmp_path: Path) -> None:
    fill(tmp_path, **{"cafe\u0301.jpg": "", "metadata.csv": "file_name,text\ncaf\u00e9.jpg,coffee\n"})
    assert read(tmp_path) == {"cafe\u0301.jpg": "coffee"}


def test_everything_but_captions_hidden_files_and_litter_is_listed_in_order(tmp_path: Path) -> None:
    names = (
        "b.jpg",
        "a.png",
        "notes.txt",
        "sub/c.webp",
        ".hidden.jpg",
        ".git/x.jpg",
        "Thumbs.db",
        "sub/desktop.ini",
        "x.pdf",
    )
    fill(tmp_path, **dict.fromkeys(names, "x"), **{"a.txt": "a"})
    assert list(read(tmp_path, "all")) == ["a.png", "b.jpg", "notes.txt", "sub/c.webp", "x.pdf"]


def test_links_that_leave_the_folder_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    fill(tmp_path, **{"secret.jpg": "x", "folder/a.jpg": "x", "elsewhere/b.jpg": "x", "folder/sub/c.jpg": "x"})
    (folder / "inside.jpg").symlink_to("a.jpg")
    (folder / "outside.jpg").symlink_to("../secret.jpg")
    (folder / "nowhere.jpg").symlink_to("absent.jpg")
    (folder / "round.jpg").symlink_to("round.jpg")
    (folder / "dir").symlink_to("../elsewhere")
    (folder / "sub2").symlink_to("sub")
    os.mkfifo(folder / "pipe.jpg")
    assert {source.path: source.refusal_reason for source in sources(folder, "all")} == {
        "a.jpg": None,
        "dir": "link out of the folder",
        "inside.jpg": None,
        "nowhere.jpg": "broken link",
        "outside.jpg": "link out of the folder",
        "pipe.jpg": "not a regular file",
        "round.jpg": "broken link",
        "sub/c.jpg": None,
        "sub2": "link to a folder",
    }


def test_captions_behind_a_link_out_of_the_folder_are_not_read(tmp_path: Path) -> None:
    fill(tmp_path, **{"secret.txt": "token", "folder/a.jpg": "x"})
    (tmp_path / "folder" / "a.txt").symlink_to("../secret.txt")
    with pytest.raises(InputAbsent, match=r"'a\.txt'.*link out of the folder"):
        sources(tmp_path / "folder", "all")


def test_a_folder_without_any_caption_says_what_to_set(tmp_path: Path) -> None:
    fill(tmp_path, **{"a.jpg": "x"})
    with pytest.raises(StoryInvalid, match="no picture in") as caught:
        sources(tmp_path)
    assert "dataset.caption" in caught.value.hint


@pytest.mark.parametrize(
    ("name", "content", "error", "words"),
    [
        (
            "metadata.csv",
            "image,text\na.jpg,x\n",
            StoryInvalid,
            "no column 'file_name'; its first line has 'image', 'text'",
        ),
        ("metadata.csv", "file_name,caption\na.jpg,x\n", StoryInvalid, "no column 'text'"),
        ("metadata.csv", "", StoryInvalid, "its first line has nothing"),
        (
            "metadata.csv",
            "file_name,text\n\na.jpg,a girl, smiling\n",
            StoryInvalid,
            "line 3 has 3 columns; 2 were expected",
        ),
        ("metadata.csv", "file_name,text\na.jpg\n", StoryInvalid, "line 2 has 1 columns; 2 were expected"),
        ("metadata.csv", 'file_name,text\na.jpg,"open\n', StoryInvalid, "line 2 is not CSV: unexpected end of data"),
        (
            "metadata.csv",
            "file_name,text\na.jpg,x\nb.jpg,x\nc.jpg,x\n",
            InputAbsent,
            "line 3: 'b.jpg', line 4: 'c.jpg'",
        ),
        ("metadata.csv", "file_name,text\na.jpg,x\n./a.jpg,y\n", StoryInvalid, "'./a.jpg' twice, in lines 2 and 3"),
        ("metadata.csv", "file_name,text\n../a.jpg,x\n", StoryInvalid, "line 2 names '../a.jpg', which is outside"),
        (
            "metadata.csv",
            "file_name,text\n/etc/passwd,x\n",
            StoryInvalid,
            "line 2 names '/etc/passwd', which is outside",
        ),
        ("metadata.jsonl", '{"file_name": "a.jpg", "text": "x"}\n{"file_name"\n', StoryInvalid, "line 2 is not JSON"),
        ("metadata.jsonl", "[" * 100_000, StoryInvalid, "line 1 is not JSON"),
        ("metadata.jsonl", '["a.jpg", "x"]\n', StoryInvalid, "line 1 has no 'file_name' that is a string"),
        (
            "metadata.jsonl",
            '{"file_name": "a.jpg", "text": 7}\n',
            StoryInvalid,
            "line 1 has no 'text' that is a string",
        ),
    ],
)
def test_bad_metadata_is_named_with_its_line(
    name: str, content: str, error: type[Exception], words: str, tmp_path: Path
) -> None:
    fill(tmp_path, **{"a.jpg": "x", name: content})
    with pytest.raises(error) as caught:
        sources(tmp_path, "all")
    assert words in str(caught.value)
    assert name in str(caught.value)


def test_two_kinds_of_metadata_are_one_too_many(tmp_path: Path) -> None:
    fill(tmp_path, **{"a.jpg": "x", "metadata.csv": "file_name,text\n", "metadata.jsonl": ""})
    with pytest.raises(StoryInvalid, match=r"both metadata\.csv and metadata\.jsonl"):
        sources(tmp_path, "all")


@pytest.mark.parametrize("name", ["metadata.csv", "a.txt"])
def test_captions_must_be_utf_8(name: str, tmp_path: Path) -> None:
    fill(tmp_path, **{"a.jpg": "x"})
    (tmp_path / name).write_bytes("file_name,text\na.jpg,一位少女\n".encode("gb18030"))
    with pytest.raises(StoryInvalid, match="is not UTF-8") as caught:
        sources(tmp_path, "all")
    assert name in str(caught.value)
