"""From export to verify: the contest's zip is confirmed as it was packed, and found out when it was touched."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kolora.runfolder.manifest import write_manifest

from tests.commands import left
from tests.tampering import change_weight, forge, in_yaml, set_pixel

NAME = "墨韵-可图Kolors训练-小猫的一天"
SEEDED = 3
"""The scene whose prompt and seed are changed."""


@pytest.fixture(scope="module")
def packed(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the zip that export makes."""
    folder = tmp_path_factory.mktemp("packed")
    assert left("export", finished, "--to", "submission", "-o", folder) == 0
    return folder / f"{NAME}.zip"


def verified(archive: Path, finished: Path, out: Path) -> tuple[int, dict[str, Any]]:
    code = left("verify", archive, "-o", out, "--checkpoint", finished.parent / "checkpoint")
    told = out / "verify.json"
    return code, json.loads(told.read_text(encoding="utf-8")) if told.is_file() else {}


def against(facts: dict[str, Any]) -> set[str]:
    """Give the keys of everything that makes a submission different."""
    parts = [*facts["scenes"], *([facts["grid"]] if facts["grid"] else [])]
    told = [each for each in facts["findings"] if each["verdict"] == "different"]
    return {each["key"] for each in (*told, *(why for part in parts for why in part["reasons"]))}


def test_the_zip_that_is_packed_is_confirmed(packed: Path, finished: Path, tmp_path: Path) -> None:
    code, facts = verified(packed, finished, tmp_path / "out")
    assert (code, facts["verdict"], facts["findings"]) == (0, "identical", [])
    assert [scene["verdict"] for scene in facts["scenes"]] == ["identical"] * 8
    assert facts["grid"]["verdict"] == "identical"
    page = (tmp_path / "out" / "verify.html").read_text(encoding="utf-8")
    assert 'lang="zh-CN"' in page
    assert "完全一致" in page
    assert not re.search("[a-z]{4,} (is|has|does) ", page.split("<main>")[1]), "a Chinese page speaks Chinese"


def turned(red: int) -> int:
    """Make a pixel's red visibly another."""
    return 255 - red if abs(255 - 2 * red) > 60 else 0 if red > 100 else 255


def pixel(folder: Path) -> None:
    set_pixel(folder, turned)
    forge(folder)


def grid(folder: Path) -> None:
    set_pixel(folder, turned, file="grid.png")
    forge(folder)


def seed(folder: Path) -> None:
    in_yaml(folder / "story.yaml", lambda story: story["scenes"][SEEDED - 1].update(seed=99))


def prompt(folder: Path) -> None:
    change = {"prompt": "一只黑色小狗"}
    in_yaml(folder / "story.yaml", lambda story: story["scenes"][SEEDED - 1].update(change))
    in_yaml(folder / "story.lock.yaml", lambda lock: lock["story"]["scenes"][SEEDED - 1].update(change))
    forge(folder)


def contest_lora(folder: Path) -> None:
    change_weight(folder, by=0.5, file=f"lora/{NAME}.safetensors")
    write_manifest(folder)


def contest_lora_in_the_lock(folder: Path) -> None:
    contest_lora(folder)
    in_yaml(folder / "story.lock.yaml", lambda lock: lock["results"].update({f"lora/{NAME}.safetensors": "0" * 64}))
    forge(folder)


def score(folder: Path) -> None:
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    report["scenes"][0]["aesthetics"] = 9.9
    (folder / "report.json").write_text(json.dumps(report), encoding="utf-8")
    write_manifest(folder)


def told_prompt(folder: Path) -> None:
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    report["scenes"][0]["prompt"] = "一只会飞的猫"
    (folder / "report.json").write_text(json.dumps(report), encoding="utf-8")
    write_manifest(folder)


def page(folder: Path) -> None:
    text = (folder / "report.html").read_text(encoding="utf-8")
    (folder / "report.html").write_text(text.replace("</h1>", "（金奖）</h1>"), encoding="utf-8")
    write_manifest(folder)


def card(folder: Path) -> None:
    text = (folder / "README.md").read_text(encoding="utf-8")
    (folder / "README.md").write_text(text.replace("**", "**9.9 "), encoding="utf-8")
    write_manifest(folder)


def elsewhere(folder: Path) -> None:
    in_yaml(folder / "story.yaml", lambda story: story["render"].update(lora="/etc/passwd"))
    write_manifest(folder)


@pytest.mark.parametrize(
    ("tamper", "found"),
    [
        (pixel, {"worst_block"}),
        (grid, {"worst_block"}),
        (seed, {"story", "not_as_listed", "stated_otherwise", "statement"}),
        (prompt, {"stated_otherwise", "statement"}),
        (contest_lora, {"not_as_locked", "lora_other"}),
        (contest_lora_in_the_lock, {"lora_other"}),
        (score, {"statement"}),
        (told_prompt, {"statement"}),
        (page, {"page"}),
        (card, {"page"}),
        (elsewhere, {"story"}),
    ],
)
def test_a_zip_that_was_touched_is_different(
    packed: Path, finished: Path, tmp_path: Path, tamper: Callable[[Path], None], found: set[str]
) -> None:
    folder = tmp_path / NAME
    with zipfile.ZipFile(packed) as archive:
        archive.extractall(folder)
    tamper(folder)
    with zipfile.ZipFile(tmp_path / "again.zip", "w") as archive:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            archive.write(path, path.relative_to(tmp_path))
    code, facts = verified(tmp_path / "again.zip", finished, tmp_path / "out")
    assert (code, facts["verdict"]) == (76, "different")
    assert against(facts) >= found
    if found == {"page"}:
        assert against(facts) == found


def test_a_wrong_digest_of_any_file_is_different(packed: Path, finished: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(packed) as archive:
        archive.extractall(tmp_path / NAME)
    manifest = tmp_path / NAME / "manifest.sha256"
    text = manifest.read_text(encoding="utf-8")
    manifest.write_text("0" * 8 + text[8:], encoding="utf-8")
    code, facts = verified(tmp_path / NAME, finished, tmp_path / "out")
    assert (code, facts["verdict"]) == (76, "different")
    (found,) = facts["findings"]
    assert (found["key"], found["values"], found["verdict"]) == ("not_as_listed", ["README.md"], "different")
