"""Pocket's pictures are packed and uploaded only as the exercise they are, and every file of the pack says so."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from kolora.hubs.catalogue import PARTS, POCKET, is_pocket, loaded_files
from kolora.hubs.identity import identify_model
from kolora.report import write_report
from kolora.runfolder.manifest import write_manifest

from tests.commands import left
from tests.hubs.loopback import LoopbackHub
from tests.tampering import in_yaml

CONTEST_NAME = "墨韵-可图Kolors训练-小猫的一天"
NAME = "墨韵-pocket练习-小猫的一天"


def record(out: Path, **checkpoint: str) -> None:
    path = out / "records" / "run.json"
    told = json.loads(path.read_text(encoding="utf-8"))
    told["checkpoint"] |= checkpoint
    path.write_text(json.dumps(told), encoding="utf-8")


def by_its_record(out: Path) -> None:
    record(out, name="pocket")


def by_its_lock(out: Path) -> None:
    in_yaml(out / "story.lock.yaml", lambda lock: lock["checkpoint"].update(name="pocket"))


def by_its_digest(out: Path) -> None:
    """A copy of pocket in a folder that is called otherwise."""
    digest, _ = identify_model(POCKET, parts=PARTS, choose=loaded_files)
    record(out, name="Kolors", digest=digest)
    in_yaml(out / "story.lock.yaml", lambda lock: lock["checkpoint"].update(name="Kolors", sha256=digest))


def by_its_unet(out: Path) -> None:
    """Pocket with another tokenizer beside it, in a folder that is called otherwise."""
    _, files = identify_model(POCKET, parts=PARTS, choose=loaded_files)
    changed = dict(files) | {"text_encoder/tokenizer.model": "0" * 64}
    in_yaml(out / "story.lock.yaml", lambda lock: lock["checkpoint"].update(name="Kolors", files=changed))


BY = [by_its_record, by_its_lock, by_its_digest, by_its_unet]


def drawn_by_pocket(out: Path, how: Callable[[Path], None] = by_its_record) -> Path:
    """Make a finished run one of pocket's."""
    how(out)
    write_report(out)
    write_manifest(out)
    return out


@pytest.mark.parametrize("how", BY)
def test_pockets_pictures_are_refused(
    out: Path, capsys: pytest.CaptureFixture[str], how: Callable[[Path], None]
) -> None:
    drawn_by_pocket(out, how)
    assert left("export", out, "--to", "submission") == 65
    error = capsys.readouterr().err
    assert "pocket drew its pictures" in error
    assert "--practice" in error.splitlines()[-1]
    assert not (out / "export").exists()


@pytest.mark.parametrize("how", BY)
def test_with_practice_the_pack_bears_another_name(out: Path, how: Callable[[Path], None]) -> None:
    drawn_by_pocket(out, how)
    assert left("export", out, "--to", "submission", "--practice") == 0
    assert {path.name for path in (out / "export").iterdir()} == {NAME, f"{NAME}.zip"}
    assert (out / "export" / NAME / "lora" / f"{NAME}.safetensors").is_file()


@pytest.mark.parametrize("how", [by_its_record, by_its_digest])
def test_every_text_of_the_pack_says_that_it_is_practice(out: Path, how: Callable[[Path], None]) -> None:
    drawn_by_pocket(out, how)
    assert left("export", out, "--to", "submission", "--practice") == 0
    folder = out / "export" / NAME
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    assert report["practice"] is True
    assert {rule["name"]: rule["met"] for rule in report["verdict"]["rules"]}["kolors"] is False
    for name, words in {
        "report.html": ("<b>练习</b>", "不能作为参赛作品"),
        "report.en.html": ("<b>Practice</b>", "no submission to the contest"),
        "report.md": ("**练习**", "不能作为参赛作品"),
        "README.md": ("**练习**", "不能作为参赛作品"),
    }.items():
        text = (folder / name).read_text(encoding="utf-8")
        for each in words:
            assert each in text, name
    head = yaml.safe_load((folder / "README.md").read_text(encoding="utf-8").split("---\n")[1])
    assert "practice" in head["tags"]
    assert "base_model" not in head, "a pocket picture never passes for a Kolors picture"


def test_practice_waives_no_other_rule(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = out / "records" / "score.json"
    told = json.loads(path.read_text(encoding="utf-8"))
    # With its own digest, a changed record would only be a torn one.
    del told["sha256"]
    told["facts"]["aesthetics_mean"] = 5.0
    path.write_text(json.dumps(told), encoding="utf-8")
    drawn_by_pocket(out)
    assert left("export", out, "--to", "submission", "--practice", "--team", "a/b") == 65
    error = capsys.readouterr().err
    assert "score of its pictures is 5;" in error
    assert "the team 'a/b'" in error
    assert "pocket drew" not in error


def test_a_contribution_is_not_packed_as_practice(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert left("export", out, "--to", "submission", "--practice") == 65
    assert "leave out --practice" in capsys.readouterr().err
    assert left("export", out, "--to", "submission") == 0
    report = json.loads((out / "export" / CONTEST_NAME / "report.json").read_text(encoding="utf-8"))
    assert report["practice"] is False
    assert "练习" not in (out / "export" / CONTEST_NAME / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("content", [None, b"", b"lock: 2\n", b"\xff"])
def test_without_a_lock_nobody_knows_what_drew(
    out: Path, capsys: pytest.CaptureFixture[str], content: bytes | None
) -> None:
    (out / "story.lock.yaml").unlink()
    if content is not None:
        (out / "story.lock.yaml").write_bytes(content)
    write_manifest(out)
    assert left("export", out, "--to", "submission") == 65
    assert "what drew its pictures is not known" in capsys.readouterr().err


def test_practice_is_no_word_for_other_tools(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert left("export", out, "--to", "diffusers", "--practice") == 2
    assert "--practice is for a submission" in capsys.readouterr().err


def test_practice_is_uploaded_only_where_that_is_asked_for(
    loopback: LoopbackHub, out: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    loopback.writers.add("a-very-secret-token")
    monkeypatch.setenv("MODELSCOPE_API_TOKEN", "a-very-secret-token")
    monkeypatch.setenv("KOLORA_CACHE", str(tmp_path / "cache"))
    drawn_by_pocket(out)
    assert left("publish", out, "--to", "modelscope", "--repo", "team/work") == 65
    assert loopback.requests == []
    assert left("publish", out, "--to", "modelscope", "--repo", "team/work", "--practice") == 0
    found = loopback.find("model", "team/work", "main")
    assert found is not None
    assert f"lora/{NAME}.safetensors" in found[1]


@pytest.mark.parametrize("copied", [True, False])
def test_pocket_is_known_by_what_it_is(tmp_path: Path, copied: bool) -> None:
    folder = POCKET
    if copied:
        folder = tmp_path / "kolors"
        shutil.copytree(POCKET, folder)
        (folder / "README.md").write_text("# Kwai-Kolors/Kolors\n", encoding="utf-8")
    digest, files = identify_model(folder, parts=PARTS, choose=loaded_files)
    assert is_pocket("kolors", digest)
    assert is_pocket("kolors", files=files)
    nudged = {"unet/config.json": files["unet/config.json"], "unet/a.safetensors": "1" * 64}
    assert is_pocket("kolors", "0" * 64, nudged)
    others = {path: sha256 for path, sha256 in files.items() if not path.startswith("unet/")}
    assert not is_pocket("kolors", "0" * 64, others | {"unet/a.safetensors": "1" * 64})
