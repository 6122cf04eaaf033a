"""Every file of a submission accounted for: what a run or an export writes, and what its manifest promises."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

from kolora.runfolder import layout
from kolora.runfolder.manifest import parse_manifest
from kolora.verification.pack import Pack
from kolora.verification.words import Finding, brief, excerpt

# numpy's and joblib's files may hold pickled objects too.
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".npy", ".joblib")
MAX_MANIFEST = 8 * 2**20
DECISIVE = re.compile(r"report\.json|grid\.png|images/\d+\.png|lora/[^/]+\.safetensors")
"""Files without which a submission is not what it promises to be."""
OF_DATA = re.compile(r"data/ledger\.jsonl|data/train/(\d+\.jpg|metadata\.csv)|data/dropped/\d+\.jpg")
OF_TRAINING = re.compile(r"lora/history\.json|lora/metrics\.csv|lora/samples/\d+-\d+\.png")
RECORD = re.compile(r"records/[a-z_]+(-[a-z0-9]+)?\.json")


def unexpected(
    pack: Pack, expected: Mapping[str, object], *, skipped: frozenset[str], is_old: bool
) -> Iterator[Finding]:
    """Name what a submission should not hold and what it lacks.

    skipped: stages that were not done here, whose files nobody can compare. is_old: its records are not compared.
    """
    for fault in pack.faults:
        yield Finding(fault)
    unopened = []
    # Who signed is judged by itself.
    known = {layout.MANIFEST} | (set() if pack.is_run else {layout.SIGNATURE})
    for name in sorted(pack.sizes.keys() - expected.keys() - known):
        if is_of_skipped(name, skipped):
            unopened.append(name)
        elif not (is_old and RECORD.fullmatch(name)):
            yield Finding("pickle" if name.lower().endswith(PICKLES) else "foreign", (excerpt(name),))
    if unopened:
        yield Finding("unopened", (brief(unopened),), "unchecked")
    for name in sorted(expected.keys() - pack.sizes.keys()):
        if is_old and RECORD.fullmatch(name):
            continue
        yield Finding("missing", (name,), "different" if DECISIVE.fullmatch(name) else "unchecked")
    # A data set of which nothing was dropped leaves an empty folder.
    known = {layout.DROPPED, layout.TRAINING_SET, layout.SAMPLES}
    for name in [*expected, *unopened]:
        known.update(map(str, PurePosixPath(name).parents))
    for name in pack.folders:
        if name not in known and not any(other.startswith(f"{name}/") for other in pack.sizes):
            yield Finding("foreign_folder", (excerpt(name),))


def is_of_skipped(name: str, skipped: frozenset[str]) -> bool:
    """Tell whether a file is what a stage makes that was not done here."""
    is_of_data = "filter" in skipped and OF_DATA.fullmatch(name)
    return bool(is_of_data or ("train" in skipped and OF_TRAINING.fullmatch(name)))


def manifest_findings(pack: Pack, digests: Mapping[str, str], expected: Mapping[str, object]) -> Iterator[Finding]:
    """Hold a manifest against the files. digests: of those that a submission should hold, as far as they are there."""
    if layout.MANIFEST not in pack.sizes:
        yield Finding("no_manifest", verdict="unchecked")
        return
    text = pack.read(layout.MANIFEST, most=MAX_MANIFEST).decode("utf-8", errors="replace")
    listed = parse_manifest(text)
    for name, digest in listed.items():
        if name not in pack.sizes:
            # What should be there is told by itself.
            if name not in expected:
                yield Finding("absent", (excerpt(name),), "different" if DECISIVE.fullmatch(name) else "unchecked")
        elif name in digests and digests[name] != digest:
            yield Finding("not_as_listed", (excerpt(name),))
    for name in sorted(digests.keys() - listed.keys()):
        yield Finding("unlisted", (excerpt(name),))
    lines = [f"{digest}  {name}\n" for name, digest in sorted(listed.items(), key=lambda each: PurePosixPath(each[0]))]
    if text != "".join(lines):
        yield Finding("manifest_form", verdict="unchecked")
