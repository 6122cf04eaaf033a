"""Verify a submission: do its run again with its LoRA, hold every file against what came of it, give the verdict."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from kolora.device import find_device
from kolora.environment import set_environment
from kolora.errors import InputAbsent
from kolora.events import OnEvent, ignore
from kolora.execution.provenance import image_digest, packages
from kolora.execution.signals import Halt
from kolora.files import real_path, writing
from kolora.places import out_root
from kolora.redaction import scrubbing
from kolora.runfolder import layout
from kolora.runfolder.lock import LARGEST_LOCK, Lock, environment_drift, read_lock
from kolora.session import refuse_link
from kolora.signatures import read_signers
from kolora.spec import Story, load_story
from kolora.spec.document import LARGEST_STORY
from kolora.verification.compare import Comparison, compare, overridden
from kolora.verification.contest import add_contest
from kolora.verification.expected import Expectations
from kolora.verification.pack import Pack, open_pack
from kolora.verification.page import PAGE, render_page
from kolora.verification.place import EXPECTED, FACTS, SUBMITTED, claim_place
from kolora.verification.rebuild import Rebuilt, Task, rebuild
from kolora.verification.resolve import NO_FOLDERS, Folders
from kolora.verification.verdict import worst

USUAL_LORAS = (layout.LORAS["diffusers"], layout.LORAS["diffsynth"])
"""The LoRA to draw with, by what a submission usually calls it."""
LORA = "lora.safetensors"
"""What the submission's LoRA is called here."""


@dataclass(frozen=True)
class Verification:
    """What came of verifying a submission; facts: all that verify.json says. folder: holds it, and verify.html."""

    verdict: Literal["identical", "equivalent", "different"]
    folder: Path
    facts: Mapping[str, Any]

    @property
    def page(self) -> Path:
        """What was found, and the pictures side by side."""
        return self.folder / PAGE


@scrubbing()
def verify(
    submission: Path | str,
    *,
    out: Path | str | None = None,
    device: Literal["cuda", "cpu"] | None = None,
    folders: Folders = NO_FOLDERS,
    retrain: bool | None = None,
    signer: Path | str | None = None,
    on_event: OnEvent = ignore,
    halt: Halt | None = None,
) -> Verification:
    """Do a submission's run again and give the verdict; writes verify.json, verify.html, the report and the pictures.

    submission: a run folder, or a submission's folder or zip; it is read and never trusted. out: else a folder beside
    the run folders; what is computed there is kept for the next time. folders: what the story's own paths stand for
    here. retrain: also train again; None where the data set can be had. signer: a file of keys, one of which must have
    signed it. halt: is asked whether to stop. Prints nothing. Raises SubmissionUnsafe, StoryInvalid for a story that
    points elsewhere, InputAbsent for what is not here or is not what the lock pins.
    """
    set_environment()
    submission, signers = Path(submission), read_signers(Path(signer)) if signer is not None else None
    root = Path(out) if out is not None else out_root() / f"verify-{real_path(submission).stem}"
    refuse_link(root, by_default=out is None)
    pack = open_pack(submission)
    lock = read_lock(pack.read(layout.LOCK, most=LARGEST_LOCK), name=layout.LOCK)
    source = pack.read(layout.STORY, most=LARGEST_STORY)
    # By the defaults of its time: by today's, an old story might mean other pictures.
    story = load_story(source, name=layout.STORY, overrides=lock.overrides, version=lock.kolora)
    owned = claim_place(root, submission=submission)
    rebuilt = rebuild(
        Task(
            story=story,
            source=source,
            lock=lock,
            lora=_copy_lora(pack, lock, root),
            out=root,
            device=find_device(device),
            folders=folders,
            retrain=retrain,
            on_event=on_event,
            halt=halt or Halt(),
        )
    )
    comparison = compare(pack, Expectations(rebuilt, root / EXPECTED), place=root / SUBMITTED)
    _copy_pictures(pack, comparison, root / SUBMITTED)
    facts = _facts(story, lock, rebuilt, comparison) | {"overrides": _overrides(source, story, lock)}
    facts = add_contest(facts, pack=pack, story=story, resolved=rebuilt.resolved, signers=signers)
    with writing(root):
        owned.write_json(FACTS, facts)
        owned.write_text(PAGE, render_page(root, facts, story))
    return Verification(facts["verdict"], root, facts)


def _copy_lora(pack: Pack, lock: Lock, root: Path) -> Path:
    """Copy the LoRA that is to draw."""
    target = root / SUBMITTED / LORA
    with writing(root):
        pack.copy(_lora_name(pack, lock), target)
    return target


def _copy_pictures(pack: Pack, comparison: Comparison, place: Path) -> None:
    """Copy the pictures that the page shows."""
    names = [layout.picture_path("render", scene["number"]) for scene in comparison.scenes]
    with writing(place):
        for name in [*names, layout.GRID] if comparison.grid else names:
            # There already where it is another than the one drawn here.
            if not (place / name).exists():
                pack.copy(name, place / name)


def _lora_name(pack: Pack, lock: Lock) -> str:
    """Choose the LoRA file to draw with: by its usual names, else by the lock, else by its ending."""
    found = [name for name in USUAL_LORAS if name in pack.sizes]
    found += sorted(name for name in pack.sizes if name.endswith(".safetensors") and name in lock.results)
    found += sorted(name for name in pack.sizes if name.endswith(".safetensors"))
    if not found:
        raise InputAbsent("the submission has no LoRA, no *.safetensors", hint="ask for one that has lora/")
    return found[0]


def _facts(story: Story, lock: Lock, rebuilt: Rebuilt, comparison: Comparison) -> dict[str, Any]:
    """Say what came of it, as verify.json does."""
    findings = (*comparison.findings, *rebuilt.findings)
    of_training = [str(rebuilt.retrained["verdict"])] if rebuilt.retrained else []
    of_training += ["different" if each.verdict == "different" else "equivalent" for each in rebuilt.findings]
    return {
        "verdict": worst([comparison.verdict, *of_training]),
        "name": story.name,
        "title": story.title or story.name,
        "language": story.report.language or story.language,
        "checkpoint": {"name": lock.checkpoint.name, "sha256": lock.checkpoint.sha256},
        "tolerance": {"dtype": rebuilt.dtype} | dataclasses.asdict(rebuilt.tolerance),
        "findings": [each.facts for each in findings],
        "unchecked": [each.what for each in findings if each.verdict == "unchecked"],
        "scenes": [dict(each) for each in comparison.scenes],
        "grid": comparison.grid,
        "retrained": rebuilt.retrained,
        "report": f"{rebuilt.root.name}/{layout.REPORT_PAGE}",
        "environment": environment_drift(lock, rebuilt.device, packages(), image_digest()),
    }


def _overrides(source: bytes, story: Story, lock: Lock) -> list[dict[str, str]]:
    """Say what was written over the story file when it was run."""
    changes = overridden(source, story, lock)
    return [{"key": key, "run": run, "story": written} for key, run, written in changes]
