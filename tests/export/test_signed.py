"""A pack that somebody signs: one file more, the same bytes every time, and OpenSSH agrees."""

from __future__ import annotations

import json
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from kolora.runfolder.manifest import write_manifest
from kolora.signatures import PublicKey, read_signing_key, sign, signer_of

from tests.commands import left

RULES = ("pictures", "aesthetics", "lora", "name", "kolors", "complete")
NAME = "墨韵-可图Kolors训练-小猫的一天"


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    made = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    path.write_bytes(made.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    return path


def test_a_signed_pack_has_its_signature_in_folder_and_zip(finished: Path, key: Path, tmp_path: Path) -> None:
    for name in ("a", "b", "unsigned"):
        signed = ["--sign", key] if name != "unsigned" else []
        assert left("export", finished, "--to", "submission", "-o", tmp_path / name, *signed) == 0
    folder = tmp_path / "a" / NAME
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    unsigned = tmp_path / "unsigned" / NAME
    assert files - {path.relative_to(unsigned).as_posix() for path in unsigned.rglob("*") if path.is_file()} == {
        "manifest.sha256.sig"
    }
    assert (folder / "manifest.sha256").read_bytes() == (unsigned / "manifest.sha256").read_bytes()
    assert (tmp_path / "a" / f"{NAME}.zip").read_bytes() == (tmp_path / "b" / f"{NAME}.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "a" / f"{NAME}.zip") as archive:
        manifest, signature = archive.read("manifest.sha256"), archive.read("manifest.sha256.sig")
    assert signer_of(manifest, signature)
    secret = key.read_text().splitlines()[2]
    assert not [path for path in folder.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="OpenSSH is not installed here")
def test_openssh_checks_a_signed_pack(finished: Path, key: Path, tmp_path: Path) -> None:
    assert left("export", finished, "--to", "submission", "-o", tmp_path, "--sign", key) == 0
    folder = tmp_path / NAME
    manifest = (folder / "manifest.sha256").read_bytes()
    signer = signer_of(manifest, (folder / "manifest.sha256.sig").read_bytes())
    (tmp_path / "allowed").write_text(f"ink {signer.text}\n")
    subprocess.run(
        ["ssh-keygen", "-Y", "verify", "-f", tmp_path / "allowed", "-I", "ink", "-n", "kolora"]
        + ["-s", folder / "manifest.sha256.sig"],
        input=manifest,
        check=True,
        capture_output=True,
    )


def test_a_manifest_made_anew_does_not_list_its_signature(finished: Path, key: Path, tmp_path: Path) -> None:
    assert left("export", finished, "--to", "submission", "-o", tmp_path, "--sign", key) == 0
    folder = tmp_path / NAME
    before = (folder / "manifest.sha256").read_bytes()
    write_manifest(folder)
    assert (folder / "manifest.sha256").read_bytes() == before


def test_a_pack_that_is_no_longer_signed_has_no_signature_left(finished: Path, key: Path, tmp_path: Path) -> None:
    assert left("export", finished, "--to", "submission", "-o", tmp_path, "--sign", key) == 0
    assert left("export", finished, "--to", "submission", "-o", tmp_path) == 0
    assert not (tmp_path / NAME / "manifest.sha256.sig").exists()


@pytest.mark.parametrize("goal", ["diffusers", "kohya", "diffsynth", "comfyui"])
def test_only_a_submission_is_signed(
    finished: Path, key: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], goal: str
) -> None:
    assert left("export", finished, "--to", goal, "-o", tmp_path / "for", "--sign", key) == 2
    assert "--sign is for a submission" in capsys.readouterr().err
    assert not (tmp_path / "for").exists()


def test_a_key_is_refused_before_anything_is_written(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "key").write_text("-----BEGIN RSA PRIVATE KEY-----\n")
    into = tmp_path / "for"
    assert left("export", finished, "--to", "submission", "-o", into, "--sign", tmp_path / "key") == 2
    assert "ssh-keygen -t ed25519" in capsys.readouterr().err
    assert not into.exists()


@pytest.mark.parametrize("touched", [False, True])
def test_verify_tells_who_signed(
    finished: Path, key: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], touched: bool
) -> None:
    assert left("export", finished, "--to", "submission", "-o", tmp_path, "--sign", key) == 0
    folder = tmp_path / NAME
    signature = folder / "manifest.sha256.sig"
    if touched:
        signature.write_text(sign(b"another manifest", read_signing_key(key)))
    signer = PublicKey(read_signing_key(key).public_key().public_bytes_raw())
    (tmp_path / "signers").write_text(f"ink {signer.text}\n")
    capsys.readouterr()
    options = ["--checkpoint", finished.parent / "checkpoint", "--signer", tmp_path / "signers"]
    code = left("verify", folder, "-o", tmp_path / "verified", *options)
    captured = capsys.readouterr()
    facts = json.loads((tmp_path / "verified" / "verify.json").read_text(encoding="utf-8"))
    page = (tmp_path / "verified" / "verify.html").read_text(encoding="utf-8")
    if touched:
        assert (code, facts["verdict"], facts["signature"]["state"]) == (76, "different", "wrong")
        assert "manifest.sha256 is not what was signed" in captured.err
        assert signer.fingerprint not in page
    else:
        assert (code, facts["verdict"]) == (0, "identical")
        assert {rule["name"]: rule["met"] for rule in facts["rules"]} == dict.fromkeys(RULES, True)
        assert f"signed by ink {signer.fingerprint}" in captured.out
        assert "the contest's rules are met" in captured.out
        assert signer.fingerprint in page
        assert signer.text in page


def test_verify_refuses_a_list_of_signers_before_it_computes(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "signers").write_text("ink ssh-rsa AAAA\n")
    assert left("verify", finished, "-o", tmp_path / "verified", "--signer", tmp_path / "signers") == 2
    assert "names no ssh-ed25519 key" in capsys.readouterr().err
    assert not (tmp_path / "verified").exists()
