"""A submission's signature: who signed its manifest, which promises every other file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kolora.runfolder.layout import MANIFEST, SIGNATURE
from kolora.signatures import LARGEST_FILE, SignatureInvalid, signer_of
from kolora.verification.pack import Pack
from kolora.verification.words import Finding

MAX_MANIFEST = 8 * 2**20


def check_signature(pack: Pack, signers: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return what verify.json says of the signature: its state, and whose it is.

    signers: who may sign, by the text of their keys, where the judge demands one of them; a signer's name is taken from
    there alone. state: unsigned, signed, wrong. fault: why it does not do, None where it does.
    """
    facts = {"state": "unsigned", "fingerprint": None, "key": None, "signer": None, "fault": None}
    if SIGNATURE not in pack.sizes:
        return facts | {"fault": "none" if signers is not None else None}
    if MANIFEST not in pack.sizes:
        return facts | {"state": "wrong", "fault": "no_manifest"}
    manifest = pack.read(MANIFEST, most=MAX_MANIFEST)
    try:
        key = signer_of(manifest, pack.read(SIGNATURE, most=LARGEST_FILE))
    except SignatureInvalid as problem:
        return facts | {"state": "wrong", "fault": problem.fault}
    facts |= {"state": "signed", "fingerprint": key.fingerprint, "key": key.text}
    if signers is None:
        return facts
    if key.text not in signers:
        return facts | {"fault": "other"}
    return facts | {"signer": signers[key.text] or None}


def signature_findings(signature: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield what is against a signature: one that is wrong, or none of those that were asked for."""
    if signature["fault"] is not None:
        yield Finding(f"signature_{signature['fault']}", (signature["fingerprint"] or "",))


def signature_words(signature: Mapping[str, Any]) -> str:
    """Say in English, in a few words, who signed."""
    if signature["state"] != "signed":
        return {"unsigned": "not signed", "wrong": "its signature is wrong"}[signature["state"]]
    name = f"{signature['signer']} " if signature["signer"] else ""
    return f"signed by {name}{signature['fingerprint']}"
