"""Signatures of a file as OpenSSH makes and checks them: ``ssh-keygen -Y sign -n kolora``, with ssh-ed25519 keys.

The format is OpenSSH's PROTOCOL.sshsig. cryptography reads keys and does the arithmetic; it loads when somebody signs
or checks.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from kolora.errors import UsageError
from kolora.files import is_file

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

NAMESPACE = b"kolora"
"""What such a signature is for: one that its owner made of other things counts for nothing here."""
KEY_TYPE = b"ssh-ed25519"
LARGEST_FILE = 64 * 1024
"""Bytes of a key, a signature or a list of signers; most have a few hundred."""
NEW_KEY = "ssh-keygen -t ed25519 -f KEY makes one"
_MAGIC = b"SSHSIG"
_BEGIN, _END = "-----BEGIN SSH SIGNATURE-----", "-----END SSH SIGNATURE-----"
_LINE = 70
_HASHES = {b"sha512": hashlib.sha512, b"sha256": hashlib.sha256}
_SIGNER = re.compile(
    r"""(?:(?P<principals>"[^"]*"|\S+)\s+)?(?:(?P<options>(?:[^\s"]|"[^"]*")+)\s+)?"""
    r"""(?P<type>(?:ssh|ecdsa|sk)-[\w@.-]+)\s+(?P<key>[A-Za-z0-9+/=]+)(?:\s.*)?"""
)
"""A line of ``allowed_signers``, or of a ``.pub`` file, which has no principals."""

Fault = Literal["malformed", "key_type", "namespace", "hash", "mismatch"]
"""What is wrong with a signature. mismatch: it is none of this content by this key."""


class SignatureInvalid(ValueError):
    """A signature that proves nothing; ``fault`` says why."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault)
        self.fault = fault


@dataclass(frozen=True)
class PublicKey:
    """An ssh-ed25519 key: its 32 bytes."""

    raw: bytes

    @property
    def blob(self) -> bytes:
        """The key as SSH sends it."""
        return _string(KEY_TYPE) + _string(self.raw)

    @property
    def text(self) -> str:
        """The key as a line of ``.pub`` or ``allowed_signers`` has it, without a comment."""
        return f"{KEY_TYPE.decode()} {base64.b64encode(self.blob).decode()}"

    @property
    def fingerprint(self) -> str:
        """What ``ssh-keygen -l`` prints: SHA256:..."""
        digest = base64.b64encode(hashlib.sha256(self.blob).digest()).decode()
        return f"SHA256:{digest.rstrip('=')}"


def read_signing_key(path: Path) -> Ed25519PrivateKey:
    """Read a private key file in OpenSSH's format; raises UsageError for any other kind, with a way out."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_ssh_private_key

    content = _read(path, what="the key")
    if content.startswith((b"ssh-", b"ecdsa-", b"sk-")):
        raise UsageError(f"--sign {path} is a public key", hint="name the private one, the file without .pub")
    try:
        key = load_ssh_private_key(content, password=None)
    except TypeError as problem:
        raise UsageError(
            f"--sign {path} has a passphrase, and nobody is asked for one here",
            hint="ssh-keygen -p -f COPY takes it off a copy; or sign the finished pack yourself: "
            "ssh-keygen -Y sign -n kolora -f KEY PACK/manifest.sha256",
        ) from problem
    # What a damaged file makes the reader raise.
    except (ValueError, UnsupportedAlgorithm, struct.error, OverflowError) as problem:
        raise UsageError(
            f"--sign {path} is no private key in OpenSSH's format; expected one of ssh-ed25519", hint=NEW_KEY
        ) from problem
    if not isinstance(key, Ed25519PrivateKey):
        raise UsageError(f"--sign {path} is a key of another type; expected ssh-ed25519", hint=NEW_KEY)
    return key


def sign(content: bytes, key: Ed25519PrivateKey) -> str:
    """Sign content, as text that ``ssh-keygen -Y verify -n kolora`` reads; the same content gives the same text."""
    public = PublicKey(key.public_key().public_bytes_raw())
    signature = _string(KEY_TYPE) + _string(key.sign(_signed(content, b"sha512")))
    blob = _MAGIC + struct.pack(">I", 1)
    blob += b"".join(map(_string, (public.blob, NAMESPACE, b"", b"sha512", signature)))
    text = base64.b64encode(blob).decode()
    lines = [text[start : start + _LINE] for start in range(0, len(text), _LINE)]
    return "\n".join([_BEGIN, *lines, _END, ""])


def signer_of(content: bytes, signature: bytes) -> PublicKey:
    """Return the key that signed content; raises SignatureInvalid."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    public, namespace, hash_name, raw = _parts(_blob(signature))
    if namespace != NAMESPACE:
        raise SignatureInvalid("namespace")
    if hash_name not in _HASHES:
        raise SignatureInvalid("hash")
    try:
        Ed25519PublicKey.from_public_bytes(public.raw).verify(raw, _signed(content, hash_name))
    except (InvalidSignature, ValueError) as problem:
        raise SignatureInvalid("mismatch") from problem
    return public


def read_signers(path: Path) -> Mapping[str, str]:
    """Read who may sign, an ``allowed_signers`` or a ``.pub`` file: the principals of each key, by the key's text.

    Keys of other types are passed over. Raises UsageError where no ssh-ed25519 key is named, and for options other than
    namespaces: what is not understood must not let anybody in.
    """
    signers: dict[str, str] = {}
    text = _read(path, what="the list of signers").decode("utf-8", errors="replace")
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip() and not line.lstrip().startswith("#"):
            signers |= _signer(line.strip(), f"--signer {path}, line {number}")
    if not signers:
        raise UsageError(
            f"--signer {path} names no ssh-ed25519 key that may sign for kolora",
            hint="give the signer's .pub file, or a file of lines such as: NAME ssh-ed25519 AAAA...",
        )
    return signers


def _signer(line: str, place: str) -> dict[str, str]:
    """Read one line; empty where its key is of another type or not for kolora."""
    found = _SIGNER.fullmatch(line)
    if found is None:
        raise UsageError(f"{place}: expected NAME ssh-ed25519 AAAA...", hint="see ssh-keygen(1), ALLOWED SIGNERS")
    if found["type"] != KEY_TYPE.decode():
        return {}
    for option in re.findall(r"""(?:[^,"]|"[^"]*")+""", found["options"] or ""):
        name, _, value = option.partition("=")
        if name.lower() != "namespaces":
            raise UsageError(f"{place}: the option {name!r} is not understood", hint="leave it out, or the whole line")
        if NAMESPACE.decode() not in value.strip('"').split(","):
            return {}
    try:
        raw = _public(base64.b64decode(found["key"], validate=True)).raw
    except (SignatureInvalid, binascii.Error) as problem:
        raise UsageError(f"{place}: the key is damaged", hint="copy it once more") from problem
    return {PublicKey(raw).text: (found["principals"] or "").strip('"')}


def _read(path: Path, *, what: str) -> bytes:
    # A pipe or a device would be waited for without end.
    if not is_file(path):
        raise UsageError(f"{what} {path} is not a file", hint="check the path, and that it is mounted")
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
    except OSError as problem:
        raise UsageError(f"{what} {path} cannot be read: {problem.strerror}", hint="check its rights") from problem
    if len(content) > LARGEST_FILE:
        raise UsageError(f"{what} {path} has more than {LARGEST_FILE:,} bytes", hint="name another file")
    return content


def _signed(content: bytes, hash_name: bytes) -> bytes:
    """Return what is really signed: not the content, but what it is signed for, and its digest."""
    digest = _HASHES[hash_name](content).digest()
    return _MAGIC + b"".join(map(_string, (NAMESPACE, b"", hash_name, digest)))


def _blob(signature: bytes) -> bytes:
    """Take off a signature's armour; nothing may stand around it."""
    try:
        first, *lines, last = signature.decode("ascii").strip().splitlines()
        text = "".join(lines)
        blob = base64.b64decode(text, validate=True)
    except ValueError as problem:
        raise SignatureInvalid("malformed") from problem
    # One spelling: bits that base64 drops could tell two signatures apart that are one.
    if (first, last) != (_BEGIN, _END) or base64.b64encode(blob).decode() != text:
        raise SignatureInvalid("malformed")
    return blob


def _parts(blob: bytes) -> tuple[PublicKey, bytes, bytes, bytes]:
    """Return key, namespace, name of the hash, and the signature's 64 bytes."""
    head = _MAGIC + struct.pack(">I", 1)
    if not blob.startswith(head):
        raise SignatureInvalid("malformed")
    public, namespace, reserved, hash_name, signature = _strings(blob[len(head) :], 5)
    key = _public(public)
    kind, raw = _strings(signature, 2)
    if kind != KEY_TYPE:
        raise SignatureInvalid("key_type")
    if reserved:
        raise SignatureInvalid("malformed")
    return key, namespace, hash_name, raw


def _public(blob: bytes) -> PublicKey:
    # The type comes first, and says how many strings follow.
    kind = _strings(blob, 1, and_more=True)[0]
    if kind != KEY_TYPE:
        raise SignatureInvalid("key_type")
    raw = _strings(blob, 2)[1]
    if len(raw) != 32:
        raise SignatureInvalid("malformed")
    return PublicKey(raw)


def _string(content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + content


def _strings(content: bytes, count: int, *, and_more: bool = False) -> list[bytes]:
    """Read strings as SSH writes them, each after its length; they must be all there is, unless more may follow."""
    found = []
    for _ in range(count):
        if len(content) < 4:
            raise SignatureInvalid("malformed")
        end = 4 + struct.unpack(">I", content[:4])[0]
        if len(content) < end:
            raise SignatureInvalid("malformed")
        found.append(content[4:end])
        content = content[end:]
    if content and not and_more:
        raise SignatureInvalid("malformed")
    return found
