"""Verify a submission: hold it against itself, draw its scenes again with its LoRA, compare, and say what came out."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from kolora.device import find_device
from kolora.environment import set_environment
from kolora.errors import InputAbsent, StoryInvalid
from kolora.events import OnEvent, ignore
from kolora.execution.provenance import image_digest, packages
from kolora.execution.signals import Halt
from kolora.files import sha256_of, write_json, writing
from kolora.inputs import ResolvedInputs
from kolora.places import cache_folder, out_root
from kolora.redaction import scrubbing
from kolora.runfolder import layout
from kolora.runfolder.layout import picture_path
from kolora.runfolder.lock import LARGEST_LOCK, Lock, LockDrifted, environment_drift, read_lock
from kolora.runfolder.reader import read_run
from kolora.session import run_resolved
from kolora.signatures import read_signers
from kolora.spec import ResolvedScene, Story, load_story
from kolora.spec.document import LARGEST_STORY
from kolora.spec.sections.dataset import FolderDataset
from kolora.stages import score
from kolora.verification.claims import digests, picture_claims, picture_fault, story_against_lock
from kolora.verification.compare import compare, compare_grids, different_loras
from kolora.verification.contest import add_contest
from kolora.verification.pack import Pack, open_pack
from kolora.verification.page import write_page
from kolora.verification.reports import report_claims
from kolora.verification.resolve import NO_FOLDERS, Folders, own_folder, own_story, resolve_pinned
from kolora.verification.verdict import Tolerance, judge_picture, tolerance_of, worst
from kolora.verification.words import Finding

USUAL_LORAS = (layout.LORAS["diffusers"], layout.LORAS["diffsynth"])
"""The LoRA to draw with, by what a submission usually calls it."""
SUBMITTED_LORA = "lora.safetensors"
"""Its name among what was copied from the submission."""
RETRAINED_TOLERANCE = {"aesthetics_mean": 0.25, "clip_mean": 1.0}
"""How far mean scores may be apart where another LoRA was trained: points of 10, points of 100."""


@dataclass(frozen=True)
class Verification:
    """What came of verifying a submission; facts: all that verify.json says. folder: holds it, and verify.html."""

    verdict: Literal["identical", "equivalent", "different"]
    folder: Path
    facts: Mapping[str, Any]

    @property
    def page(self) -> Path:
        """What was found, and the pictures side by side."""
        return self.folder / "verify.html"


@scrubbing()
def verify(
    submission: Path | str,
    *,
    out: Path | str | None = None,
    device: Literal["cuda", "cpu"] | None = None,
    folders: Folders = NO_FOLDERS,
    retrain: bool = False,
    signer: Path | str | None = None,
    on_event: OnEvent = ignore,
    halt: Halt | None = None,
) -> Verification:
    """Draw a submission again and give the verdict; writes verify.json, verify.html and the pictures into ``out``.

    submission: a run folder, or a submission's folder or zip; it is read and never trusted. out: else a folder beside
    the run folders. folders: what the story's own paths stand for here. retrain: also train again. signer: a file of
    keys, one of which must have signed it. halt: is asked whether to stop. Prints nothing. Raises SubmissionUnsafe,
    StoryInvalid for a story that points elsewhere, InputAbsent for what is not here or is not what the lock pins.
    """
    set_environment()
    submission, signers = Path(submission), read_signers(Path(signer)) if signer is not None else None
    root = Path(out) if out is not None else out_root() / f"verify-{submission.resolve().stem}"
    pack = open_pack(submission)
    lock = read_lock(pack.read(layout.LOCK, most=LARGEST_LOCK), name=layout.LOCK)
    source = pack.read(layout.STORY, most=LARGEST_STORY)
    job = _Job(
        pack=pack,
        lock=lock,
        source=source,
        # By the defaults of its time: by today's, an old story might mean other pictures.
        story=load_story(source, name=layout.STORY, overrides=lock.overrides, version=lock.kolora),
        out=root,
        device=find_device(device),
        folders=folders,
        signers=signers,
        on_event=on_event,
        halt=halt or Halt(),
    )
    facts = _verify(job, retrain=retrain)
    with writing(root):
        write_json(root / "verify.json", facts)
        write_page(root, facts, job.story)
    return Verification(facts["verdict"], root, facts)


@dataclass(frozen=True, kw_only=True)
class _Job:
    """One verification: the submission as it was opened, and where and how to draw it again."""

    pack: Pack
    lock: Lock
    source: bytes
    story: Story
    out: Path
    device: str
    folders: Folders
    signers: Mapping[str, str] | None
    on_event: OnEvent
    halt: Halt

    def submitted(self, name: str) -> Path:
        """Name the place of ours that a submitted file is copied to."""
        return self.out / "submission" / name

    def again(self, name: str) -> Path:
        """Name the same file as it was made again here."""
        return self.out / "again" / name


def _verify(job: _Job, *, retrain: bool) -> dict[str, Any]:
    """Check everything, and return what verify.json says."""
    lock, story = job.lock, job.story
    loras = _copy_lora(job)
    findings = [*digests(job.pack, lock), *story_against_lock(story, lock), *_other_loras(job, loras)]
    own = own_story(story, job.folders, lora=job.submitted(SUBMITTED_LORA))
    resolved = resolve_pinned(own, lock, out=job.out, cache=cache_folder(), folders=job.folders)
    readable, claims = _read_pictures(job)
    again = _run(job, resolved, job.out / "again")
    dtype, tolerance = tolerance_of(_dtype(lock), _dtype(again))
    scenes = _judge_scenes(job, readable, resolved, again, tolerance)
    grid, faults = _judge_grid(job, tolerance)
    findings += [*claims, *faults, *report_claims(job.pack, story.resolved_scenes(), scenes, tolerance)]
    trained = _retrain(job) if retrain else None
    verdicts = [each.verdict for each in findings if each.verdict != "note"]
    verdicts += [str(each["verdict"]) for each in (*scenes, grid, trained) if each]
    facts = {
        "verdict": worst(verdicts),
        "name": story.name,
        "title": story.title or story.name,
        "language": story.report.language or story.language,
        "checkpoint": {"name": lock.checkpoint.name, "sha256": lock.checkpoint.sha256},
        "tolerance": {"dtype": dtype} | dataclasses.asdict(tolerance),
        "findings": [each.facts for each in findings],
        "scenes": scenes,
        "grid": grid,
        "retrained": trained,
        "environment": environment_drift(lock, job.device, packages(), image_digest()),
    }
    return add_contest(facts, pack=job.pack, story=story, resolved=resolved, signers=job.signers)


def _copy_lora(job: _Job) -> list[str]:
    """Make room in OUT, copy the LoRA that is to draw, and return the names of all LoRA files, that one first."""
    with writing(job.out):
        # What an earlier verification left, and nothing else that OUT may hold.
        for name in ("submission", "again", "retrained", "difference"):
            shutil.rmtree(job.out / name, ignore_errors=True)
        names = _lora_names(job.pack, job.lock)
        job.pack.copy(names[0], job.submitted(SUBMITTED_LORA))
    return names


def _read_pictures(job: _Job) -> tuple[dict[int, ResolvedScene], list[Finding]]:
    """Copy the submitted pictures; return the scenes whose picture can be compared, and what pictures say wrongly."""
    readable, findings = {}, []
    # Pictures say the digest that was in use when they were drawn.
    checkpoint = job.lock.checkpoint.lock_1_sha256 or job.lock.checkpoint.sha256
    for scene in job.story.resolved_scenes():
        name = picture_path("render", scene.number)
        if not _copied(job, name):
            findings.append(Finding("absent", (name,)))
            continue
        # Looked at before anything decodes it: a few kilobytes of PNG may unpack to gigabytes.
        fault = picture_fault(job.submitted(name), (scene.width, scene.height), name=name)
        if fault is not None:
            findings.append(fault)
            continue
        readable[scene.number] = scene
        findings += picture_claims(job.submitted(name), scene, checkpoint=checkpoint, name=name)
    return readable, findings


def _judge_scenes(
    job: _Job, readable: Mapping[int, ResolvedScene], resolved: ResolvedInputs, again: Lock, tolerance: Tolerance
) -> list[dict[str, Any]]:
    """Compare each readable picture with the one drawn again, as verify.json tells it."""
    names = {number: picture_path("render", number) for number in readable}
    compared = compare(
        [(job.submitted(name), job.again(name)) for name in names.values()],
        [scene.prompt for scene in readable.values()],
        aesthetics=resolved.inputs.aesthetics,
        clip=resolved.inputs.clip,
        device=job.device,
    )
    scenes = []
    for (number, name), facts in zip(names.items(), compared, strict=True):
        # Apart from the verdict, which is on pixels: text chunks and compression may differ.
        same_file = sha256_of(job.submitted(name)) == again.results[name]
        scenes.append({"number": number, "same_file": same_file} | _judged(facts, tolerance))
    return scenes


def _judge_grid(job: _Job, tolerance: Tolerance) -> tuple[dict[str, Any] | None, list[Finding]]:
    """Compare the grid, where the submission has one, or say why it cannot be compared."""
    size = job.story.resolved_grid()
    if not _copied(job, layout.GRID):
        return None, []
    fault = picture_fault(job.submitted(layout.GRID), (size.width, size.height), name=layout.GRID)
    if fault is not None:
        return None, [fault]
    return _judged(compare_grids(job.submitted(layout.GRID), job.again(layout.GRID)), tolerance), []


def _judged(facts: Mapping[str, Any], tolerance: Tolerance) -> dict[str, Any]:
    verdict, reasons = judge_picture(facts, tolerance)
    return {"verdict": verdict, "reasons": [each.facts for each in reasons], **facts}


def _lora_names(pack: Pack, lock: Lock) -> list[str]:
    """List the LoRA's files, first the one to draw with: by its usual names, else by the lock, else by its ending."""
    found = [name for name in USUAL_LORAS if name in pack.sizes]
    found += sorted(name for name in pack.sizes if name.endswith(".safetensors") and name in lock.results)
    found += sorted(name for name in pack.sizes if name.endswith(".safetensors"))
    if not found:
        raise InputAbsent("the submission has no LoRA, no *.safetensors", hint="ask for one that has lora/")
    return list(dict.fromkeys(found))


def _other_loras(job: _Job, names: Sequence[str]) -> Iterator[Finding]:
    """Hold the LoRA's files against each other: other tools load another one than that which draws here."""
    folder = job.submitted("loras")
    # By number: a stranger's name never becomes a path of ours.
    places = {folder / f"{number}.safetensors": name for number, name in enumerate(names)}
    for path, name in places.items():
        job.pack.copy(name, path)
    for path, fault in different_loras(list(places)).items():
        values = (places[path], fault or names[0])
        yield Finding("lora_unreadable" if fault else "lora_other", values)
    shutil.rmtree(folder)


def _copied(job: _Job, name: str) -> bool:
    """Copy a file of the submission to its place of ours, if there is one."""
    if name in job.pack.sizes:
        job.pack.copy(name, job.submitted(name))
    return name in job.pack.sizes


def _run(job: _Job, resolved: ResolvedInputs, root: Path) -> Lock:
    """Run the story in a folder of its own, and return the lock it comes to."""
    text = job.source.decode("utf-8", errors="replace")
    run_resolved(
        resolved, source=text, root=root, device=job.device, on_event=job.on_event, halt=job.halt, report=False
    )
    return read_lock((root / layout.LOCK).read_bytes(), name=layout.LOCK)


def _dtype(lock: Lock) -> str | None:
    numerics = lock.numerics_of("render")
    return numerics.dtype if numerics is not None else None


def _retrain(job: _Job) -> dict[str, Any]:
    """Train again from the data set the lock pins; the same LoRA is identical, else the pictures' scores decide."""
    _run(job, _resolve_training(job), job.out / "retrained")
    # Not the files: another version may say more in their headers.
    trained = job.out / "retrained" / layout.LORAS["diffsynth"]
    is_same = not different_loras([job.submitted(SUBMITTED_LORA), trained])
    again, retrained = _means(job.out / "again"), _means(job.out / "retrained")
    apart = {key: abs(again[key] - retrained[key]) for key in RETRAINED_TOLERANCE if key in again and key in retrained}
    is_near = all(difference <= RETRAINED_TOLERANCE[key] for key, difference in apart.items())
    return {
        "verdict": "identical" if is_same else "equivalent" if is_near else "different",
        "same_lora": is_same,
        "scores_apart": apart,
        "allowed": RETRAINED_TOLERANCE,
    }


def _resolve_training(job: _Job) -> ResolvedInputs:
    """Find what training again takes, the data set among it; it must be the one that the lock pins."""
    story, folders = job.story, job.folders
    if story.render.lora is not None:
        raise StoryInvalid("the story brings its LoRA and trains none", hint="verify it without --retrain")
    # own_story puts a LoRA into render; the story's own has none, so that one is trained.
    own = own_story(story, folders, lora=job.out).model_copy(update={"render": story.render})
    if isinstance(story.dataset, FolderDataset):
        path = own_folder("dataset.path", story.dataset.path, folders.dataset, "--dataset")
        own = own.model_copy(update={"dataset": story.dataset.model_copy(update={"path": str(path)})})
    resolved = resolve_pinned(own, job.lock, out=job.out, cache=cache_folder(), folders=folders)
    if resolved.inputs.dataset != (job.lock.dataset.identity if job.lock.dataset is not None else None):
        raise LockDrifted("the data set here is not the one that story.lock.yaml pins", hint="--dataset FOLDER")
    return resolved


def _means(root: Path) -> dict[str, float]:
    """Return a run's mean scores by the keys of RETRAINED_TOLERANCE; those that were not measured are left out."""
    facts = read_run(root).facts("score", score.Facts)
    assert facts is not None
    means = {"aesthetics_mean": facts.aesthetics_mean, "clip_mean": facts.clip_mean}
    return {key: mean for key, mean in means.items() if mean is not None}
