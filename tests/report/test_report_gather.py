"""What a report reads of a run folder, whole or broken."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import pytest
from kolora.errors import InputAbsent
from kolora.report import read_report_data
from kolora.report.sections.data import DROPPED_SHOWN, EXAMPLES_SHOWN

from tests.report.run_folder import CHECKPOINT, edit, make_run_folder, replace_file

OUT_OF_MEMORY = {"code": 71, "error": "out of memory", "hint": "lower render.width", "step": "render-04"}
TOO_FEW = {"code": 65, "error": "too few pictures", "hint": "loosen image_shape_filter", "step": "filter"}


def gaps(out: Path) -> list[tuple[str, str]]:
    return [(gap.what, gap.path) for gap in read_report_data(out).gaps]


def test_whole_run_has_no_gaps_and_all_facts(tmp_path: Path) -> None:
    data = read_report_data(make_run_folder(tmp_path / "out"))
    assert data.gaps == ()
    assert data.status == "complete"
    assert data.checkpoint is not None
    assert (data.checkpoint.name, data.checkpoint.digest) == ("pocket", CHECKPOINT)
    assert data.verdict.model_dump(exclude={"rules"}) == {
        "state": "valid",
        "threshold": 6.0,
        "aesthetics_mean": 6.134,
        "clip_mean": 27.94,
        "training_clip_mean": 25.31,
    }
    third = data.scenes[2]
    assert (third.number, third.title, third.seed, third.state) == (3, "悄悄许愿", 33, "done")
    assert (third.aesthetics, third.clip, third.image) == (6.03, 27.3, "images/03.png")
    assert data.training is not None
    assert len(data.training.loss) == 100
    assert data.data is not None
    assert [(count.entered, count.left) for count in data.data.funnel] == [(33, 32), (32, 30), (30, 30)]
    assert [file.by for file in data.data.losses] == ["fetch", "image_shape_filter", "image_shape_filter"]


def test_only_what_differs_from_the_story_is_told_of_a_scene(tmp_path: Path) -> None:
    data = read_report_data(make_run_folder(tmp_path / "out", overrides={3: {"steps": 50, "lora_scale": 0.5}}))
    assert data.scenes[2].differs.model_dump(exclude_none=True) == {"steps": 50, "lora_scale": 0.5}
    assert data.scenes[1].differs.model_dump(exclude_none=True) == {}


def test_failed_run_tells_the_error_and_shows_the_scenes_that_are_done(tmp_path: Path) -> None:
    data = read_report_data(make_run_folder(tmp_path / "out", rendered=3, status="failed", failure=OUT_OF_MEMORY))
    assert data.failure is not None
    assert data.failure.model_dump() == OUT_OF_MEMORY
    assert [scene.state for scene in data.scenes] == ["done"] * 3 + ["failed"] + ["pending"] * 4
    assert [scene.image for scene in data.scenes][:4] == ["images/01.png", "images/02.png", "images/03.png", None]
    assert data.grid is None
    assert data.verdict.state == "not scored"
    assert data.gaps == ()


def test_filters_that_took_too_much_still_show_their_funnel(tmp_path: Path) -> None:
    data = read_report_data(make_run_folder(tmp_path / "out", rendered=0, status="failed", failure=TOO_FEW))
    assert data.data is not None
    assert (data.data.kept, data.data.dropped, len(data.data.funnel), len(data.data.losses)) == (30, 3, 3, 3)
    assert data.training is None


def test_first_dropped_of_each_filter_are_listed_and_all_are_counted(tmp_path: Path) -> None:
    data = read_report_data(make_run_folder(tmp_path / "out", dropped=80))
    assert data.data is not None
    taken = Counter(file.by for file in data.data.losses)
    assert taken == {"fetch": 1, "image_shape_filter": DROPPED_SHOWN}
    assert data.data.dropped == 80
    assert [file.kind for file in data.data.losses][:2] == ["truncated file", None]
    assert [file.thumbnail for file in data.data.losses][:2] == [None, "data/dropped/0002.jpg"]


@pytest.mark.parametrize("step", ["fetch", "filter", "cache_latents", "train", "render-02", "grid", "score"])
def test_absent_record_is_a_gap(tmp_path: Path, step: str) -> None:
    out = make_run_folder(tmp_path / "out")
    (out / f"records/{step}.json").unlink()
    assert gaps(out) == [("absent", f"records/{step}.json")]


@pytest.mark.parametrize("step", ["fetch", "filter", "cache_latents", "train", "render-02", "grid", "score"])
@pytest.mark.parametrize(
    "content", [b"", b'{"step": "tr', b"[1, 2]", b'"a"', b"\xff\xfe\x00", b"[" * 100_000, b'{"step": "\\ud800"}']
)
def test_torn_record_is_a_gap(tmp_path: Path, step: str, content: bytes) -> None:
    out = make_run_folder(tmp_path / "out", scenes=[("a", "b"), ("c", "d")])
    (out / f"records/{step}.json").write_bytes(content)
    assert gaps(out) == [("torn", f"records/{step}.json")]


@pytest.mark.parametrize(
    ("step", "facts"),
    [
        ("train", {"steps": "many"}),
        ("filter", {"kept": 1, "dropped": 1, "funnel": [{"name": "x"}]}),
        ("score", {"scenes": [1, 2]}),
        ("render-01", {"prompt": 5}),
        ("grid", {"width": "wide"}),
        ("fetch", {}),
    ],
)
def test_facts_of_another_shape_are_a_gap(tmp_path: Path, step: str, facts: dict[str, object]) -> None:
    out = make_run_folder(tmp_path / "out", scenes=[("a", "b"), ("c", "d")])
    edit(out / f"records/{step}.json", facts=facts)
    assert gaps(out) == [("torn", f"records/{step}.json")]


@pytest.mark.parametrize("content", [None, b'{"name": "x", "status": "comp'])
def test_run_without_its_own_record_is_told_from_the_steps(tmp_path: Path, content: bytes | None) -> None:
    out = make_run_folder(tmp_path / "out")
    (out / "records/run.json").unlink()
    if content is not None:
        (out / "records/run.json").write_bytes(content)
    data = read_report_data(out)
    assert [(gap.what, gap.path) for gap in data.gaps] == [("torn" if content else "absent", "records/run.json")]
    assert data.status == "partial"
    assert [scene.state for scene in data.scenes] == ["done"] * 8
    assert data.scenes[0].prompt == "一个紫色短发的小女孩，穿着粉色连衣裙，无聊地坐在家里的沙发上，全身"
    assert data.checkpoint is not None
    assert data.checkpoint.name == CHECKPOINT[:12], "an unknown checkpoint has no name to pass for another's"


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("images/02.png", lambda data: data.scenes[1].image),
        ("grid.png", lambda data: data.grid),
        ("data/ledger.jsonl", lambda data: data.data.ledger),
        ("lora/history.json", lambda data: data.training.loss or None),
    ],
)
def test_file_that_is_not_the_recorded_one_is_a_gap_and_not_shown(tmp_path: Path, path: str, shown: object) -> None:
    assert callable(shown)
    out = make_run_folder(tmp_path / "out")
    assert shown(read_report_data(out)) is not None
    (out / path).write_bytes((out / "images/01.png").read_bytes())
    assert gaps(out) == [("changed", path)]
    assert shown(read_report_data(out)) is None
    (out / path).unlink()
    assert gaps(out) == [("absent", path)]


def test_record_of_an_earlier_story_does_not_count(tmp_path: Path) -> None:
    out = make_run_folder(tmp_path / "out")
    edit(out / "records/render-02.json", digest="0" * 64)
    data = read_report_data(out)
    assert [(gap.what, gap.path) for gap in data.gaps] == [("changed", "records/render-02.json")]
    assert data.scenes[1].image is None


def test_pending_step_ignores_what_an_earlier_run_left(tmp_path: Path) -> None:
    out = make_run_folder(tmp_path / "out")
    run = json.loads((out / "records/run.json").read_text(encoding="utf-8"))
    steps = [step | ({"action": "pending"} if step["step"] == "render-08" else {}) for step in run["steps"]]
    edit(out / "records/run.json", steps=steps, status="stopped")
    data = read_report_data(out)
    assert data.scenes[7].state == "pending"
    assert data.scenes[7].image is None
    assert data.gaps == ()


def test_losses_that_are_no_numbers_become_null(tmp_path: Path) -> None:
    out = make_run_folder(tmp_path / "out")
    replace_file(out, "train", "history.json", "lora/history.json", b'{"step": [1, 2, 3], "loss": [0.5, NaN, 1e999]}')
    data = read_report_data(out)
    assert data.training is not None
    assert data.training.loss == (0.5, None, None)


def test_history_of_uneven_length_is_a_gap(tmp_path: Path) -> None:
    out = make_run_folder(tmp_path / "out")
    replace_file(out, "train", "history.json", "lora/history.json", b'{"step": [1, 2, 3], "loss": [0.5]}')
    assert gaps(out) == [("torn", "lora/history.json")]


def test_one_torn_ledger_line_costs_only_itself(tmp_path: Path) -> None:
    out = make_run_folder(tmp_path / "out")
    lines = (out / "data/ledger.jsonl").read_bytes().splitlines()
    torn = b"\n".join([lines[0], lines[1][:20], *lines[2:]])
    replace_file(out, "filter", "ledger.jsonl", "data/ledger.jsonl", torn)
    data = read_report_data(out)
    assert [gap.path for gap in data.gaps] == ["data/ledger.jsonl:2"]
    assert data.data is not None
    assert [file.source for file in data.data.losses] == ["素材/picture-1.png", "素材/picture-3.png"]


def test_the_report_may_have_a_title_of_its_own(tmp_path: Path) -> None:
    out = make_run_folder(tmp_path / "out")
    story = json.loads((out / "records/run.json").read_text(encoding="utf-8"))["story"]
    edit(out / "records/run.json", story=story | {"report": {"title": "另一个名字"}})
    assert read_report_data(out).title == "另一个名字"


def test_numerics_are_told_apart_where_they_differ(tmp_path: Path) -> None:
    out = make_run_folder(tmp_path / "out")
    record = json.loads((out / "records/train.json").read_text(encoding="utf-8"))
    edit(out / "records/train.json", numerics=record["numerics"] | {"device": "cuda"})
    (others, cuda) = read_report_data(out).numerics
    assert cuda.steps == ("train",)
    assert cuda.values["device"] == "cuda"
    assert "render-01" in others.steps
    assert "fetch" not in others.steps, "fetch computes nothing"


def test_likeness_is_told_of_the_story_and_of_each_scene(tmp_path: Path) -> None:
    data = read_report_data(make_run_folder(tmp_path / "out"))
    assert data.coherence is not None
    assert data.style is not None
    assert (data.coherence.mean, data.coherence.baseline_mean, data.coherence.training_mean) == (77.7, 55.5, 66.6)
    assert (data.style.mean, data.style.baseline_mean) == (44.4, 33.3)
    assert (data.scenes[1].coherence, data.scenes[1].style) == (72.0, 32.0)
    assert [scene.baseline for scene in data.scenes] == [f"images/baseline/{number:02d}.png" for number in range(1, 9)]
    silent = read_report_data(make_run_folder(tmp_path / "silent", scored=False, baseline=False))
    assert (silent.coherence, silent.style) == (None, None)
    assert {scene.baseline for scene in silent.scenes} == {None}
    assert silent.gaps == ()


def test_a_file_that_its_record_does_not_list_is_not_shown(tmp_path: Path) -> None:
    out = make_run_folder(tmp_path / "out")
    edit(out / "records/grid.json", files={})
    assert gaps(out) == [("changed", "grid.png")]
    edit(out / "records/train.json", facts={"steps": 1, "samples": [{"step": 1, "file": "../../etc/passwd"}]})
    assert gaps(out)[-1] == ("torn", "records/train.json")


def test_a_story_that_is_none_costs_only_what_it_says(tmp_path: Path) -> None:
    out = make_run_folder(tmp_path / "out")
    edit(out / "records/run.json", story={"scenes": 5})
    data = read_report_data(out)
    assert [(gap.what, gap.path) for gap in data.gaps] == [("torn", "records/run.json")]
    assert data.gaps[0].detail.startswith("story: ")
    assert data.title == "小紫的歌"
    assert len(data.scenes) == 8


def met(out: Path) -> dict[str, bool | None]:
    return {rule.name: rule.met for rule in read_report_data(out).verdict.rules}


def test_rules_of_a_submission(tmp_path: Path) -> None:
    good = {"pictures": True, "aesthetics": True, "lora": False, "name": None, "kolors": True, "complete": True}
    out = make_run_folder(tmp_path / "kolors", checkpoint="kolors")
    assert met(out) == good, "the fixture has no LoRA"
    (out / "lora/pytorch_lora_weights.safetensors").write_bytes(b"x")
    run = out / "records/run.json"
    run.write_text(
        run.read_text(encoding="utf-8").replace('"story": {', '"story": {"team": "墨韵", '), encoding="utf-8"
    )
    assert met(out) == good | {"lora": True, "name": True}
    assert met(make_run_folder(tmp_path / "pocket"))["kolors"] is False
    assert met(make_run_folder(tmp_path / "few", scenes=[("a", "b")]))["pictures"] is False
    failed = met(make_run_folder(tmp_path / "failed", rendered=3, status="failed", failure=OUT_OF_MEMORY))
    assert (failed["pictures"], failed["aesthetics"], failed["complete"]) == (False, None, False)


def test_training_pictures_are_from_all_over_the_data(tmp_path: Path) -> None:
    out = make_run_folder(tmp_path / "out")
    data = read_report_data(out).data
    assert data is not None
    assert len(data.examples) == EXAMPLES_SHOWN
    assert (data.examples[0].path, data.examples[0].text) == ("data/train/01.jpg", "水墨画")
    assert data.examples[-1].path > "data/train/25.jpg"
    shutil.rmtree(out / "data/train")
    assert gaps(out) == [("absent", "data/train")]


def test_samples_of_the_training_are_shown_where_there_are_any(tmp_path: Path) -> None:
    training = read_report_data(make_run_folder(tmp_path / "out", samples=True)).training
    assert training is not None
    assert [(sample.step, sample.scene, sample.path) for sample in training.samples] == [
        (50, 1, "lora/samples/0050-01.png"),
        (100, 1, "lora/samples/0100-01.png"),
    ]


def test_run_that_ended_before_it_began_is_told(tmp_path: Path) -> None:
    failure = {"code": 69, "error": "the hub does not answer", "hint": "try again", "step": None}
    out = make_run_folder(tmp_path / "out", rendered=0, status="failed", failure=failure | {"step": "fetch"})
    edit(out / "records/run.json", steps=[], error=failure)
    data = read_report_data(out)
    assert data.failure is not None
    assert data.failure.error == "the hub does not answer"
    assert [scene.state for scene in data.scenes] == ["pending"] * 8
    assert (data.training, data.data, data.gaps) == (None, None, ())


@pytest.mark.parametrize("made", [False, True])
def test_folder_that_is_no_run_folder_is_refused(tmp_path: Path, made: bool) -> None:
    if made:
        (tmp_path / "out").mkdir()
    with pytest.raises(InputAbsent, match="not a run folder"):
        read_report_data(tmp_path / "out")
