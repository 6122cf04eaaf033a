"""Uploads through the hubs' real clients, to a hub on loopback that fails as told."""

from __future__ import annotations

import hashlib
import random
import socket
from pathlib import Path

import pytest
from kolora.errors import HubUnreachable, InputAbsent, UsageError
from kolora.hubs.hub import HUBS
from kolora.hubs.upload import upload

from tests.hubs.loopback import LoopbackHub

NAME = "墨韵-可图Kolors训练-小猫"
FILES = {
    "README.md": b"---\nlicense: other\n---\n# card\n",
    "lora/a.safetensors": random.Random(0).randbytes(200_000),
    "images/01.png": random.Random(1).randbytes(3_000),
    "story.yaml": "title: 小猫\n".encode(),
}
SECRET = "a-very-secret-token"


@pytest.fixture(params=list(HUBS))
def name(request: pytest.FixtureRequest, loopback: LoopbackHub, monkeypatch: pytest.MonkeyPatch) -> str:
    """A hub on which this user may write."""
    loopback.writers.add(SECRET)
    # The client reads HF_ENDPOINT once, when it is loaded.
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", loopback.url)
    monkeypatch.setenv(HUBS[request.param].token, SECRET)
    return str(request.param)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for path, content in FILES.items():
        (tmp_path / "pack" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "pack" / path).write_bytes(content)
    return tmp_path / "pack"


def send(folder: Path, name: str, *, public: bool = False) -> None:
    upload(folder, hub=name, id="some/work", public=public, message=NAME, state=folder.parent / "state")


def held(hub: LoopbackHub) -> dict[str, bytes]:
    found = hub.find("model", "some/work", "main")
    assert found is not None
    return found[1]


@pytest.mark.parametrize("public", [False, True])
def test_a_folder_is_uploaded_private_unless_asked_and_silently(
    loopback: LoopbackHub, name: str, folder: Path, public: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    send(folder, name, public=public)
    assert capfd.readouterr().out == ""
    assert held(loopback) == FILES
    assert loopback.repositories["model", "some/work"].private is not public
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} == set(FILES)


def test_what_is_there_is_not_sent_twice(loopback: LoopbackHub, name: str, folder: Path) -> None:
    send(folder, name)
    (folder / "story.yaml").write_text("title: 大猫\n", encoding="utf-8")
    send(folder, name)
    assert held(loopback) == FILES | {"story.yaml": "title: 大猫\n".encode()}
    assert set(loopback.taken.values()) <= {len(content) for content in FILES.values()}
    assert loopback.taken[hashlib.sha256(FILES["lora/a.safetensors"]).hexdigest()] == 200_000


def test_an_upload_that_broke_off_goes_on(loopback: LoopbackHub, name: str, folder: Path) -> None:
    loopback.failures.commits = 1
    send(folder, name)
    assert held(loopback) == FILES
    assert loopback.failures.commits == 0
    assert loopback.taken[hashlib.sha256(FILES["lora/a.safetensors"]).hexdigest()] == 200_000


def test_a_busy_or_broken_hub_is_asked_again(loopback: LoopbackHub, name: str, folder: Path) -> None:
    loopback.failures.status = [(503, {"Retry-After": "0"}), (500, {})]
    send(folder, name)
    assert held(loopback) == FILES
    assert loopback.failures.status == []


def test_a_public_repository_is_not_written_by_accident(loopback: LoopbackHub, name: str, folder: Path) -> None:
    loopback.publish("model", "some/work", {"mine.txt": b"mine"})
    with pytest.raises(UsageError, match=r"some/work on .* is public"):
        send(folder, name)
    assert held(loopback) == {"mine.txt": b"mine"}
    send(folder, name, public=True)
    assert held(loopback) == FILES | {"mine.txt": b"mine"}


def test_without_a_token_nobody_is_asked(
    loopback: LoopbackHub, name: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(HUBS[name].token)
    with pytest.raises(InputAbsent, match="no token") as caught:
        send(folder, name)
    assert HUBS[name].token in caught.value.hint
    assert loopback.requests == []


def test_a_token_that_may_not_write_is_66_and_told_to_nobody(
    loopback: LoopbackHub,
    name: str,
    folder: Path,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("DEBUG")
    loopback.writers.clear()
    with pytest.raises(InputAbsent, match="does not let the holder of this token write some/work") as caught:
        send(folder, name)
    told = capfd.readouterr()
    assert SECRET not in told.out + told.err + caplog.text + caught.value.error + caught.value.hint
    assert loopback.tokens == {SECRET}
    written = [path for path in folder.parent.rglob("*") if path.is_file()]
    assert not [path for path in written if SECRET.encode() in path.read_bytes()]


def test_what_the_hub_refuses_is_66_and_not_asked_again(loopback: LoopbackHub, name: str, folder: Path) -> None:
    loopback.failures.status = [(400, {}), (500, {})]
    with pytest.raises(InputAbsent, match="refuses some/work: HTTP 400"):
        send(folder, name)
    assert len(loopback.failures.status) == 1


def test_a_hub_that_is_not_there_is_69(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{free.getsockname()[1]}"
    for each in HUBS.values():
        monkeypatch.setenv(each.endpoint, nobody)
    with pytest.raises(HubUnreachable, match="did not take some/work after 6 attempts"):
        send(folder, name)
