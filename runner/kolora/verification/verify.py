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
from kolora.inputs import ResolvedInputs, resolve_inputs
from kolora.places import cache_folder, out_root
from kolora.runfolder import layout
from kolora.runfolder.lock import MOST_BYTES, Lock, LockDrifted, environment_drift, read_lock
from kolora.runfolder.store import RunFolder
from kolora.session import complete
from kolora.spec import Story, load_story
from kolora.spec.document import MOST_BYTES as LARGEST_STORY
from kolora.spec.story import FolderDataset
from kolora.verification.claims import digests, picture_claims, picture_fault, story_against_lock
from kolora.verification.compare import compare, compare_grids, different_loras
from kolora.verification.pack import Pack, open_pack
from kolora.verification.page import write_page
from kolora.verification.reports import report_claims
from kolora.verification.verdict import Tolerance, judge_picture, tolerance_of, worst
from kolora.verification.words import Finding

LORAS = ("lora/pytorch_lora_weights.safetensors", "lora/diffsynth.safetensors")


@dataclass(frozen=True)
class Folders:
    """What the user lets a story's own paths stand for; a submission's paths are never followed."""

    checkpoint: Path | None = None
    dataset: Path | None = None
    aesthetics: Path | None = None
    clip: Path | None = None


NO_FOLDERS = Folders()


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


def verify(
    submission: Path | str,
    *,
    out: Path | str | None = None,
    device: Literal["cuda", "cpu"] | None = None,
    folders: Folders = NO_FOLDERS,
    retrain: bool = False,
    on_event: OnEvent = ignore,
    halt: Halt | None = None,
) -> Verification:
    """Draw a submission again and give the verdict; writes verify.json, verify.html and the pictures into ``out``.

    submission: a run folder, or a submission's folder or zip; it is read and never trusted. out: else a folder beside
    the run folders. folders: what the story's own paths stand for here. retrain: also train again. halt: is asked
    whether to stop. Prints nothing. Raises SubmissionUnsafe, StoryInvalid for a story that points elsewhere,
    InputAbsent for what is not here or is not what the lock pins.
    """
    set_environment()
    submission = Path(submission)
    root = Path(out) if out is not None else out_root() / f"verify-{submission.resolve().stem}"
    facts = _verified(
        submission,
        out=root,
        cache=cache_folder(),
        device=find_device(device),
        folders=folders,
        retrain=retrain,
        on_event=on_event,
        halt=halt or Halt(),
    )
    return Verification(facts["verdict"], root, facts)


def _verified(
    submission: Path,
    *,
    out: Path,
    cache: Path,
    device: str,
    folders: Folders,
    retrain: bool,
    on_event: OnEvent,
    halt: Halt,
) -> dict[str, Any]:
    pack = open_pack(submission)
    lock = read_lock(pack.read("story.lock.yaml", most=MOST_BYTES), name="story.lock.yaml")
    source = pack.read("story.yaml", most=LARGEST_STORY)
    story = load_story(source, name="story.yaml", overrides=lock.overrides, version=lock.kolora)
    with writing(out):
        for name in ("submission", "again", "retrained", "difference"):
            shutil.rmtree(out / name, ignore_errors=True)
        names = _lora_names(pack, lock)
        lora = out / "submission" / "lora.safetensors"
        pack.copy(names[0], lora)
    findings = [*digests(pack, lock), *story_against_lock(story, lock), *_other_loras(pack, names, out)]
    mine = _own(story, folders, lora=lora)
    found = _found(mine, lock, out=out, cache=cache, folders=folders)
    readable = {}
    for scene in story.resolved_scenes():
        name = f"images/{scene.number:02d}.png"
        picture = _copied(pack, name, out)
        fault = (
            picture_fault(picture, (scene.width, scene.height), name=name) if picture else Finding("absent", (name,))
        )
        if fault is not None:
            findings.append(fault)
            continue
        readable[scene.number] = scene
        findings += picture_claims(
            out / "submission" / name, scene, checkpoint=lock.checkpoint.told or lock.checkpoint.sha256, name=name
        )
    again = _run(found, source, out / "again", device, on_event, halt)
    dtype, tolerance = tolerance_of(_dtype(lock), _dtype(again))
    judged = compare(
        [(out / "submission" / f"images/{at:02d}.png", out / "again" / f"images/{at:02d}.png") for at in readable],
        [scene.prompt for scene in readable.values()],
        aesthetics=found.inputs.aesthetics,
        clip=found.inputs.clip,
        device=device,
    )
    scenes = []
    for number, facts in zip(readable, judged, strict=True):
        verdict, reasons = judge_picture(facts, tolerance)
        same = sha256_of(out / f"submission/images/{number:02d}.png") == again.results[f"images/{number:02d}.png"]
        told = {"verdict": verdict, "same_file": same, "reasons": [each.facts for each in reasons]}
        scenes.append({"number": number} | told | facts)
    grid = _grid(pack, story, out, tolerance)
    if isinstance(grid, Finding):
        findings, grid = [*findings, grid], None
    findings += report_claims(pack, story.resolved_scenes(), scenes, tolerance)
    trained = _retrained(story, source, lock, again, out=out, cache=cache, folders=folders, device=device,
                         on_event=on_event, halt=halt) if retrain else None  # fmt: skip
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
        "environment": environment_drift(lock, device, packages(), image_digest()),
    }
    with writing(out):
        write_json(out / "verify.json", facts)
        write_page(out, facts, story)
    return facts


def _lora_names(pack: Pack, lock: Lock) -> list[str]:
    """List the LoRA's files, first the one to draw with: by its usual names, else by the lock, else by its ending."""
    found = [name for name in LORAS if name in pack.sizes]
    found += sorted(name for name in pack.sizes if name.endswith(".safetensors") and name in lock.results)
    found += sorted(name for name in pack.sizes if name.endswith(".safetensors"))
    if not found:
        raise InputAbsent("the submission has no LoRA, no *.safetensors", hint="ask for one that has lora/")
    return list(dict.fromkeys(found))


def _other_loras(pack: Pack, names: Sequence[str], out: Path) -> Iterator[Finding]:
    """Hold the LoRA's files against each other: other tools load another one than that which draws here."""
    places = {out / "submission" / "loras" / f"{number}.safetensors": name for number, name in enumerate(names)}
    for path, name in places.items():
        pack.copy(name, path)
    for path, fault in different_loras(list(places)).items():
        values = (places[path], fault or names[0])
        yield Finding("lora_unreadable" if fault else "lora_other", values)
    shutil.rmtree(out / "submission" / "loras")


def _copied(pack: Pack, name: str, out: Path) -> Path | None:
    if name not in pack.sizes:
        return None
    pack.copy(name, out / "submission" / name)
    return out / "submission" / name


def _grid(pack: Pack, story: Story, out: Path, tolerance: Tolerance) -> dict[str, Any] | Finding | None:
    """Compare the grid, where the submission has one, or say why it cannot be compared."""
    picture, size = _copied(pack, "grid.png", out), story.resolved_grid()
    if picture is None:
        return None
    fault = picture_fault(picture, (size.width, size.height), name="grid.png")
    if fault is not None:
        return fault
    facts = compare_grids(picture, out / "again" / "grid.png")
    verdict, reasons = judge_picture(facts, tolerance)
    return {"verdict": verdict, "reasons": [each.facts for each in reasons]} | facts


def _own(story: Story, folders: Folders, *, lora: Path) -> Story:
    """Make the story one of this machine: its LoRA given, its paths those that the user named."""
    checkpoint = story.model.checkpoint
    if checkpoint not in ("kolors", "pocket"):
        checkpoint = str(_named("model.checkpoint", checkpoint, folders.checkpoint, "--checkpoint"))
    elif folders.checkpoint is not None:
        checkpoint = str(folders.checkpoint.resolve())
    scores = {}
    for kind in ("aesthetics", "clip"):
        given, chosen = getattr(story.scores, kind), getattr(folders, kind)
        if given not in ("auto", "off") or (chosen is not None and given != "off"):
            scores[kind] = str(_named(f"scores.{kind}", given, chosen, f"--{kind}"))
    return story.model_copy(
        update={
            "model": story.model.model_copy(update={"checkpoint": checkpoint}),
            "scores": story.scores.model_copy(update=scores),
            "render": story.render.model_copy(update={"lora": str(lora.resolve())}),
            "report": story.report.model_copy(update={"compare": False}),
        }
    )


def _named(key: str, given: str, chosen: Path | None, option: str) -> Path:
    if chosen is None:
        raise StoryInvalid(
            f"{key} is {given!r}, a place on somebody else's machine; a submission's paths are not followed",
            hint=f"{option} FOLDER names your own; it must be what the lock pins",
        )
    return chosen.resolve()


def _found(story: Story, lock: Lock, *, out: Path, cache: Path, folders: Folders) -> ResolvedInputs:
    """Find what drawing again takes, and refuse what is not what the lock pins."""
    roots = [each.resolve() for each in dataclasses.astuple(folders) if each is not None]
    found = resolve_inputs(story, base=out.resolve(), cache=cache, roots=roots, pins=lock.pins)
    pinned = {"checkpoint": lock.checkpoint.sha256}
    actual = {"checkpoint": found.inputs.checkpoint}
    for kind, scorer in (("aesthetics", found.inputs.aesthetics), ("clip", found.inputs.clip)):
        locked = lock.scorers.get(kind)
        if locked is not None and scorer is not None:
            pinned[kind], actual[kind] = locked.sha256, scorer.digest
    for kind, sha256 in pinned.items():
        if actual[kind] != sha256:
            raise LockDrifted(
                f"the {kind} here is {actual[kind][:12]}, story.lock.yaml pins {sha256[:12]}",
                hint=f"--{kind} FOLDER names the one that the submission was made with",
            )
    return found


def _run(found: ResolvedInputs, source: bytes, root: Path, device: str, on_event: OnEvent, halt: Halt) -> Lock:
    text = source.decode("utf-8", errors="replace")
    complete(found, source=text, root=root, device=device, on_event=on_event, halt=halt, report=False)
    return read_lock((root / "story.lock.yaml").read_bytes(), name="story.lock.yaml")


def _dtype(lock: Lock) -> str | None:
    numerics = lock.numerics_of("render")
    return numerics.dtype if numerics is not None else None


def _retrained(
    story: Story,
    source: bytes,
    lock: Lock,
    again: Lock,
    *,
    out: Path,
    cache: Path,
    folders: Folders,
    device: str,
    on_event: OnEvent,
    halt: Halt,
) -> Mapping[str, Any]:
    """Train again from the data set the lock pins; the same LoRA is identical, else the pictures' scores decide."""
    mine = _own(story, folders, lora=out)
    mine = mine.model_copy(update={"render": story.render})
    if story.render.lora is not None:
        raise StoryInvalid("the story brings its LoRA and trains none", hint="verify it without --retrain")
    if isinstance(story.dataset, FolderDataset):
        path = _named("dataset.path", story.dataset.path, folders.dataset, "--dataset")
        mine = mine.model_copy(update={"dataset": story.dataset.model_copy(update={"path": str(path)})})
    found = _found(mine, lock, out=out, cache=cache, folders=folders)
    if found.inputs.dataset != (lock.dataset.identity if lock.dataset is not None else None):
        raise LockDrifted("the data set here is not the one that story.lock.yaml pins", hint="--dataset FOLDER")
    _run(found, source, out / "retrained", device, on_event, halt)
    # Not the files: another version may say more in their headers.
    is_same = not different_loras(
        [out / "submission" / "lora.safetensors", out / "retrained" / layout.LORAS["diffsynth"]]
    )
    means = {root: _means(out / root) for root in ("again", "retrained")}
    allowed = {"aesthetics_mean": 0.25, "clip_mean": 1.0}
    apart = {
        key: abs(means["again"][key] - means["retrained"][key]) for key in allowed if means["again"][key] is not None
    }
    is_near = all(apart[key] <= allowed[key] for key in apart)
    return {
        "verdict": "identical" if is_same else "equivalent" if is_near else "different",
        "same_lora": is_same,
        "scores_apart": apart,
        "allowed": allowed,
    }


def _means(root: Path) -> dict[str, Any]:
    record = RunFolder(root).last_record("score")
    assert record is not None
    return record.facts
