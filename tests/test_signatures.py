"""Signatures: OpenSSH and kolora read each other's, and nothing that was touched proves anything."""

from __future__ import annotations

import base64
import os
import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from kolora.errors import UsageError
from kolora.signatures import (
    LARGEST_FILE,
    PublicKey,
    SignatureInvalid,
    read_signers,
    read_signing_key,
    sign,
    signer_of,
)

CONTENT = b"0" * 64 + b"  story.yaml\n"
needs_openssh = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="OpenSSH is not installed here")


def string(content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + content


def private_file(path: Path, key: object, kind: PrivateFormat = PrivateFormat.OpenSSH) -> Path:
    path.write_bytes(key.private_bytes(Encoding.PEM, kind, NoEncryption()))  # type: ignore[attr-defined]
    path.chmod(0o600)
    return path


def public_of(key: Ed25519PrivateKey) -> PublicKey:
    return PublicKey(key.public_key().public_bytes_raw())


@pytest.fixture(scope="module")
def key() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


@pytest.fixture(scope="module")
def signature(key: Ed25519PrivateKey) -> bytes:
    return sign(CONTENT, key).encode()


def keygen(*arguments: object, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["ssh-keygen", *map(str, arguments)], input=given, capture_output=True, check=False)


def test_what_was_signed_names_its_signer(key: Ed25519PrivateKey, signature: bytes) -> None:
    assert signer_of(CONTENT, signature) == public_of(key)
    assert sign(CONTENT, key).encode() == signature, "the same pack gives the same zip"
    assert public_of(key).text == key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


@needs_openssh
def test_openssh_reads_what_kolora_signs(key: Ed25519PrivateKey, signature: bytes, tmp_path: Path) -> None:
    (tmp_path / "allowed").write_text(f"ink {public_of(key).text}\n")
    (tmp_path / "m.sig").write_bytes(signature)
    arguments = ["-Y", "verify", "-f", tmp_path / "allowed", "-I", "ink", "-s", tmp_path / "m.sig"]
    checked = keygen(*arguments, "-n", "kolora", given=CONTENT)
    assert checked.returncode == 0, checked.stderr
    assert public_of(key).fingerprint in checked.stdout.decode()
    assert keygen(*arguments, "-n", "kolora", given=CONTENT + b" ").returncode != 0
    assert keygen(*arguments, "-n", "file", given=CONTENT).returncode != 0


@needs_openssh
@pytest.mark.parametrize("hash_name", ["sha512", "sha256"])
def test_kolora_reads_what_openssh_signs(
    key: Ed25519PrivateKey, signature: bytes, tmp_path: Path, hash_name: str
) -> None:
    file = private_file(tmp_path / "key", key)
    (tmp_path / "m").write_bytes(CONTENT)
    made = keygen("-Y", "sign", "-n", "kolora", "-O", f"hashalg={hash_name}", "-f", file, tmp_path / "m")
    assert made.returncode == 0, made.stderr
    theirs = (tmp_path / "m.sig").read_bytes()
    assert signer_of(CONTENT, theirs) == public_of(key)
    if hash_name == "sha512":
        assert theirs == signature, "byte for byte"


@needs_openssh
@pytest.mark.parametrize(
    ("kind", "namespace", "fault"),
    [("ed25519", "file", "namespace"), ("ed25519", "kolora2", "namespace"), ("ecdsa", "kolora", "key_type")],
)
def test_a_signature_for_something_else_proves_nothing(tmp_path: Path, kind: str, namespace: str, fault: str) -> None:
    assert keygen("-q", "-t", kind, "-N", "", "-f", tmp_path / "key").returncode == 0
    (tmp_path / "m").write_bytes(CONTENT)
    assert keygen("-Y", "sign", "-n", namespace, "-f", tmp_path / "key", tmp_path / "m").returncode == 0
    with pytest.raises(SignatureInvalid) as refused:
        signer_of(CONTENT, (tmp_path / "m.sig").read_bytes())
    assert refused.value.fault == fault


def armoured(blob: bytes) -> bytes:
    text = base64.b64encode(blob).decode()
    return f"-----BEGIN SSH SIGNATURE-----\n{text}\n-----END SSH SIGNATURE-----\n".encode()


def blob_of(signature: bytes) -> bytes:
    return base64.b64decode(b"".join(signature.strip().splitlines()[1:-1]))


def test_every_bit_of_a_signature_counts(signature: bytes) -> None:
    blob = blob_of(signature)
    assert signer_of(CONTENT, armoured(blob)).fingerprint, "the lines may be broken elsewhere"
    tried = 0
    for at in range(8 * len(blob)):
        changed = bytearray(blob)
        changed[at // 8] ^= 1 << at % 8
        with pytest.raises(SignatureInvalid):
            signer_of(CONTENT, armoured(bytes(changed)))
        tried += 1
    assert tried > 1000


def test_every_length_of_a_signature_counts(signature: bytes) -> None:
    blob = blob_of(signature)
    for end in range(len(blob)):
        with pytest.raises(SignatureInvalid):
            signer_of(CONTENT, armoured(blob[:end]))
    for more in (b"\0", b"\0\0\0\0", blob):
        with pytest.raises(SignatureInvalid):
            signer_of(CONTENT, armoured(blob + more))


@pytest.mark.parametrize("content", [b"", CONTENT[:-1], CONTENT + b"\n", CONTENT.replace(b"0", b"1", 1)])
def test_other_content_is_not_signed(signature: bytes, content: bytes) -> None:
    with pytest.raises(SignatureInvalid) as refused:
        signer_of(content, signature)
    assert refused.value.fault == "mismatch"


ARMOUR: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "one line": lambda _: b"-----BEGIN SSH SIGNATURE-----",
    "no end": lambda text: text.replace(b"-----END SSH SIGNATURE-----\n", b""),
    "no begin": lambda text: text.partition(b"\n")[2],
    "words before": lambda text: b"first prize\n" + text,
    "words behind": lambda text: text + b"first prize\n",
    "two": lambda text: text + text,
    "not ascii": lambda text: text.replace(b"SSH", "ＳＳＨ".encode(), 1),
    "not utf-8": lambda text: text + b"\xff",
    "no base64": lambda text: text.replace(b"U1NI", b"U1*I"),
    "spaces inside": lambda text: text.replace(b"U1NI", b"U1NI "),
    "binary": blob_of,
    "other kind": lambda text: text.replace(b"SSH SIGNATURE", b"PGP SIGNATURE"),
}


@pytest.mark.parametrize("how", ARMOUR)
def test_what_is_no_signature_is_said_to_be_none(signature: bytes, how: str) -> None:
    with pytest.raises(SignatureInvalid) as refused:
        signer_of(CONTENT, ARMOUR[how](signature))
    assert refused.value.fault == "malformed"


def test_bits_that_base64_drops_are_no_second_spelling(signature: bytes) -> None:
    text = base64.b64encode(blob_of(signature)).decode()
    assert text.endswith("="), "only padding leaves such bits"
    at = len(text.rstrip("=")) - 1
    other = text[:at] + chr(ord(text[at]) + 1) + text[at + 1 :]
    assert base64.b64decode(other) == base64.b64decode(text)
    with pytest.raises(SignatureInvalid):
        signer_of(CONTENT, signature.replace(text[-8:].encode(), other[-8:].encode()))


def encrypted() -> bytes:
    """A key file that says it has a passphrase, as ssh-keygen writes it."""
    public = string(b"ssh-ed25519") + string(bytes(32))
    options = string(string(bytes(16)) + struct.pack(">I", 16))
    blob = b"openssh-key-v1\0" + string(b"aes256-ctr") + string(b"bcrypt") + options
    blob += struct.pack(">I", 1) + string(public) + string(bytes(160))
    text = base64.b64encode(blob).decode()
    return f"-----BEGIN OPENSSH PRIVATE KEY-----\n{text}\n-----END OPENSSH PRIVATE KEY-----\n".encode()


KEYS: dict[str, tuple[Callable[[Ed25519PrivateKey], bytes], str]] = {
    "rsa": (
        lambda _: rsa.generate_private_key(65537, 2048).private_bytes(
            Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()
        ),
        "of another type",
    ),
    "ecdsa": (
        lambda _: ec.generate_private_key(ec.SECP256R1()).private_bytes(
            Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()
        ),
        "of another type",
    ),
    "pkcs8": (
        lambda key: key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        "OpenSSH's format",
    ),
    "pkcs8, encrypted": (
        lambda key: key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")),
        "OpenSSH's format",
    ),
    "public": (
        lambda key: key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH),
        "is a public key",
    ),
    "passphrase": (lambda _: encrypted(), "has a passphrase"),
    "empty": (lambda _: b"", "OpenSSH's format"),
    "binary": (lambda _: bytes(range(256)), "OpenSSH's format"),
    "armour alone": (
        lambda _: b"-----BEGIN OPENSSH PRIVATE KEY-----\n-----END OPENSSH PRIVATE KEY-----\n",
        "OpenSSH's format",
    ),
    "large": (lambda _: b"A" * (LARGEST_FILE + 1), "has more than"),
}


@pytest.mark.parametrize("kind", KEYS)
def test_a_key_that_cannot_sign_is_refused(key: Ed25519PrivateKey, tmp_path: Path, kind: str) -> None:
    content, words = KEYS[kind]
    (tmp_path / "key").write_bytes(content(key))
    with pytest.raises(UsageError, match=words) as refused:
        read_signing_key(tmp_path / "key")
    assert refused.value.hint


def test_a_damaged_key_is_refused_wherever_it_is_damaged(key: Ed25519PrivateKey, tmp_path: Path) -> None:
    whole = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    for end in range(0, len(whole) - 40, 7):
        (tmp_path / "key").write_bytes(whole[:end])
        with pytest.raises(UsageError):
            read_signing_key(tmp_path / "key")


def test_a_key_must_be_a_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "none", tmp_path / "pipe", Path("/dev/null")):
        with pytest.raises(UsageError, match="is not a file"):
            read_signing_key(path)


@needs_openssh
def test_a_key_that_ssh_keygen_made_signs(tmp_path: Path) -> None:
    assert keygen("-q", "-t", "ed25519", "-N", "", "-C", "ink@home", "-f", tmp_path / "key").returncode == 0
    signed = sign(CONTENT, read_signing_key(tmp_path / "key")).encode()
    told = keygen("-l", "-f", tmp_path / "key.pub").stdout.decode()
    assert signer_of(CONTENT, signed).fingerprint in told
    assert "home" not in signed.decode()
    assert keygen("-q", "-t", "ed25519", "-N", "secret", "-f", tmp_path / "locked").returncode == 0
    with pytest.raises(UsageError, match="has a passphrase"):
        read_signing_key(tmp_path / "locked")


@pytest.mark.parametrize(
    ("line", "principals"),
    [
        ("{key}", ""),
        ("{key} ink@home", ""),
        ('{key} O\'Brien "at" home', ""),
        ("ink {key}", "ink"),
        ("ink,team {key} comment", "ink,team"),
        ('"ink team" {key}', "ink team"),
        ('ink namespaces="kolora" {key}', "ink"),
        ('ink namespaces="file,kolora" {key}', "ink"),
        ("# people\n\nink {key}\nother ssh-rsa AAAA", "ink"),
    ],
)
def test_who_may_sign_is_read(key: Ed25519PrivateKey, tmp_path: Path, line: str, principals: str) -> None:
    text = public_of(key).text
    (tmp_path / "signers").write_text(line.format(key=text), encoding="utf-8")
    assert read_signers(tmp_path / "signers") == {text: principals}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", "names no ssh-ed25519 key"),
        ("# {key}", "names no ssh-ed25519 key"),
        ("ink ssh-rsa AAAA", "names no ssh-ed25519 key"),
        ('ink namespaces="file" {key}', "names no ssh-ed25519 key"),
        ('ink namespaces="kolora2" {key}', "names no ssh-ed25519 key"),
        ("ink cert-authority {key}", "'cert-authority' is not understood"),
        ('ink namespaces="kolora",valid-before="20200101" {key}', "'valid-before' is not understood"),
        ("ink", "expected NAME ssh-ed25519"),
        ("ink ssh-ed25519 AAAA", "the key is damaged"),
        ("ink ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA==", "the key is damaged"),
        ("ink ssh-ed25519 A", "the key is damaged"),
    ],
)
def test_who_may_sign_is_not_guessed(key: Ed25519PrivateKey, tmp_path: Path, line: str, words: str) -> None:
    (tmp_path / "signers").write_text(line.format(key=public_of(key).text), encoding="utf-8")
    with pytest.raises(UsageError, match=words):
        read_signers(tmp_path / "signers")
