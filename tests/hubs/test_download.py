"""Downloads through the hubs' real clients, against a hub on loopback that fails as told."""

from __future__ import annotations

import os
import random
import shutil
import socket
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from kolora.errors import HubUnreachable, InputAbsent, OutputUnwritable, Stopped
from kolora.hubs.download import bytes_in, download
from kolora.hubs.hub import HUBS
from kolora.hubs.store import RepoRequest, Store

from tests.hubs.loopback import ENDLESS, LoopbackHub, Repository

BIG = random.Random(0).randbytes(300_000)
FILES = {
    "README.md": b"a card",
    "config.json": b'{"a": 1}',
    "unet/weights.safetensors": BIG,
    "unet/weights.bin": BIG,
    "vae/weights.bin": BIG[::-1],
    "empty.json": b"",
}
PATTERNS = ("*.json", "*.safetensors", "*.bin")
NEEDED = {"config.json", "unet/weights.safetensors", "vae/weights.bin", "empty.json"}
NAME = "some/model"


@pytest.fixture
def hub(loopback: LoopbackHub) -> LoopbackHub:
    """A hub that holds one model."""
    loopback.publish("model", NAME, FILES)
    return loopback


@pytest.fixture(params=list(HUBS))
def wanted(request: pytest.FixtureRequest) -> RepoRequest:
    return RepoRequest(request.param, "model", NAME, patterns=PATTERNS)


def bring(wanted: RepoRequest, cache: Path, **options):
    return download(wanted, cache=cache, tick=options.pop("tick", lambda done, total: None), **options)


def contents(snapshot) -> dict[str, bytes]:
    return {path: (snapshot.folder / path).read_bytes() for path in snapshot.files}


def expected() -> dict[str, bytes]:
    return {path: FILES[path] for path in NEEDED}


def test_what_is_needed_comes_and_nothing_else(hub: LoopbackHub, wanted: RepoRequest, tmp_path: Path) -> None:
    ticks: list[tuple[int, int]] = []
    snapshot, came = bring(wanted, tmp_path, tick=lambda done, total: ticks.append((done, total)))
    assert contents(snapshot) == expected()
    assert came == sum(map(len, expected().values())) == ticks[-1][0] == ticks[-1][1]
    assert hub.sent["unet/weights.bin"] == hub.sent["README.md"] == 0
    commit = hub.repositories["model", NAME].branches["main"]
    assert snapshot.revision == ("master" if wanted.hub == "modelscope" else commit)
    assert not any((tmp_path / "partial").rglob("*weights*"))
    asked = len(hub.requests)
    assert bring(wanted, tmp_path) == (snapshot, 0)
    assert len(hub.requests) == asked


def test_a_cut_connection_is_continued(hub: LoopbackHub, wanted: RepoRequest, tmp_path: Path) -> None:
    hub.failures.cut = {"unet/weights.safetensors": 3}
    assert contents(bring(wanted, tmp_path)[0]) == expected()
    # Hugging Face's client loses the piece it was writing, ModelScope's nothing.
    assert len(BIG) <= hub.sent["unet/weights.safetensors"] < len(BIG) + 50_000
    assert [each for each in hub.requests if each[2]]


def test_what_has_come_is_counted_while_folders_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("going", "staying"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_bytes(b"12345")
    look = os.scandir

    def late(path: str | int) -> object:
        if str(path).endswith("going"):
            shutil.rmtree(path)
        return look(path)

    monkeypatch.setattr(os, "scandir", late)
    assert bytes_in(tmp_path) == 5


def test_a_download_that_was_stopped_is_continued(hub: LoopbackHub, wanted: RepoRequest, tmp_path: Path) -> None:
    hub.failures.bytes_a_second = 400_000

    def stop(done: int, total: int) -> None:
        if done > 100_000:
            raise Stopped("asked to stop")

    with pytest.raises(Stopped):
        bring(wanted, tmp_path, tick=stop)
    assert Store(tmp_path).find(wanted) is None
    hub.failures.bytes_a_second = None
    assert contents(bring(wanted, tmp_path)[0]) == expected()


def test_a_flipped_byte_is_seen_and_asked_for_again(hub: LoopbackHub, wanted: RepoRequest, tmp_path: Path) -> None:
    hub.failures.flip = {"unet/weights.safetensors": 1, "config.json": 2}
    assert contents(bring(wanted, tmp_path)[0]) == expected()
    assert hub.sent["config.json"] == 3 * len(FILES["config.json"])


def test_a_byte_that_stays_flipped_never_gets_into_the_cache(
    hub: LoopbackHub, wanted: RepoRequest, tmp_path: Path
) -> None:
    hub.failures.flip = {"vae/weights.bin": 1000}
    with pytest.raises(HubUnreachable, match=r"vae/weights\.bin came damaged"):
        bring(wanted, tmp_path)
    assert Store(tmp_path).find(wanted) is None


@pytest.mark.parametrize("listing_too", [True, False])
def test_a_busy_or_broken_hub_is_asked_again(
    hub: LoopbackHub, wanted: RepoRequest, tmp_path: Path, listing_too: bool
) -> None:
    hub.failures.status = [(429, {"Retry-After": "0"}), (500, {}), (503, {})]
    hub.failures.listing_too = listing_too
    assert contents(bring(wanted, tmp_path)[0]) == expected()
    assert hub.failures.status == []


def test_a_hub_that_stays_broken_is_69(hub: LoopbackHub, wanted: RepoRequest, tmp_path: Path) -> None:
    hub.failures.status = [(500, {})] * 100
    hub.failures.listing_too = True
    with pytest.raises(HubUnreachable, match="after 6 attempts: HTTP 500"):
        bring(wanted, tmp_path)


def test_a_hub_that_is_not_there_is_69(
    hub: LoopbackHub, wanted: RepoRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{free.getsockname()[1]}"
    for each in HUBS.values():
        monkeypatch.setenv(each.endpoint, nobody)
    with pytest.raises(HubUnreachable, match="did not give some/model") as caught:
        bring(wanted, tmp_path)
    assert caught.value.code == 69


@pytest.mark.parametrize("change", [{"id": "some/other"}, {"revision": "v9"}, {"patterns": ("*.onnx",)}])
def test_what_the_hub_has_not_is_66(hub: LoopbackHub, wanted: RepoRequest, tmp_path: Path, change: dict) -> None:
    with pytest.raises(InputAbsent) as caught:
        bring(replace(wanted, **change), tmp_path)
    assert caught.value.hint


def test_what_is_private_needs_the_token_which_is_kept_nowhere(
    hub: LoopbackHub,
    wanted: RepoRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("DEBUG")
    hub.repositories["model", NAME].token = "a-very-secret-token"
    with pytest.raises(InputAbsent, match="does not let this user read") as caught:
        bring(wanted, tmp_path / "cache")
    variable = HUBS[wanted.hub].token
    assert variable in caught.value.hint
    monkeypatch.setenv(variable, "a-very-secret-token")
    hub.failures.cut = {"vae/weights.bin": 1}
    assert contents(bring(wanted, tmp_path / "cache")[0]) == expected()
    assert hub.tokens == {"a-very-secret-token"}
    told = capfd.readouterr()
    assert "secret" not in told.out + told.err + caplog.text
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) > 4
    assert not [path for path in written if b"a-very-secret" in path.read_bytes()]


def test_a_moved_revision_is_taken_when_asked_to_look(hub: LoopbackHub, wanted: RepoRequest, tmp_path: Path) -> None:
    before, _ = bring(wanted, tmp_path)
    hub.publish("model", NAME, FILES | {"config.json": b'{"a": 2}'})
    assert bring(wanted, tmp_path)[0] == before
    after, came = bring(wanted, tmp_path, refresh=True)
    assert after.folder != before.folder
    assert (after.folder / "config.json").read_bytes() == b'{"a": 2}'
    assert (before.folder / "config.json").read_bytes() == b'{"a": 1}'
    assert came < 1000  # the weights were here already
    assert bring(wanted, tmp_path)[0] == after


def test_a_slow_hub_is_waited_for_with_progress(hub: LoopbackHub, wanted: RepoRequest, tmp_path: Path) -> None:
    hub.failures.bytes_a_second = 600_000
    ticks: list[int] = []
    assert contents(bring(wanted, tmp_path, tick=lambda done, total: ticks.append(done))[0]) == expected()
    assert len(set(ticks)) > 3


def test_two_processes_at_once_download_once(hub: LoopbackHub, wanted: RepoRequest, tmp_path: Path) -> None:
    hub.failures.bytes_a_second = 1_000_000
    code = textwrap.dedent(
        f"""
        from pathlib import Path
        from kolora.hubs.store import RepoRequest
        from kolora.hubs.download import download
        wanted = RepoRequest({wanted.hub!r}, "model", {NAME!r}, patterns={PATTERNS!r})
        print(download(wanted, cache=Path({str(tmp_path)!r}), tick=lambda done, total: None)[1])
        """
    )
    both = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    told = sorted(int(each.communicate(timeout=60)[0]) for each in both)
    assert told == [0, sum(map(len, expected().values()))]
    assert hub.sent["vae/weights.bin"] == len(BIG)
    snapshot = Store(tmp_path).find(wanted)
    assert snapshot is not None
    assert contents(snapshot) == expected()


def test_an_older_name_of_the_endpoint_still_counts(
    hub: LoopbackHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MODELSCOPE_ENDPOINT")
    monkeypatch.setenv("MODELSCOPE_DOMAIN", hub.url)
    snapshot, _ = bring(RepoRequest("modelscope", "model", NAME, patterns=PATTERNS), tmp_path)
    assert contents(snapshot) == expected()


def test_what_does_not_fit_is_not_begun(
    hub: LoopbackHub, wanted: RepoRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(OutputUnwritable, match=r"some/model needs 0\.0 GB more"):
        bring(wanted, tmp_path)
    assert not hub.sent


def test_a_file_of_a_hub_may_not_lead_out(hub: LoopbackHub, tmp_path: Path) -> None:
    hub.publish("model", NAME, {"../evil.json": b"{}"})
    for name in HUBS:
        with pytest.raises(InputAbsent):
            bring(RepoRequest(name, "model", NAME, patterns=PATTERNS), tmp_path / "cache")  # type: ignore[arg-type]
    assert not list(tmp_path.rglob("evil*"))


def test_a_gated_model_says_that_consent_is_asked(hub: LoopbackHub, tmp_path: Path) -> None:
    hub.repositories["model", NAME] = Repository({}, {}, token="x", gated=True)
    with pytest.raises(InputAbsent, match="does not let this user") as caught:
        bring(RepoRequest("huggingface", "model", NAME), tmp_path)
    assert "consent" in caught.value.hint


@pytest.mark.parametrize("path", ["config.json", "unet/weights.safetensors"])
def test_a_file_that_is_longer_than_announced_is_refused_and_not_asked_for_again(hub, wanted, tmp_path, path):
    hub.publish("model", NAME, {**FILES, path: bytes(8 << 20)})
    hub.failures.announced[path] = 1000
    with pytest.raises(InputAbsent, match=r"sends more of .* than the .* bytes it announced"):
        bring(wanted, tmp_path)
    assert hub.sent[path] <= 2 * (8 << 20)
    assert Store(tmp_path).find(wanted) is None


@pytest.mark.parametrize("path", ["config.json", "unet/weights.safetensors"])
def test_a_file_that_never_ends_is_left(hub, wanted, tmp_path, path):
    hub.failures.endless.add(path)
    with pytest.raises(InputAbsent, match=r"sends more of .* than the .* bytes it announced"):
        bring(wanted, tmp_path)
    assert hub.sent[path] < ENDLESS << 20


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("KOLORA_MAX_DOWNLOAD_BYTES", "500000", "bytes; at most 500,000 bytes"),
        ("KOLORA_MAX_MEMBERS", "3", "4 files; at most 3 files"),
    ],
)
def test_a_repository_above_what_the_owner_allows_is_not_downloaded(
    hub, wanted, tmp_path, monkeypatch, variable, value, told
):
    monkeypatch.setenv(variable, value)
    with pytest.raises(InputAbsent, match=told):
        bring(wanted, tmp_path)
    assert not hub.sent


def test_a_listing_that_is_nested_without_end_is_refused(hub, wanted, tmp_path):
    hub.failures.deep = True
    with pytest.raises(InputAbsent, match="no list of files"):
        bring(wanted, tmp_path)
