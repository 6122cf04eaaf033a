"""Who signed a submission: told where it holds, and never believed where it does not."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from kolora.runfolder.manifest import write_manifest
from kolora.signatures import PublicKey, sign
from kolora.verification.pack import SubmissionUnsafe, open_pack
from kolora.verification.signature import check_signature, signature_findings, signature_words
from kolora.verification.words import FINDINGS, WORDS

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(32))
SIGNATURE, MANIFEST = "manifest.sha256.sig", "manifest.sha256"


def public(key: Ed25519PrivateKey) -> PublicKey:
    return PublicKey(key.public_key().public_bytes_raw())


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    """Give a signed pack of two files."""
    folder = tmp_path / "pack"
    folder.mkdir()
    for name in ("story.yaml", "grid.png"):
        (folder / name).write_text(name)
    write_manifest(folder)
    signed_by(KEY)(folder)
    return folder


def signed_by(key: Ed25519PrivateKey) -> Callable[[Path], None]:
    def put(folder: Path) -> None:
        (folder / SIGNATURE).write_text(sign((folder / MANIFEST).read_bytes(), key))

    return put


def found(facts: dict[str, Any]) -> list[str]:
    return [finding.key for finding in signature_findings(facts)]


@pytest.mark.parametrize("is_zip", [False, True])
def test_the_signer_is_told(pack: Path, is_zip: bool) -> None:
    if is_zip:
        with zipfile.ZipFile(pack.with_suffix(".zip"), "w") as archive:
            for path in sorted(pack.iterdir()):
                archive.write(path, f"pack/{path.name}")
    facts = check_signature(open_pack(pack.with_suffix(".zip") if is_zip else pack))
    assert facts == {
        "state": "signed",
        "fingerprint": public(KEY).fingerprint,
        "key": public(KEY).text,
        "signer": None,
        "fault": None,
    }
    assert found(facts) == []
    assert signature_words(facts) == f"signed by {public(KEY).fingerprint}"


def test_unsigned_stays_valid_unless_a_signer_is_demanded(pack: Path) -> None:
    (pack / SIGNATURE).unlink()
    facts = check_signature(open_pack(pack))
    assert (facts["state"], facts["fault"], found(facts)) == ("unsigned", None, [])
    facts = check_signature(open_pack(pack), {public(KEY).text: "ink"})
    assert (facts["state"], found(facts)) == ("unsigned", ["signature_none"])


def test_the_signer_is_called_as_the_judge_calls_it(pack: Path) -> None:
    facts = check_signature(open_pack(pack), {public(OTHER).text: "other", public(KEY).text: "ink"})
    assert (facts["signer"], found(facts)) == ("ink", [])
    assert signature_words(facts) == f"signed by ink {public(KEY).fingerprint}"


@pytest.mark.parametrize("signers", [{}, {public(OTHER).text: "ink"}])
def test_another_signer_is_not_the_one_that_was_demanded(pack: Path, signers: dict[str, str]) -> None:
    facts = check_signature(open_pack(pack), signers)
    assert (facts["state"], facts["signer"], found(facts)) == ("signed", None, ["signature_other"])


def edit_manifest(folder: Path) -> None:
    text = (folder / MANIFEST).read_text()
    (folder / MANIFEST).write_text(text.replace(text[:8], "0" * 8))


def forge_file(folder: Path) -> None:
    (folder / "grid.png").write_text("another")
    write_manifest(folder)


def add_file(folder: Path) -> None:
    (folder / "more.txt").write_text("more")
    write_manifest(folder)


def remove_file(folder: Path) -> None:
    (folder / "grid.png").unlink()
    write_manifest(folder)


def remove_manifest(folder: Path) -> None:
    (folder / MANIFEST).unlink()


def empty_manifest(folder: Path) -> None:
    (folder / MANIFEST).write_bytes(b"")


def other_line_ends(folder: Path) -> None:
    (folder / MANIFEST).write_bytes((folder / MANIFEST).read_bytes().replace(b"\n", b"\r\n"))


def empty(folder: Path) -> None:
    (folder / SIGNATURE).write_bytes(b"")


def of_another_pack(folder: Path) -> None:
    (folder / SIGNATURE).write_text(sign(b"another manifest", KEY))


def flipped(folder: Path) -> None:
    lines = (folder / SIGNATURE).read_text().splitlines(keepends=True)
    lines[-2] = ("A" if lines[-2][0] != "A" else "B") + lines[-2][1:]
    (folder / SIGNATURE).write_text("".join(lines))


FORGED = {
    "signature_mismatch": [edit_manifest, forge_file, add_file, remove_file, empty_manifest, other_line_ends]
    + [of_another_pack, flipped],
    "signature_malformed": [empty],
    "signature_no_manifest": [remove_manifest],
}
ATTACKS = [(attack, key) for key, attacks in FORGED.items() for attack in attacks]


@pytest.mark.parametrize(("attack", "key"), ATTACKS, ids=[attack.__name__ for attack, _ in ATTACKS])
@pytest.mark.parametrize("signers", [None, {public(KEY).text: "ink"}])
def test_what_was_touched_after_it_was_signed_is_different(
    pack: Path, attack: Callable[[Path], None], key: str, signers: dict[str, str] | None
) -> None:
    attack(pack)
    facts = check_signature(open_pack(pack), signers)
    assert (facts["state"], found(facts)) == ("wrong", [key])
    assert (facts["fingerprint"], facts["key"], facts["signer"]) == (None, None, None)
    (finding,) = signature_findings(facts)
    assert finding.verdict == "different"


def test_a_pack_that_is_signed_anew_names_another_signer(pack: Path) -> None:
    forge_file(pack)
    signed_by(OTHER)(pack)
    facts = check_signature(open_pack(pack))
    assert facts["fingerprint"] == public(OTHER).fingerprint != public(KEY).fingerprint
    assert found(check_signature(open_pack(pack), {public(KEY).text: "ink"})) == ["signature_other"]


def test_a_huge_signature_is_not_read(pack: Path) -> None:
    (pack / SIGNATURE).write_bytes(b"A" * (1 << 20))
    with pytest.raises(SubmissionUnsafe):
        check_signature(open_pack(pack))


def test_every_fault_has_its_words_in_both_languages() -> None:
    faults = ("malformed", "key_type", "namespace", "hash", "mismatch", "no_manifest", "other", "none")
    for language in ("en", "zh"):
        assert all(FINDINGS[language][f"signature_{fault}"].format("SHA256:x") for fault in faults)
        assert all(WORDS[language][f"signature_{state}"] for state in ("signed", "unsigned", "wrong"))
