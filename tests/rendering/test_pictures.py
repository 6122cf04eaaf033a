"""PNG files say what they show; the grid has every picture in its place and no seams."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from kolora.rendering.pictures import paste_grid, png_bytes
from PIL import Image

COLOURS = [(200, 30 * index, 255 - 30 * index) for index in range(8)]
BLACK = (0, 0, 0)
TEXTS = {
    "kolora.prompt": "二次元，一个紫色短发小女孩，「你好」🐉",
    "kolora.negative_prompt": "",
    "kolora.seed": "9223372036854775807",
    "kolora.title": "line one\nline two " + "long " * 500,
}


def write_pictures(folder: Path, count: int, *, width: int = 64, height: int = 64) -> list[Path]:
    """Write pictures of one colour each."""
    paths = [folder / f"{number:02}.png" for number in range(count)]
    for path, colour in zip(paths, COLOURS, strict=False):
        Image.new("RGB", (width, height), colour).save(path)
    return paths


def pasted(paths: list[Path], *, columns: int, width: int, height: int, gap: int = 0) -> np.ndarray:
    grid = paste_grid(paths, columns=columns, width=width, height=height, gap=gap, background="black")
    assert (grid.size, grid.mode) == ((width, height), "RGB")
    return np.asarray(grid)


def colours(pixels: np.ndarray) -> set[tuple[int, ...]]:
    return {colour for _, colour in Image.fromarray(pixels).getcolors(pixels.size)}


def photo() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8))


def test_a_png_says_what_it_shows() -> None:
    with Image.open(io.BytesIO(png_bytes(photo(), TEXTS))) as opened:
        opened.load()
        assert opened.text == TEXTS
        assert np.array_equal(np.asarray(opened), np.asarray(photo()))


def test_a_png_has_the_same_bytes_every_time() -> None:
    assert png_bytes(photo(), TEXTS) == png_bytes(photo(), dict(TEXTS))
    assert png_bytes(photo(), TEXTS) != png_bytes(photo(), TEXTS | {"kolora.seed": "1"})


def test_pictures_lie_in_the_storys_order(tmp_path: Path) -> None:
    grid = pasted(write_pictures(tmp_path, 8), columns=4, width=512, height=256)
    for index, colour in enumerate(COLOURS):
        row, column = divmod(index, 4)
        assert colours(grid[128 * row : 128 * (row + 1), 128 * column : 128 * (column + 1)]) == {colour}


def test_a_gap_lies_between_pictures_and_not_around_them(tmp_path: Path) -> None:
    grid = pasted(write_pictures(tmp_path, 4), columns=2, width=210, height=210, gap=10)
    assert colours(grid[:, 100:110]) == colours(grid[100:110]) == {BLACK}
    corners = [grid[:100, :100], grid[:100, 110:], grid[110:, :100], grid[110:, 110:]]
    assert [colours(corner) for corner in corners] == [{colour} for colour in COLOURS[:4]]


def test_cells_without_a_picture_show_the_background(tmp_path: Path) -> None:
    grid = pasted(write_pictures(tmp_path, 3), columns=2, width=128, height=128)
    assert colours(grid[64:, 64:]) == {BLACK}
    assert BLACK not in colours(grid[64:, :64])


@pytest.mark.parametrize(
    ("columns", "count", "width", "height"),
    [(4, 8, 1001, 500), (4, 8, 1003, 501), (3, 3, 100, 33), (3, 6, 299, 200), (7, 7, 1000, 143), (1, 3, 67, 200)],
)
def test_sizes_that_do_not_divide_leave_no_seams(
    tmp_path: Path, columns: int, count: int, width: int, height: int
) -> None:
    grid = pasted(write_pictures(tmp_path, count, width=256, height=256), columns=columns, width=width, height=height)
    assert colours(grid) == set(COLOURS[:count])
    cells = [(grid == colour).all(axis=2) for colour in COLOURS[:count]]
    for axis in (0, 1):
        sides = [cell.any(axis=axis).sum() for cell in cells]
        assert max(sides) - min(sides) <= 1


@pytest.mark.parametrize(("columns", "count", "width", "height", "gap"), [(3, 6, 500, 331, 7), (4, 8, 1000, 498, 3)])
def test_gaps_are_equally_wide_everywhere(
    tmp_path: Path, columns: int, count: int, width: int, height: int, gap: int
) -> None:
    grid = pasted(
        write_pictures(tmp_path, count, width=256, height=256), columns=columns, width=width, height=height, gap=gap
    )
    empty = (grid == 0).all(axis=2)
    assert empty.all(axis=0).sum() == gap * (columns - 1)
    assert empty.all(axis=1).sum() == gap * (count // columns - 1)
    assert empty.sum() == height * width - (width - gap * (columns - 1)) * (height - gap * (count // columns - 1))


@pytest.mark.parametrize(("width", "height", "box"), [(128, 64, (0, 25, 100, 75)), (64, 128, (25, 0, 75, 100))])
def test_a_picture_of_another_format_is_shown_whole_in_the_middle(
    tmp_path: Path, width: int, height: int, box: tuple[int, int, int, int]
) -> None:
    grid = pasted(write_pictures(tmp_path, 1, width=width, height=height), columns=1, width=100, height=100)
    left, top, right, bottom = box
    assert colours(grid[top:bottom, left:right]) == {COLOURS[0]}
    assert (grid == COLOURS[0]).all(axis=2).sum() == (right - left) * (bottom - top)


def test_a_picture_of_the_cells_size_is_not_resampled(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    photo().save(path)
    assert np.array_equal(pasted([path, path], columns=2, width=192, height=64)[:, 96:], np.asarray(photo()))
