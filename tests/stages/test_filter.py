"""Filter keeps what Data-Juicer keeps, and its ledger tells how every file fared with every operator."""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import subprocess
import sys
import textwrap
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from kolora.errors import StoryInvalid
from kolora.stages import fetch
from kolora.stages.contract import Job
from kolora.stages.filter import MOST_THUMBNAILS, THUMBNAIL_SIDE, Config, FilterCount, TooFewPictures, run
from PIL import Image

from tests.pictures import make_pictures, truth
from tests.stages.test_fetch import folder_config, job

NOTEBOOK = (
    {"image_shape_filter": {"min_width": 120, "min_height": 80, "any_or_all": "any"}},
    {"image_aspect_ratio_filter": {"min_ratio": 0.5, "max_ratio": 2.0, "any_or_all": "any"}},
)
"""The filters of the notebook, for smaller pictures."""


def config_of(*filters: Any, min_images: int = 1) -> Config:
    return Config.model_validate({"min_images": min_images, "filters": filters})


def fetched(tmp_path: Path, sizes: list[tuple[int, int]], texts: list[str] | None = None) -> Path:
    """Make a finished fetch of pictures of these sizes, the last file being no picture."""
    source = tmp_path / "source"
    source.mkdir()
    for number, size in enumerate(sizes):
        truth(size).save(source / f"{number:03}.png")
        (source / f"{number:03}.txt").write_text(texts[number] if texts else f"text {number}", encoding="utf-8")
    (source / "zzz.jpg").write_text("<html>")
    (tmp_path / "fetch").mkdir()
    this = job(tmp_path / "fetch")
    fetch.run(folder_config(source), this)
    return this.folder


def ledger_of(this: Job) -> list[dict[str, Any]]:
    with (this.folder / "ledger.jsonl").open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def tree(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_two_hundred_mixed_files_end_in_a_complete_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "source"
    made = make_pictures(source)
    (tmp_path / "fetch").mkdir()
    first = job(tmp_path / "fetch")
    fetch.run(folder_config(source, caption="水墨画，\u2028小桥"), first)
    home = tmp_path / "home"
    home.mkdir(mode=0o555)
    monkeypatch.setenv("HOME", str(home))
    this = job(tmp_path, fetch=first.folder)
    facts = run(config_of(*NOTEBOOK), this).model_dump(mode="json", by_alias=True)
    ledger = ledger_of(this)

    assert [line["source"] for line in ledger] == [one.name for one in made]
    for one, line in zip(made, ledger, strict=True):
        width, height = one.size
        if one.fault:
            assert (line["verdict"], line["by"], line["train"], line["operators"]) == ("dropped", "fetch", None, [])
            assert line["reason"].startswith(one.fault)
            assert line["kind"] == one.fault
            continue
        large, square = width >= 120 and height >= 80, 0.5 <= width / height <= 2.0
        assert line["operators"] == [
            {
                "name": "image_shape_filter",
                "values": {"image_width": width, "image_height": height},
                "thresholds": {"min_width": 120, "max_width": None, "min_height": 80, "max_height": None},
                "verdict": "kept" if large else "dropped",
            },
            {
                "name": "image_aspect_ratio_filter",
                "values": {"aspect_ratios": width / height},
                "thresholds": {"min_ratio": 0.5, "max_ratio": 2.0},
                "verdict": "kept" if square else "dropped",
            },
        ]
        by = None if large and square else "image_aspect_ratio_filter" if large else "image_shape_filter"
        assert (line["by"], line["verdict"]) == (by, "dropped" if by else "kept")
        if by == "image_shape_filter":
            assert line["reason"] == f"image_width {width}, image_height {height}; min_width 120, min_height 80"
    kept = [line for line in ledger if line["verdict"] == "kept"]
    shaped = sum(line["by"] in (None, "image_aspect_ratio_filter") for line in ledger)
    assert 20 < len(kept) < shaped < 160
    assert facts == {
        "kept": len(kept),
        "dropped": 200 - len(kept),
        "funnel": [
            {"name": "fetch", "in": 200, "out": 160},
            {"name": "image_shape_filter", "in": 160, "out": shaped},
            {"name": "image_aspect_ratio_filter", "in": shaped, "out": len(kept)},
        ],
    }
    names = [f"{number:02}.jpg" for number in range(1, len(kept) + 1)]
    assert [line["train"] for line in kept] == [f"train/{name}" for name in names]
    shown = [line["thumbnail"] for line in ledger if line["thumbnail"]]
    taken = Counter(line["by"] for line in ledger if line["operators"] and line["by"])
    assert Counter(line["by"] for line in ledger if line["thumbnail"]) == {
        name: min(MOST_THUMBNAILS, count) for name, count in taken.items()
    }
    for line in ledger:
        if line["thumbnail"]:
            with Image.open(this.folder / line["thumbnail"]) as small:
                assert max(small.size) <= THUMBNAIL_SIDE
    assert tree(this.folder) == [
        *("dropped", *shown, "ledger.jsonl", "train"),
        *(f"train/{name}" for name in names),
        "train/metadata.csv",
    ]
    assert tree(home) == []


def test_what_is_kept_is_what_dj_process_keeps(tmp_path: Path) -> None:
    sizes = [(80 + 13 * number, 200 - 6 * number) for number in range(24)]
    texts = ["水墨" * (number % 7) + " one two three" for number in range(24)]
    operators: list[dict[str, dict[str, Any]]] = [
        {"image_shape_filter": {"min_width": 100, "max_height": 190, "max_closed_interval": False}},
        {"text_length_filter": {"min_len": 16, "max_len": 24}},
        {"image_aspect_ratio_filter": {"min_ratio": 0.7, "max_ratio": 1.6, "reversed_range": True}},
        {"image_shape_filter": {"max_width": 330}},
        {"image_size_filter": {"min_size": "400", "max_size": "1 MB"}},
    ]
    first = fetched(tmp_path, sizes, texts)
    this = job(tmp_path, fetch=first)
    run(config_of(*operators), this)
    ours = [line["source"] for line in ledger_of(this) if line["verdict"] == "kept"]
    assert 3 <= len(ours) <= 20
    assert ours == dj_process(tmp_path, texts, operators)


def dj_process(tmp_path: Path, texts: list[str], operators: list[dict[str, dict[str, Any]]]) -> list[str]:
    """Run Data-Juicer's own executor on the source files; return the names of those it exports."""
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    rows = [
        {"text": text, "images": [str(tmp_path / "source" / f"{number:03}.png")]} for number, text in enumerate(texts)
    ]
    (theirs / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = {
        "project_name": "theirs",
        "dataset_path": str(theirs / "rows.jsonl"),
        "export_path": str(theirs / "kept.jsonl"),
        "np": 1,
        "open_tracer": False,
        "process": operators,
    }
    (theirs / "settings.yaml").write_text(json.dumps(settings))
    script = """
        import sys
        from unittest.mock import MagicMock
        # The executors without Ray cannot be imported without Ray.
        names = ("", ".data", ".data.aggregate", ".data.context", ".exceptions", ".experimental", ".util")
        sys.modules.update({"ray" + name: MagicMock() for name in names})
        sys.modules["ray"].is_initialized.return_value = False
        from data_juicer.config import init_configs
        from data_juicer.core import DefaultExecutor
        DefaultExecutor(init_configs(["--config", sys.argv[1]])).run()
    """
    environment = {"PATH": os.environ["PATH"], "HOME": str(theirs), "PYTHONPATH": str(theirs), "HF_HUB_OFFLINE": "1"}
    subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(theirs / "settings.yaml")],
        check=True,
        cwd=theirs,
        env=environment,
    )
    return [Path(json.loads(line)["images"][0]).name for line in (theirs / "kept.jsonl").read_text().splitlines()]


def test_without_filters_all_sound_pictures_are_laid_out_as_diffsynth_reads_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*arguments: object, **options: object) -> None:
        raise AssertionError("a process was started for nothing")

    texts = ["一位少女，微笑", 'she says "hi", twice', "two\nlines"]
    first = fetched(tmp_path, [(100, 60), (64, 64), (30, 90)], texts)
    monkeypatch.setattr(subprocess, "Popen", never)
    this = job(tmp_path, fetch=first)
    facts = run(config_of(), this).model_dump(mode="json", by_alias=True)
    assert facts == {"kept": 3, "dropped": 1, "funnel": [{"name": "fetch", "in": 4, "out": 3}]}
    with (this.folder / "train" / "metadata.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert rows == [["file_name", "text"], *([f"{number:02}.jpg", text] for number, text in enumerate(texts, start=1))]
    dataset = diffsynths_data_set()(str(this.folder), steps_per_epoch=3, height=64, width=64)
    assert dataset.text == texts
    assert [tuple(dataset[index]["image"].shape) for index in range(3)] == [(3, 64, 64)] * 3


def diffsynths_data_set() -> Any:
    """Load DiffSynth's own data set class, without the eight seconds of the package around it."""
    package = importlib.util.find_spec("diffsynth")
    assert package
    assert package.origin
    file = Path(package.origin).parent / "data" / "simple_text_image.py"
    spec = importlib.util.spec_from_file_location("simple_text_image", file)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.TextImageDataset


def test_train_pictures_keep_their_colours_fine(tmp_path: Path) -> None:
    first = fetched(tmp_path, [(64, 64)])
    this = job(tmp_path, fetch=first)
    run(config_of(), this)
    with Image.open(this.folder / "train" / "01.jpg") as image:
        assert {layer[1:3] for layer in image.layer} == {(1, 1)}  # type: ignore[attr-defined]
        assert image.quantization[0][0] <= 2  # type: ignore[attr-defined]


def test_too_few_pictures_say_which_filter_took_how_many_and_leave_the_ledger(tmp_path: Path) -> None:
    first = fetched(tmp_path, [(40, 40), (50, 50), (200, 50), (60, 60)])
    this = job(tmp_path, fetch=first)
    with pytest.raises(TooFewPictures) as caught:
        run(config_of({"image_shape_filter": {"min_width": 55}}, "image_aspect_ratio_filter", min_images=2), this)
    assert isinstance(caught.value, StoryInvalid)
    assert caught.value.error == (
        "1 of 5 pictures are left, dataset.min_images asks for 2: "
        "fetch took 1, image_shape_filter took 2, image_aspect_ratio_filter took 1"
    )
    assert caught.value.hint == "loosen image_shape_filter, or lower dataset.min_images"
    assert caught.value.facts.kept == 1
    assert caught.value.facts.funnel[1] == FilterCount(name="image_shape_filter", entered=4, left=2)
    assert [line["by"] for line in ledger_of(this)] == [
        "image_shape_filter",
        "image_shape_filter",
        "image_aspect_ratio_filter",
        None,
        "fetch",
    ]
    small = [f"dropped/{number:04}.jpg" for number in (1, 2, 3)]
    assert [line["thumbnail"] for line in ledger_of(this)] == [*small, None, None]
    assert tree(this.folder) == ["dropped", *small, "ledger.jsonl"]
