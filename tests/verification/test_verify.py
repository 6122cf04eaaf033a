"""Verify by the command line: an honest submission is identical, each tampering has its verdict, none harms anybody."""

from __future__ import annotations

import io
import json
import os
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from kolora.export.finished import read_finished
from kolora.export.submission import write_pack
from kolora.runfolder.manifest import write_manifest
from kolora.verification.verdict import TOLERANCES, judge_picture, tolerance_of, worst
from PIL import Image

from tests.commands import left
from tests.stories import write_story
from tests.tampering import LORA, change_weight, forge, in_yaml, set_pixel
from tests.verification.forger import copied

KOHYA = "lora/渡口-可图Kolors训练-一只小猫.safetensors"


@pytest.fixture
def pack(done: Path, tmp_path: Path) -> Path:
    return copied(done / "pack", tmp_path / "pack")


@pytest.fixture
def run_folder(done: Path, tmp_path: Path) -> Path:
    return copied(done / "run", tmp_path / "run")


def verified(submission: Path, done: Path, *options: object, out: Path | None = None) -> tuple[int, dict[str, Any]]:
    """Verify a submission, in a folder that keeps what was rebuilt; returns the exit code and what verify.json says."""
    out = out or done / "verified"
    (out / "verify.json").unlink(missing_ok=True)
    code = left("verify", submission, "-o", out, "--checkpoint", done / "checkpoint", *options)
    told = out / "verify.json"
    return code, json.loads(told.read_text(encoding="utf-8")) if told.is_file() else {}


def found(facts: dict[str, Any], verdict: str = "different") -> str:
    return "\n".join(each["what"] for each in facts["findings"] if each["verdict"] == verdict)


def test_an_honest_submission_is_identical_as_folder_and_as_zip(pack: Path, done: Path, tmp_path: Path) -> None:
    code, facts = verified(pack, done)
    assert (code, facts["verdict"]) == (0, "identical")
    assert facts["findings"] == facts["unchecked"] == facts["overrides"] == []
    assert [(scene["same_file"], scene["psnr"]) for scene in facts["scenes"]] == [(True, None)] * 2
    assert facts["retrained"]["same_lora"]
    page = (done / "verified" / "verify.html").read_text(encoding="utf-8")
    assert page.count("data:image/jpeg") == 6
    assert "<script" not in page
    assert (done / "verified" / facts["report"]).is_file(), "the report that was made here"
    with zipfile.ZipFile(tmp_path / "pack.zip", "w") as archive:
        for path in sorted(path for path in pack.rglob("*") if path.is_file()):
            archive.write(path, Path("队伍-可图Kolors训练-小猫") / path.relative_to(pack))
    kept = (done / "verified" / "again" / "records" / "train.json").read_bytes()
    code, facts = verified(tmp_path / "pack.zip", done)
    assert (code, facts["verdict"]) == (0, "identical")
    assert (done / "verified" / "again" / "records" / "train.json").read_bytes() == kept, "trained once"


def test_an_honest_run_folder_is_identical_and_told_by_its_records(done: Path) -> None:
    code, facts = verified(done / "run", done)
    assert (code, facts["verdict"]) == (0, "identical")
    assert facts["unchecked"] == []
    assert {each["key"] for each in facts["findings"]} == {"passed_over", "told_by_run"}


def test_what_is_not_trained_again_is_named(
    pack: Path, done: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, facts = verified(pack, done, "--no-retrain", out=tmp_path / "verified")
    assert (code, facts["verdict"]) == (0, "equivalent")
    assert [scene["same_file"] for scene in facts["scenes"]] == [True, True]
    assert any("--no-retrain" in each for each in facts["unchecked"])
    assert any("report.json tells of data and training" in each for each in facts["unchecked"])
    assert not any("another machine" in each for each in facts["unchecked"]), "it is this one"
    assert not found(facts)
    assert "nothing speaks against it, but not everything could be checked here" in capsys.readouterr().out
    values = json.loads((pack / "report.json").read_text(encoding="utf-8"))
    values["scenes"][0]["clip"] += 0.5
    (pack / "report.json").write_text(json.dumps(values), encoding="utf-8")
    write_manifest(pack)
    code, facts = verified(pack, done, "--no-retrain", out=tmp_path / "verified")
    assert code == 76
    code, facts = verified(copied(done / "pack", tmp_path / "other"), done, out=tmp_path / "verified")
    assert facts["verdict"] == "identical", "what was put in the place of the training is gone"


def test_what_is_not_trained_again_is_no_other_machine_in_records_either(done: Path, tmp_path: Path) -> None:
    code, facts = verified(done / "run", done, "--no-retrain", out=tmp_path / "verified")
    assert (code, facts["verdict"]) == (0, "equivalent")
    assert not any("another machine" in each for each in facts["unchecked"])


def test_a_zip_that_a_mac_packed_is_told_file_by_file(pack: Path, done: Path, tmp_path: Path) -> None:
    added = ["__MACOSX/._小猫", "__MACOSX/小猫/._grid.png", "小猫/.DS_Store", "小猫/images/.DS_Store"]
    with zipfile.ZipFile(tmp_path / "pack.zip", "w") as archive:
        for path in sorted(path for path in pack.rglob("*") if path.is_file()):
            archive.write(path, Path("小猫") / path.relative_to(pack))
        for name in added:
            archive.writestr(name, b"\0\5\x16\7")
    code, facts = verified(tmp_path / "pack.zip", done, out=done / "verified")
    assert code == 76
    assert {each["key"] for each in facts["findings"]} == {"foreign"}
    assert sorted(each["values"][0] for each in facts["findings"]) == sorted(
        name.removeprefix("小猫/") for name in added
    )


def test_one_changed_pixel_is_found(pack: Path, done: Path) -> None:
    set_pixel(pack, lambda red: red ^ 1)
    code, facts = verified(pack, done)
    assert code == 76
    assert "images/01.png: its sha256 differs from manifest.sha256" in found(facts)
    assert "images/01.png: its sha256 differs from story.lock.yaml" in found(facts)
    assert facts["scenes"][0]["verdict"] == "equivalent"
    forge(pack)
    code, facts = verified(pack, done)
    assert (code, facts["verdict"]) == (0, "equivalent")
    assert facts["scenes"][0]["changed"] == 1
    assert 0 < facts["scenes"][0]["worst_block"] < TOLERANCES["float32"].worst_block
    set_pixel(pack, lambda red: 255 - red if abs(255 - 2 * red) > 60 else 0 if red > 100 else 255)
    forge(pack)
    code, facts = verified(pack, done)
    assert code == 76
    assert any("worst block" in why["what"] for why in facts["scenes"][0]["reasons"])


@pytest.mark.parametrize(("key", "value"), [("seed", 7), ("prompt", "一只黑色小狗")])
def test_another_seed_or_prompt_is_found_however_much_is_forged(
    pack: Path, done: Path, tmp_path: Path, key: str, value: object
) -> None:
    in_yaml(pack / "story.yaml", lambda story: story["scenes"][0].update({key: value}))
    code, facts = verified(pack, done, "--no-retrain", out=tmp_path / "verified")
    assert code == 76
    assert f"scenes.1.{key} is {value}, in story.lock.yaml it is" in found(facts)
    assert "story.yaml: its sha256 differs from manifest.sha256" in found(facts)
    in_yaml(pack / "story.lock.yaml", lambda lock: lock["story"]["scenes"][0].update({key: value}))
    forge(pack)
    code, facts = verified(pack, done, "--no-retrain", out=tmp_path / "verified")
    assert code == 76
    assert f"images/01.png states iTXt kolora.{key}" in found(facts)
    assert not facts["scenes"][0]["same_file"]


def test_a_lock_that_puts_other_prompts_in_the_storys_place_is_told(
    pack: Path, run_folder: Path, done: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for submission, verdict in ((pack, "different"), (run_folder, "equivalent")):
        lock = yaml.safe_load((submission / "story.lock.yaml").read_text(encoding="utf-8"))
        prompt = lock["story"]["scenes"][0]["prompt"]
        in_yaml(submission / "story.yaml", lambda story: story["scenes"][0].update(prompt="一位穿红裙的公主"))
        in_yaml(submission / "story.lock.yaml", lambda lock: lock.update(overrides=[f"scenes.1.prompt={prompt}"]))  # noqa: B023
        write_manifest(submission)
        code, facts = verified(submission, done)
        # A run folder's report shows the story file; this one was not forged, so what it shows is not that.
        assert (code, facts["verdict"]) == (76, "different")
        assert facts["overrides"] == [{"key": "scenes.1.prompt", "run": prompt, "story": "一位穿红裙的公主"}]
        assert f"scenes.1.prompt was {prompt} when the story was run" in found(
            facts, "different" if verdict == "different" else "unchecked"
        )
        assert "scenes.1.prompt is not the story's: run with --set" in capsys.readouterr().err


def test_an_honest_run_with_set_is_equivalent_and_its_export_identical(
    done: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, out = tmp_path / "run", tmp_path / "verified"
    assert (
        left("run", done / "story.yaml", "-o", run, "--set", "scenes.1.seed=5", "--set", "lora.learning_rate=0.002")
        == 0
    )
    code, facts = verified(run, done, out=out)
    assert (code, facts["verdict"]) == (0, "equivalent")
    assert [each["key"] for each in facts["overrides"]] == ["lora.learning_rate", "scenes.1.seed"]
    assert "scenes.1.seed is not the story's: run with --set" in capsys.readouterr().out
    write_pack(read_finished(run), tmp_path / "pack", name=Path(KOHYA).stem)
    code, facts = verified(tmp_path / "pack", done, out=out)
    assert (code, facts["verdict"], facts["findings"]) == (0, "identical", [])


def test_another_weight_is_found_by_its_digest_and_by_training_again(pack: Path, done: Path, tmp_path: Path) -> None:
    change_weight(pack, by=1e-6)
    code, facts = verified(pack, done, out=tmp_path / "verified")
    assert code == 76
    assert f"{LORA}: its sha256 differs from story.lock.yaml" in found(facts)
    for name in ("lora/diffsynth.safetensors", KOHYA):
        change_weight(pack, by=1e-6, file=name)
    forge(pack)
    code, facts = verified(pack, done, out=tmp_path / "verified")
    assert facts["verdict"] != "identical"
    assert not facts["retrained"]["same_lora"]
    again = verified(pack, done, out=tmp_path / "verified")[1]
    assert again["verdict"] == facts["verdict"], "also from what is kept"
    assert "the LoRA is another one" in found(facts, "unchecked")


def test_a_forged_report_is_not_believed(pack: Path, done: Path) -> None:
    report = json.loads((pack / "report.json").read_text(encoding="utf-8"))
    report["scenes"][0]["aesthetics"], report["verdict"]["aesthetics_mean"] = 9.9, 9.9
    (pack / "report.json").write_text(json.dumps(report), encoding="utf-8")
    forge(pack)
    code, facts = verified(pack, done)
    assert code == 76
    assert "report.json: scenes.1.aesthetics is 9.9, made here it is" in found(facts)
    assert "report.json: verdict.aesthetics_mean is 9.9" in found(facts)


def test_scores_of_a_story_that_has_none_are_not_believed(done: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    off = ("--set", "scores.aesthetics=off", "--set", "team=渡口")
    assert left("run", done / "story.yaml", "-o", run, *off) == 0
    write_pack(read_finished(run), tmp_path / "pack", name=Path(KOHYA).stem)
    assert verified(tmp_path / "pack", done, out=tmp_path / "verified")[1]["verdict"] == "identical"
    report = json.loads((tmp_path / "pack" / "report.json").read_text(encoding="utf-8"))
    report["scenes"][0]["aesthetics"], report["verdict"]["aesthetics_mean"] = 9.8, 9.8
    (tmp_path / "pack" / "report.json").write_text(json.dumps(report), encoding="utf-8")
    write_manifest(tmp_path / "pack")
    code, facts = verified(tmp_path / "pack", done, out=tmp_path / "verified")
    assert code == 76
    assert "report.json: verdict.aesthetics_mean is 9.8, made here it is null" in found(facts)


def test_a_story_with_a_lora_of_its_own_is_equivalent(done: Path, tiny_checkpoint: Path, tmp_path: Path) -> None:
    story = write_story(tmp_path, tiny_checkpoint, team="渡口", render__steps=2, render__lora="given.safetensors")
    shutil.copy(done / "run" / "lora" / "kohya.safetensors", tmp_path / "given.safetensors")
    assert left("run", story, "-o", tmp_path / "run") == 0
    code, facts = verified(tmp_path / "run", done, out=tmp_path / "verified")
    assert (code, facts["verdict"]) == (0, "equivalent")
    assert facts["unchecked"] == ["the story brings its LoRA; where that file came from is not checked"]
    assert verified(tmp_path / "run", done, "--retrain", out=tmp_path / "verified")[0] == 65


def test_a_story_that_points_elsewhere_is_refused(pack: Path, done: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert left("verify", pack, "-o", pack.parent / "verified") == 65
    assert "model.checkpoint is 'checkpoint', a place on somebody else's machine" in capsys.readouterr().err
    other = shutil.copytree(done / "checkpoint", pack.parent / "other")
    config = other / "scheduler" / "scheduler_config.json"
    text = config.read_text()
    config.unlink()
    config.write_text(text + "\n")
    assert left("verify", pack, "-o", pack.parent / "verified", "--checkpoint", other) == 66
    assert "story.lock.yaml pins" in capsys.readouterr().err


def test_a_data_set_that_is_not_here_is_named(done: Path, tmp_path: Path, tiny_checkpoint: Path) -> None:
    pictures = shutil.copytree(done / "run" / "data" / "train", tmp_path / "story" / "pictures")
    dataset = {"source": "folder", "path": "pictures", "min_images": 2}
    story = write_story(
        tmp_path / "story", tiny_checkpoint, dataset=dataset, filters=[], render__steps=2, lora__steps=1
    )
    assert left("run", story, "-o", tmp_path / "run") == 0
    code, facts = verified(tmp_path / "run", done, out=tmp_path / "verified")
    assert (code, facts["verdict"]) == (0, "equivalent")
    assert any("dataset.path is 'pictures'" in each for each in facts["unchecked"])
    code, facts = verified(tmp_path / "run", done, "--dataset", pictures, out=tmp_path / "verified")
    assert (code, facts["verdict"]) == (0, "identical")
    (pictures / "metadata.csv").write_text("file_name,text\n01.jpg,other\n", encoding="utf-8")
    assert verified(tmp_path / "run", done, "--dataset", pictures, out=tmp_path / "verified")[0] == 66


def test_a_picture_of_another_size_is_never_decoded(pack: Path, done: Path) -> None:
    Image.new("1", (20_000, 20_000)).save(pack / "images" / "01.png")
    code, facts = verified(pack, done)
    assert code == 76
    assert [scene["number"] for scene in facts["scenes"]] == [2]
    assert "images/01.png has 20000 x 20000 pixels" in found(facts)


def test_pickles_are_told_and_not_opened(pack: Path, done: Path) -> None:
    (pack / "lora" / "model.ckpt").write_bytes(b"cos\nsystem\n(S'echo'\ntR.")
    code, facts = verified(pack, done)
    assert code == 76
    assert "lora/model.ckpt is no file of a run's or an export's, and may be a pickle" in found(facts)


def zipped(*entries: tuple[str, bytes], mode: int = 0, compressed: bool = False) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED) as archive:
        for name, content in entries:
            entry = zipfile.ZipInfo(name)
            entry.external_attr = mode << 16
            entry.compress_type = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
            archive.writestr(entry, content)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (zipped(("../evil", b"")), "points outside"),
        (zipped(("/etc/evil", b"")), "points outside"),
        (zipped(("a\\..\\evil", b"")), "points outside"),
        (zipped(("link", b"/etc/passwd"), mode=0o120777), "is a link"),
        (zipped(("story.yaml", bytes(3_000_000)), compressed=True), "unpacks to more than 200 times"),
        (zipped(*[(f"{number}", b"") for number in range(20_001)]), "lists more than 20,000 files"),
        (b"PK\x05\x06" + bytes(18), "no story.lock.yaml"),
        (b"nothing of the kind", "is not a zip"),
        (zipped(("story.lock.yaml", b"a"))[:-30], "its end is missing"),
    ],
)
def test_a_hostile_zip_is_refused_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes, told: str
) -> None:
    (tmp_path / "pack.zip").write_bytes(content)
    assert left("verify", tmp_path / "pack.zip", "-o", tmp_path / "inner" / "out") in (65, 66)
    assert told in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["pack.zip"]


def test_a_folder_with_a_link_or_a_pipe_is_refused(pack: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (pack / "images" / "03.png").symlink_to("/etc/passwd")
    assert left("verify", pack, "-o", pack.parent / "verified") == 65
    assert "images/03.png is a link" in capsys.readouterr().err
    (pack / "images" / "03.png").unlink()
    os.mkfifo(pack / "images" / "03.png")
    assert left("verify", pack, "-o", pack.parent / "verified") == 65
    assert "not a regular file" in capsys.readouterr().err


def test_tolerances_follow_the_coarser_format_and_worse_scores_count() -> None:
    assert tolerance_of("float32")[0] == "float32"
    assert tolerance_of("bfloat16")[0] == "bfloat16"
    assert tolerance_of(None)[0] == "float16"
    same = {"submitted": 5.0, "again": 5.0}
    near = {"identical": False, "psnr": 79.7, "worst_block": 0.1, "aesthetics": same, "clip": same}
    assert judge_picture(near, TOLERANCES["float32"])[0] == "equivalent"
    fewer_steps = near | {"psnr": 53.9, "worst_block": 2.9}
    assert judge_picture(fewer_steps, TOLERANCES["float32"])[0] == "different"
    other = near | {"aesthetics": {"submitted": 6.2, "again": 5.9}}
    (reason,) = judge_picture(other, TOLERANCES["bfloat16"])[1]
    assert reason.what == "scores differ: aesthetics by 0.300, more than 0.25"
    assert worst(["identical", "different", "equivalent"]) == "different"
