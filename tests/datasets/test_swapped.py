"""What was digested is what is decoded: a file that is swapped in between cannot enter a run."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from kolora.datasets import source
from kolora.datasets.source import open_dataset
from kolora.errors import InputAbsent
from kolora.hubs.identity import identify_folder
from kolora.spec.sections.dataset import FolderDataset
from PIL import Image

from tests.faults.damage import DAMAGES, Damage, is_untouched, make_outside


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(2):
        (folder / f"{number}.png").write_bytes(picture(number))
        (folder / f"{number}.txt").write_text(f"picture {number}")
    return folder


def picture(shade: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (40, 40), (shade, shade, shade)).save(buffer, "PNG")
    return buffer.getvalue()


def opened(folder: Path) -> source.Iterator[source.RawPicture]:
    dataset = FolderDataset(source="folder", path=str(folder))
    return open_dataset(dataset, language="zh", identity=identify_folder(folder)[0])[1]


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_picture_swapped_after_it_was_digested_is_refused(folder: Path, tmp_path: Path, damage: Damage) -> None:
    outside = make_outside(tmp_path / "elsewhere")
    pictures = opened(folder)
    damage(folder / "1.png", outside)
    assert next(pictures).source == "0.png"
    with pytest.raises(InputAbsent, match="not those that the run was planned with"):
        next(pictures)
    assert is_untouched(outside)


def test_another_sound_picture_in_its_place_is_refused(folder: Path) -> None:
    pictures = opened(folder)
    (folder / "0.png").write_bytes(picture(99))
    with pytest.raises(InputAbsent):
        next(pictures)


@pytest.mark.parametrize("name", ["0.txt", "metadata.csv"])
@pytest.mark.parametrize("is_put_back", [False, True])
def test_captions_swapped_while_they_are_read_are_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, is_put_back: bool
) -> None:
    if name == "metadata.csv":
        (folder / name).write_text("file_name,text\n0.png,one\n1.png,two\n")
    before, read = (folder / name).read_text(), source.read_folder

    def swap(*given: object, **options: object) -> object:
        (folder / name).write_text(before.replace("one", "another").replace("picture", "another"))
        found = read(*given, **options)  # type: ignore[arg-type]
        if is_put_back:
            (folder / name).write_text(before)
        return found

    monkeypatch.setattr(source, "read_folder", swap)
    with pytest.raises(InputAbsent):
        opened(folder)
