"""kolora publish: the submission as it was packed, on the hub that was asked for, or nothing at all."""

from __future__ import annotations

from pathlib import Path

import pytest
from kolora.hubs.hub import HUBS

from tests.commands import left
from tests.hubs.loopback import LoopbackHub

NAME = "墨韵-可图Kolors训练-小猫的一天"


@pytest.fixture(params=list(HUBS))
def hub(request: pytest.FixtureRequest, loopback: LoopbackHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    loopback.writers.add("a-very-secret-token")
    monkeypatch.setenv(HUBS[request.param].token, "a-very-secret-token")
    monkeypatch.setenv("KOLORA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", loopback.url)
    return str(request.param)


def test_a_submission_arrives_as_it_was_packed(
    loopback: LoopbackHub, hub: str, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert left("publish", out, "--to", hub, "--repo", "team/work") == 0
    assert "only its owner sees it" in capsys.readouterr().out
    found = loopback.find("model", "team/work", "main")
    assert found is not None
    folder = out / "export" / NAME
    packed = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert found[1] == packed
    assert loopback.repositories["model", "team/work"].private


def test_what_breaks_the_rules_is_not_uploaded(loopback: LoopbackHub, hub: str, out: Path) -> None:
    (out / "images" / "01.png").unlink()
    assert left("publish", out, "--to", hub, "--repo", "team/work") == 65
    assert loopback.requests == []


@pytest.mark.parametrize(
    ("arguments", "environment", "code", "error"),
    [
        (["--repo", "work"], {}, 2, "expected owner/name"),
        (["--repo", "team/work"], {"KOLORA_OFFLINE": "1"}, 2, "KOLORA_OFFLINE is set"),
        (["--repo", "team/work"], {each.token: "" for each in HUBS.values()}, 66, "there is no token"),
    ],
)
def test_what_keeps_it_from_beginning(
    loopback: LoopbackHub,
    hub: str,
    out: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    environment: dict[str, str],
    code: int,
    error: str,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert left("publish", out, "--to", hub, *arguments) == code
    assert error in capsys.readouterr().err
    assert loopback.requests == []
