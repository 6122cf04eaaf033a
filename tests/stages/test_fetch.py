"""Fetch accounts for every file of a data set and makes plain pictures of the sound ones."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kolora.errors import InputAbsent, Stopped, StoryInvalid
from kolora.hubs.identity import identify_folder
from kolora.spec.sections.dataset import Dataset
from kolora.stages import fetch
from kolora.stages.contract import Job
from PIL import Image
from pydantic import TypeAdapter

from tests.pictures import corners_of, make_pictures, truth


def config_of(language: str = "zh", identity: str = "", **dataset: Any) -> fetch.Config:
    section = TypeAdapter(Dataset).validate_python(dataset)
    return fetch.config_of(section, identity, language=language)  # type: ignore[arg-type]


def folder_config(folder: Path, **dataset: Any) -> fetch.Config:
    return config_of(identity=identify_folder(folder)[0], source="folder", path=str(folder), **dataset)


def job(tmp_path: Path, tick: Callable[[int, int], None] = lambda done, total: None, **inputs: Path) -> Job:
    folder, state = tmp_path / "job", tmp_path / "state"
    folder.mkdir()
    state.mkdir()
    needed = {(stage, None): path for stage, path in inputs.items()}
    return Job(folder=folder, state=state, inputs=needed, log=tmp_path / "log", checkpoint=None, tick=tick)  # type: ignore[arg-type]


def lines_of(folder: Path) -> list[dict[str, Any]]:
    with (folder / "images.jsonl").open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def test_two_hundred_mixed_files_are_all_accounted_for(tmp_path: Path) -> None:
    source = tmp_path / "source"
    made = make_pictures(source)
    (source / "000.txt").write_text("一座桥", encoding="utf-8")
    ticks: list[tuple[int, int]] = []
    this = job(tmp_path, lambda done, total: ticks.append((done, total)))
    facts = fetch.run(folder_config(source, caption="水墨"), this).model_dump()
    lines = lines_of(this.folder)

    assert [line["source"] for line in lines] == [one.name for one in made]
    assert [line["id"] for line in lines] == [f"{number:04}" for number in range(1, 201)]
    assert sum(bool(one.fault) for one in made) == 40
    for one, line in zip(made, lines, strict=True):
        file = source / one.name
        assert (line["bytes"], line["text"]) == (file.stat().st_size, "一座桥" if one is made[0] else "水墨")
        assert line["sha256"] == identify_folder(source)[1][one.name] if one is made[0] else len(line["sha256"]) == 64
        if one.fault:
            assert (line["verdict"], line["image"]) == ("dropped", None)
            assert line["reason"].split(":")[0] == one.fault
            continue
        assert (line["verdict"], line["reason"]) == ("kept", None), line
        assert (line["width"], line["height"]) == one.size
        assert one.note in " ".join(line["notes"])
        with Image.open(this.folder / line["image"]) as image:
            assert (image.format, image.mode, image.size, image.info.get("icc_profile")) == (
                "PNG",
                "RGB",
                one.size,
                None,
            )
            for seen, meant in zip(corners_of(image), one.corners, strict=True):
                assert max(abs(a - b) for a, b in zip(seen, meant, strict=True)) <= one.off, (one, seen, meant)
    assert facts == {
        "source": "folder",
        "images": 160,
        "dropped": 40,
        "reasons": dict(Counter(one.fault for one in made if one.fault)),
    }
    assert len(list((this.folder / "images").iterdir())) == 160
    assert ticks == [*((done, 200) for done in range(200)), (200, 200)]


def test_a_picture_without_a_caption_is_dropped_where_others_have_one(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name in "ab":
        truth((40, 40)).save(source / f"{name}.png")
    (source / "a.txt").write_text("a bridge")
    this = job(tmp_path)
    facts = fetch.run(folder_config(source), this).model_dump()
    assert facts["reasons"] == {"no caption": 1}
    assert [line["verdict"] for line in lines_of(this.folder)] == ["kept", "dropped"]


def test_a_file_name_that_is_no_text_is_spelt_with_question_marks(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    truth((40, 40)).save(source / "a.png")
    (source / "a.png").rename(source / b"\xff.png".decode("utf-8", "surrogateescape"))
    this = job(tmp_path)
    assert fetch.run(folder_config(source, caption="x"), this).images == 1
    assert lines_of(this.folder)[0]["source"] == "\ufffd.png"


def test_the_digest_covers_the_pictures_and_not_their_place(tmp_path: Path) -> None:
    source = tmp_path / "source"
    make_pictures(source, count=2)
    before = folder_config(source, caption="x")
    moved = folder_config(source.rename(tmp_path / "moved"), caption="x", min_images=9)
    assert before.model_dump_json() == moved.model_dump_json()
    assert str(source) not in before.model_dump_json()
    (tmp_path / "moved" / "000.txt").write_text("another caption")
    assert folder_config(tmp_path / "moved", caption="x").model_dump() != before.model_dump()


def test_a_folder_that_changed_after_the_plan_is_not_taken(tmp_path: Path) -> None:
    source = tmp_path / "source"
    make_pictures(source, count=2)
    planned = folder_config(source, caption="x")
    (source / "more.png").write_bytes(b"")
    with pytest.raises(InputAbsent, match="not those that the run was planned with"):
        fetch.run(planned, job(tmp_path))


def test_a_hub_s_pictures_must_be_in_the_cache(tmp_path: Path) -> None:
    with pytest.raises(InputAbsent, match="some/set is not in the cache") as caught:
        fetch.run(config_of(source="modelscope", id="some/set"), job(tmp_path))
    assert "kolora fetch" in caught.value.hint


def test_a_hub_s_pictures_come_from_the_cache_and_their_place_does_not_count(tmp_path: Path) -> None:
    source = tmp_path / "source"
    make_pictures(source, count=2)
    dataset = TypeAdapter(Dataset).validate_python({"source": "modelscope", "id": "some/set", "caption": "x"})
    digest = identify_folder(source)[0]
    this = fetch.config_of(dataset, digest, folder=source)
    assert this.model_dump() == fetch.config_of(dataset, digest).model_dump()
    facts = fetch.run(this, job(tmp_path)).model_dump()
    assert (facts["source"], facts["images"] + facts["dropped"]) == ("modelscope", len(lines_of(tmp_path / "job")))


def test_a_run_that_is_asked_to_stop_stops_between_two_pictures(tmp_path: Path) -> None:
    def tick(done: int, total: int) -> None:
        if done == 2:
            raise Stopped("asked to stop")

    source = tmp_path / "source"
    make_pictures(source, count=4)
    this = job(tmp_path, tick)
    with pytest.raises(Stopped):
        fetch.run(folder_config(source, caption="x"), this)
    assert len(list((this.folder / "images").iterdir())) == 2


def test_pocket_draws_the_same_set_for_the_same_seed(tmp_path: Path) -> None:
    made = []
    for name, seed in (("a", 7), ("b", 7), ("c", 8)):
        (tmp_path / name).mkdir()
        this = job(tmp_path / name)
        facts = fetch.run(config_of(source="pocket", style="ink", count=4, seed=seed), this).model_dump()
        assert facts == {"source": "pocket", "images": 4, "dropped": 0, "reasons": {}}
        made.append(lines_of(this.folder))
        assert all("\u4e00" <= line["text"][0] <= "\u9fff" for line in made[-1])
        with Image.open(this.folder / made[-1][3]["image"]) as image:
            assert (image.mode, image.size) == ("RGB", (made[-1][3]["width"], made[-1][3]["height"]))
    assert made[0] == made[1]
    assert not {line["sha256"] for line in made[0]} & {line["sha256"] for line in made[2]}
    assert len({line["sha256"] for line in made[0]}) == 4


def test_a_style_that_pocket_cannot_draw_names_those_it_can(tmp_path: Path) -> None:
    with pytest.raises(StoryInvalid, match=r"dataset\.style is 'oil'; pocket's world is drawn in .*ink"):
        fetch.run(config_of(source="pocket", style="oil"), job(tmp_path))
