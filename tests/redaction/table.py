"""Secrets as they come to a run, by its environment, and the spellings in which one may leave it again."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, quote_plus

from kolora.hubs.hub import HUBS

VALUES = {
    "plain": "s3cretPASSw0rd",
    "short": "Pq7z",
    "marks": "p@ss:w/rd?&#=+%41",
    "quotes": 'it\'s "so\\secret" <b>',
    "chinese": "密码是这个密码啊",
}
TOKENS = {
    "hugging face": "hf_abcdefghijKLMNOPQRSTuvwxyz12345678",
    "modelscope": "ms-0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0",
    "github": "ghp_0123456789abcdefghijABCDEFGHIJ012345",
    "signed": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N",
}
VARIABLES = (
    *(hub.token for hub in HUBS.values()),
    *("KOLORA_SIGN_KEY", "KOLORA_UPLOAD_SECRET", "AWS_SECRET_ACCESS_KEY", "OSS_ACCESS_KEY_ID", "WANDB_API_KEY"),
)
ADDRESSES = (*(hub.endpoint for hub in HUBS.values()), "HTTPS_PROXY", "http_proxy", "RAY_ADDRESS", "PIP_INDEX_URL")


@dataclass(frozen=True)
class Secret:
    """One variable with a secret in it, the secret itself, and what else a client makes of it."""

    name: str
    variable: str
    content: str
    value: str
    more: tuple[str, ...] = ()

    @property
    def spellings(self) -> frozenset[str]:
        """All that must be nowhere."""
        value, whole = self.value, quote(self.value, safe="")
        spelled = {value, whole, quote(value), quote_plus(value), json.dumps(value)[1:-1], html.escape(value)}
        return frozenset({*spelled, repr(value)[1:-1], *self.more})

    @property
    def sentences(self) -> Iterator[str]:
        """Texts in which libraries, commands and people repeat it."""
        for spelling in sorted(self.spellings):
            yield f"could not reach it with {spelling}"
            yield f"({spelling!r}, None)"
            yield json.dumps({"what": spelling})
        yield self.content
        yield f"HTTPConnectionPool: {self.content} refused (Caused by NewConnectionError)"
        yield f"{{'Authorization': 'Bearer {quote(self.value)}'}}"


def all_secrets() -> list[Secret]:
    """Every variable with every value, in every way in which an address may hold one."""
    secrets = []
    for variable in VARIABLES:
        for kind, value in (VALUES | TOKENS).items():
            secrets.append(Secret(f"{variable}-{kind}", variable, value, value))
    for variable in ADDRESSES:
        for kind, value in (VALUES | TOKENS).items():
            encoded = quote(value, safe="")
            basic = base64.b64encode(f"user:{value}".encode()).decode().rstrip("=")
            address = f"http://user:{encoded}@mirror.invalid:8080/path"
            secrets.append(Secret(f"{variable}-{kind}-encoded", variable, address, value, (encoded, basic)))
            if kind == "plain":
                raw = f"http://user:{value}@mirror.invalid"
                secrets.append(Secret(f"{variable}-{kind}-raw", variable, raw, value, (basic,)))
                secrets.append(Secret(f"{variable}-{kind}-bare", variable, f"http://{value}@mirror.invalid", value))
    return secrets


def some_secrets() -> list[Secret]:
    """One of each kind, for doors that take time."""
    wanted = {
        *("HF_TOKEN-hugging face", "MODELSCOPE_API_TOKEN-modelscope", "HF_TOKEN-marks", "AWS_SECRET_ACCESS_KEY-quotes"),
        *("HF_ENDPOINT-plain-encoded", "MODELSCOPE_ENDPOINT-marks-encoded", "HTTPS_PROXY-short-encoded"),
        *("HF_ENDPOINT-plain-raw", "http_proxy-plain-bare", "KOLORA_UPLOAD_SECRET-chinese"),
    }
    chosen = [each for each in all_secrets() if each.name in wanted]
    assert len(chosen) == len(wanted)
    return chosen


def leaks(secret: Secret, *texts: str, folder: Path | None = None) -> list[str]:
    """List the places where a secret is found: in texts, and in names and bytes of all files below a folder."""
    found = [f"{spelling!r} in {text[:300]!r}" for text in texts for spelling in secret.spellings if spelling in text]
    for path in sorted(folder.rglob("*")) if folder else ():
        content = path.read_bytes() if path.is_file() else b""
        for spelling in secret.spellings:
            if spelling.encode() in content or spelling in path.name:
                found.append(f"{spelling!r} in {path}")
    return found
