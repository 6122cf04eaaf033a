"""Verify: an honest submission is identical, each tampering has its verdict, a hostile one harms nobody."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pytest
from kolora.verification.verdict import TOLERANCES, judge_picture, tolerance_of, worst
from PIL import Image

from tests.commands import left
from tests.stories import write_story
from tests.tampering import LORA, change_weight, forge, in_yaml, set_pixel


@pytest.fixture(scope="module")
def done(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A submission of one scene, and the checkpoint it was made with beside it."""
    folder = tmp_path_factory.mktemp("verify")
    scenes = [{"title": "早晨", "prompt": "一只白色小猫", "seed": 1}]
    story = write_story(folder, tiny_checkpoint, filters=[], scenes=scenes, lora__steps=2, render__steps=2)
    assert left("run", story, "-o", folder / "pack") == 0
    for name in ("work", "logs", ".lock", "status.json"):
        place = folder / "pack" / name
        shutil.rmtree(place) if place.is_dir() else place.unlink()
    return folder


@pytest.fixture
def pack(done: Path, tmp_path: Path) -> Path:
    subprocess.run(["cp", "-r", done / "pack", tmp_path / "pack"], check=True)
    return tmp_path / "pack"


def verified(pack: Path, done: Path, *options: object) -> tuple[int, dict[str, Any]]:
    """Verify a pack; returns the exit code and what verify.json says."""
    out = pack.parent / "verified"
    code = left("verify", pack, "-o", out, "--checkpoint", done / "checkpoint", *options)
    told = out / "verify.json"
    return code, json.loads(told.read_text(encoding="utf-8")) if told.is_file() else {}


def different(facts: dict[str, Any]) -> str:
    return "\n".join(each["what"] for each in facts["findings"] if each["verdict"] == "different")


def test_an_honest_submission_is_identical_as_folder_and_as_zip(pack: Path, done: Path) -> None:
    code, facts = verified(pack, done)
    assert code == 0
    assert facts["verdict"] == "identical"
    assert facts["findings"] == []
    assert facts["scenes"][0]["psnr"] is None
    page = (pack.parent / "verified" / "verify.html").read_text(encoding="utf-8")
    assert page.count("data:image/jpeg") == 4
    assert "<script" not in page
    with zipfile.ZipFile(pack.parent / "pack.zip", "w") as archive:
        for path in sorted(path for path in pack.rglob("*") if path.is_file()):
            archive.write(path, Path("队伍-可图Kolors训练-小猫") / path.relative_to(pack))
    code, facts = verified(pack.parent / "pack.zip", done)
    assert (code, facts["verdict"]) == (0, "identical")


def test_training_again_gives_the_same_lora(pack: Path, done: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, facts = verified(pack, done, "--retrain")
    assert code == 0
    assert facts["retrained"]["same_lora"]
    assert "trained again: the same LoRA" in capsys.readouterr().out


def test_one_changed_pixel_is_found(pack: Path, done: Path) -> None:
    set_pixel(pack, lambda red: red ^ 1)
    code, facts = verified(pack, done)
    assert code == 76
    assert "images/01.png: its sha256 differs" in different(facts)
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


@pytest.mark.parametrize(("key", "value"), [("seed", 2), ("prompt", "一只黑色小狗")])
def test_another_seed_or_prompt_is_found_however_much_is_forged(
    pack: Path, done: Path, key: str, value: object
) -> None:
    in_yaml(pack / "story.yaml", lambda story: story["scenes"][0].update({key: value}))
    code, facts = verified(pack, done)
    assert code == 76
    assert f"scenes.1.{key} is {value}, in story.lock.yaml it is" in different(facts)
    assert "story.yaml: its sha256 differs from manifest.sha256" in different(facts)
    in_yaml(pack / "story.lock.yaml", lambda lock: lock["story"]["scenes"][0].update({key: value}))
    forge(pack)
    code, facts = verified(pack, done)
    assert code == 76
    assert f"images/01.png states {key}" in different(facts)
    assert not facts["scenes"][0]["same_file"]


def test_another_weight_is_found_by_its_digest_and_by_the_picture(pack: Path, done: Path) -> None:
    change_weight(pack, by=1e-6)
    code, facts = verified(pack, done)
    assert code == 76
    assert f"{LORA}: its sha256 differs from story.lock.yaml" in different(facts)
    change_weight(pack, by=50.0)
    forge(pack)
    code, facts = verified(pack, done)
    assert facts["verdict"] != "identical"
    assert facts["scenes"][0]["changed"] > 0


def test_a_forged_report_is_not_believed(pack: Path, done: Path) -> None:
    report = json.loads((pack / "report.json").read_text(encoding="utf-8"))
    report["scenes"][0]["aesthetics"], report["verdict"]["aesthetics_mean"] = 9.9, 9.9
    (pack / "report.json").write_text(json.dumps(report), encoding="utf-8")
    forge(pack)
    code, facts = verified(pack, done)
    assert code == 76
    assert "report.json: scene 1: aesthetics is 9.900, measured here" in different(facts)
    assert "report.json: mean aesthetics is 9.900" in different(facts)


def test_a_story_that_points_elsewhere_is_refused(pack: Path, done: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert left("verify", pack, "-o", pack.parent / "verified") == 65
    assert "model.checkpoint is 'checkpoint', a place on somebody else's machine" in capsys.readouterr().err
    other = pack.parent / "other"
    subprocess.run(["cp", "-r", done / "checkpoint", other], check=True)
    config = other / "scheduler" / "scheduler_config.json"
    config.write_text(config.read_text() + "\n")
    assert left("verify", pack, "-o", pack.parent / "verified", "--checkpoint", other) == 66
    assert "story.lock.yaml pins" in capsys.readouterr().err


def test_a_picture_of_another_size_is_never_decoded(pack: Path, done: Path) -> None:
    Image.new("1", (20_000, 20_000)).save(pack / "images" / "01.png")
    code, facts = verified(pack, done)
    assert code == 76
    assert facts["scenes"] == []
    assert "images/01.png is " in different(facts)


def test_pickles_are_told_and_not_opened(pack: Path, done: Path) -> None:
    (pack / "lora" / "model.ckpt").write_bytes(b"cos\nsystem\n(S'echo'\ntR.")
    code, facts = verified(pack, done)
    assert code == 0
    assert any("model.ckpt may be a pickle" in each["what"] for each in facts["findings"])


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
    (pack / "images" / "02.png").symlink_to("/etc/passwd")
    assert left("verify", pack, "-o", pack.parent / "verified") == 65
    assert "images/02.png is a link" in capsys.readouterr().err
    (pack / "images" / "02.png").unlink()
    os.mkfifo(pack / "images" / "02.png")
    assert left("verify", pack, "-o", pack.parent / "verified") == 65
    assert "not a regular file" in capsys.readouterr().err


def test_tolerances_follow_the_coarser_format_and_worse_scores_count() -> None:
    assert tolerance_of("float32", "float32")[0] == "float32"
    assert tolerance_of("float32", "bfloat16")[0] == "bfloat16"
    assert tolerance_of("float32", None)[0] == "float16"
    same = {"submitted": 5.0, "again": 5.0}
    near = {"identical": False, "psnr": 79.7, "worst_block": 0.1, "aesthetics": same, "clip": same}
    assert judge_picture(near, TOLERANCES["float32"])[0] == "equivalent"
    fewer_steps = near | {"psnr": 53.9, "worst_block": 2.9}
    assert judge_picture(fewer_steps, TOLERANCES["float32"])[0] == "different"
    other = near | {"aesthetics": {"submitted": 6.2, "again": 5.9}}
    (reason,) = judge_picture(other, TOLERANCES["bfloat16"])[1]
    assert reason.what == "scores differ: aesthetics by 0.300, more than 0.25"
    assert worst(["identical", "different", "equivalent"]) == "different"
