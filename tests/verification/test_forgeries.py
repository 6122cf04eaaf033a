"""Every statement of a submission changed, every file, every chunk, the rest forged to match: never identical.

The run is rebuilt once; what is tried is only compared. Attacks are generated from what a submission holds.
"""

from __future__ import annotations

import copy
import io
import json
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest
import yaml
from kolora.errors import KoloraError
from kolora.runfolder.lock import read_lock
from kolora.runfolder.reader import read_run
from kolora.runfolder.records import RunRecord, StepRecord
from kolora.spec import load_story
from kolora.verification.compare import compare, story_against_lock
from kolora.verification.pack import Pack, open_pack
from kolora.verification.told import records_as_told
from PIL import Image

from tests.tampering import changes_at, chunks_of, header_of, places_in, png_of, safetensors_of
from tests.verification.forger import NOT_LISTED, REFUSED, Forger

KINDS = ("run_folder", "submission")
TOLD = ("started", "seconds", "peak_memory_bytes", "facts.samples_per_second", "facts.resumed_at", "command")
"""What the records of a run alone can know; see docs/verify.md."""
FORGED_PAGES = 9
"""Of so many changes of the report one has its pages made anew: that takes longer than all else."""


def each(every: int) -> pytest.MarkDecorator:
    """Try one place of so many; the sweep tries them all."""
    return pytest.mark.parametrize("every", [every, pytest.param(1, marks=pytest.mark.sweep)])


@pytest.fixture(params=KINDS)
def forger(request: pytest.FixtureRequest) -> Forger:
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Forger)
    return found


def test_the_controls_are_identical(
    run_folder: Forger, submission: Forger, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_folder.verdict({}) == "identical"
    assert submission.verdict({}) == "identical"
    for prefix in ("", "渡口-可图Kolors训练-一只小猫/"):
        archive = submission.zipped(tmp_path / "pack.zip", prefix=prefix)
        found = compare(open_pack(archive), submission.expectations, place=tmp_path / "place")
        assert (found.verdict, found.findings) == ("identical", ())
        assert [scene["same_file"] for scene in found.scenes] == [True, True]


@each(12)
def test_no_leaf_of_the_report_can_be_changed(forger: Forger, every: int) -> None:
    values = forger.json("report.json")
    tried, passed = 0, []
    for place in list(places_in(values))[1::every]:
        for done in changes_at(values, place):
            tried += 1
            changed = {"report.json": json.dumps(values, ensure_ascii=False, indent=2).encode() + b"\n"}
            if tried % FORGED_PAGES == 0:
                changed = forger.pages(values)
            # What is written anew may come out as it was: a key without a value is left out or there.
            is_other = any(forger.files[name] != content for name, content in changed.items())
            if is_other and forger.verdict(changed) == "identical":
                passed.append((place, done))
    assert passed == []
    assert tried > 1200 / every


@each(3)
def test_no_leaf_of_the_lock_can_be_changed(forger: Forger, every: int) -> None:
    values = forger.lock()
    tried, passed = 0, []
    for place in list(places_in(values))[1::every]:
        for done in changes_at(values, place):
            tried += 1
            if forger.verdict({"story.lock.yaml": forger.locked(values)}) == "identical":
                passed.append((place, done))
    assert passed == []
    assert tried > 250 / every


def test_no_leaf_of_the_story_can_be_changed(submission: Forger) -> None:
    """Before anything is computed; where the lock says the same, the pictures are other ones: see test_verify.py."""
    lock = read_lock(submission.files["story.lock.yaml"], name="story.lock.yaml")
    values = yaml.safe_load(submission.text("story.yaml"))
    tried, passed = 0, []
    for place in list(places_in(values))[1:]:
        for done in changes_at(values, place):
            text = yaml.safe_dump(values, allow_unicode=True)
            tried += 1
            try:
                if not list(story_against_lock(load_story(text), lock)):
                    passed.append((place, done))
            except KoloraError:
                pass
            assert submission.verdict({"story.yaml": text.encode()}) in ("different", REFUSED)
    # A key that says what holds anyway may be left out: the file is another one, as the verdict on it says.
    assert {done for _, done in passed} <= {"removed"}
    assert tried > 50


@each(23)
def test_no_leaf_of_the_records_can_be_changed(run_folder: Forger, every: int) -> None:
    tried, passed = 0, []
    for name in sorted(each for each in run_folder.files if each.startswith("records/")):
        values, kind = run_folder.json(name), RunRecord if name.endswith("run.json") else StepRecord
        for place in list(places_in(values))[1::every]:
            is_told = ".".join(map(str, place)).startswith(TOLD)
            # What a run alone can know takes a report of its own: see the next test.
            for done in () if is_told and every > 1 else changes_at(values, place):
                tried += 1
                # Its own digest, changed alone, would be put right.
                plain = json.dumps(values, ensure_ascii=False, indent=1).encode() + b"\n"
                written = plain if place == ("sha256",) else _written(values, kind)
                if run_folder.verdict({name: written}) == "identical" and not is_told:
                    passed.append((name, place, done))
    assert passed == []
    assert tried > 1500 / every


def _written(values: Any, kind: type[RunRecord] | type[StepRecord]) -> bytes:
    """Spell a record as kolora does, where it is one."""
    try:
        record = kind.model_validate(values)
    except ValueError:
        return json.dumps(values, ensure_ascii=False, indent=1).encode() + b"\n"
    forged = record.with_digest() if isinstance(record, StepRecord) else record
    text = forged.model_dump_json(indent=1)
    is_whole = json.loads(text) | {"sha256": ""} == values | {"sha256": ""}
    return (text if is_whole else json.dumps(values, ensure_ascii=False, indent=1)).encode() + b"\n"


def test_what_a_run_alone_can_know_must_agree_with_its_records(run_folder: Forger) -> None:
    """Times are told by nobody else; report, line of the run and record of the step have to say the same."""
    train, run = run_folder.json("records/train.json"), run_folder.json("records/run.json")
    train["seconds"] = 0.25
    alone = {"records/train.json": _written(train, StepRecord)}
    assert run_folder.verdict(alone) == "different"
    for line in run["steps"]:
        line["seconds"] = 0.25 if line["step"] == "train" else line["seconds"]
    both = alone | {"records/run.json": _written(run, RunRecord)}
    assert run_folder.verdict(both) == "different", "the report says other"
    values = run_folder.json("report.json")
    for step in values["steps"]:
        step["seconds"] = 0.25 if step["name"] == "train" else step["seconds"]
    verdict, comparison = run_folder.compared(both | run_folder.pages(values))
    assert verdict == "identical"
    assert comparison is not None
    assert any("told by the run's own records" in each.what for each in comparison.findings)


@pytest.mark.parametrize("kind", KINDS)
def test_no_file_can_be_changed_removed_or_swapped(kind: str, request: pytest.FixtureRequest) -> None:
    forger: Forger = request.getfixturevalue(kind)
    passed = []
    names = sorted(name for name in forger.files if name not in NOT_LISTED or name == "manifest.sha256")
    for name in names:
        content = forger.files[name]
        middle = len(content) // 2
        changes: dict[str, bytes | None] = {
            "removed": None,
            "lengthened": content + b"\n",
            "flipped": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
        }
        for done, changed in changes.items():
            for is_forged in (True, False) if done == "flipped" else (True,):
                if forger.verdict({name: changed}, is_forged=is_forged) == "identical":
                    passed.append((name, done))
        others = [each for each in names if Path(each).suffix == Path(name).suffix and each > name]
        for other in others[:3]:
            if forger.files[other] != content:
                swapped = {name: forger.files[other], other: content}
                if forger.verdict(swapped) == "identical":
                    passed.append((name, other))
    assert passed == []


ADDED = [
    "run.sh",
    "images/03.png",
    "images/1.png",
    "IMAGES/01.PNG",
    "images/01.PNG",
    "Images/01.png",
    "images/01.png ",
    "images/01.png.txt",
    "images/01\u202egnp.png",
    "images/\u200b01.png",
    "lora/other.safetensors",
    "lora/model.ckpt",
    "lora/x/y.bin",
    "model.safetensors",
    ".hidden",
    ".kolora.yaml",
    "images/.DS_Store",
    "Story.yaml",
    "story.yml",
    "story.lock.yaml.bak",
    "report.fr.html",
    "report.zh.HTML",
    "REPORT.html",
    "index.html",
    "LICENSE",
    "data/ledger.csv",
    "data/other/01.jpg",
    "manifest.sha512",
    "sub/manifest.sha256",
    "export/x.txt",
    "work/x.txt",
    "a\nb.txt",
    "\x1b]0;x\x07.txt",
    "＂.txt",
]


@pytest.mark.parametrize("name", ADDED)
def test_no_file_can_be_added(submission: Forger, name: str) -> None:
    if not name.startswith(("export/", "work/")):
        for is_forged in (True, False):
            assert submission.verdict({name: b"echo hello\n"}, is_forged=is_forged) in ("different", REFUSED)
    verdict, comparison = submission.compared({name: b"echo hello\n"})
    assert verdict in ("different", REFUSED)
    assert comparison is None or all(each.what.isprintable() for each in comparison.findings)


OWN = ("work", "work/train-000000000000", "work/TRAIN", "logs", "logs/tensorboard", "export", "export/submission")
FOREIGN = ("run.sh", "x.py", "model.ckpt", "model.pt", "x.pkl", ".hidden", "x.svg")


@pytest.mark.parametrize("name", [each for each in ADDED if not each.startswith("export/")])
def test_no_file_can_be_added_to_a_run_folder(run_folder: Forger, name: str) -> None:
    assert run_folder.verdict({name: b"echo hello\n"}) in ("different", REFUSED)


@pytest.mark.parametrize("folder", OWN)
def test_no_file_can_be_added_to_what_a_run_folder_holds_for_kolora(run_folder: Forger, folder: str) -> None:
    for name in FOREIGN:
        assert run_folder.verdict({f"{folder}/{name}": b"echo hello\n"}) not in ("identical", REFUSED)


def test_work_is_held_against_the_records(run_folder: Forger) -> None:
    tried = 0
    for name in sorted(each for each in run_folder.files if each.startswith("records/") and each != "records/run.json"):
        record = run_folder.json(name)
        folder = f"work/{record['step']}-{record['digest'][:12]}"
        whole = {f"{folder}/record.json": run_folder.files[name]}
        assert run_folder.verdict(whole) == "identical"
        assert run_folder.verdict({f"{folder}/run.sh": b"echo hello\n"}) == "different"
        for file in [*record["files"], "record.json"]:
            tried += 1
            assert run_folder.verdict({f"{folder}/{file}": b"another"}) == "different"
    assert tried > 20


STATUS = {"time": "2026-11-28T15:27:39Z", "stage": "complete", "pid": 7021}


@pytest.mark.parametrize("key", STATUS)
def test_the_last_heartbeat_says_no_more_than_one(run_folder: Forger, key: str) -> None:
    def verdict(values: Any) -> str:
        return run_folder.verdict({"status.json": json.dumps(values).encode()})

    assert verdict(STATUS) == "identical"
    for other in ("the jury says 9.9", "2999-01-01T00:00:00Z", None, 0.5, {"score": 9.9}):
        assert verdict(STATUS | {key: other}) == "different"
    assert verdict({each: value for each, value in STATUS.items() if each != key}) == "different"
    assert verdict(STATUS | {"score": 9.9}) == "different"


def test_the_mark_is_that_of_the_run(run_folder: Forger) -> None:
    mark = run_folder.json(".kolora.json")
    for change in ({"folder": "export"}, {"name": "other"}, {"score": 9.9}, {"name": None}):
        assert run_folder.verdict({".kolora.json": json.dumps(mark | change).encode()}) == "different"


@pytest.mark.parametrize("told", ["the jury says 9.9", "2999-01-01T00:00:00Z", "\u202e", -1, 1e300, None])
@pytest.mark.parametrize("place", ["started", "seconds", "command", "service"])
def test_what_a_run_tells_of_itself_is_of_its_kind(run_folder: Forger, place: str, told: Any) -> None:
    """Where run and report agree on it: a time is a time, an amount one, a command words that can be shown."""
    run = run_folder.json("records/run.json")
    if place == "service":
        run["environment"]["service"] = {"name": told}
    else:
        run[place] = ["kolora", told] if place == "command" else told
    try:
        record = RunRecord.model_validate(run)
    except ValueError:
        return
    is_right = told is None or (isinstance(told, str) and told.isprintable() and place in ("command", "service"))
    pack = cast(Pack, _Told(record))
    expected = records_as_told(pack, read_run(run_folder.expectations.rebuilt.root)).run
    of_run, of_expected = (each.environment if place == "service" else each for each in (record, expected))
    assert (getattr(of_run, place) == getattr(of_expected, place)) == is_right


@dataclass(frozen=True)
class _Told:
    """A pack that holds nothing but the record of a run."""

    run: RunRecord

    @property
    def sizes(self) -> dict[str, int]:
        return {"records/run.json": 1}

    def read(self, _: str, *, most: int) -> bytes:
        return self.run.model_dump_json().encode()[:most]


def test_what_is_not_judged_in_a_run_folder_is_said(run_folder: Forger) -> None:
    own = {".lock": b"", "logs/train.log": b"", "export/comfyui/workflow.json": b"{}"}
    verdict, comparison = run_folder.compared(own)
    assert verdict == "identical"
    assert comparison is not None
    said = "what stands in these is not judged, as they are no part of what a run shows: logs, export, .lock, .kolora"
    assert any(each.what.startswith(said) for each in comparison.findings)
    assert run_folder.verdict({".lock": b"#!/bin/sh"}) == "different"


def test_no_folder_can_be_added(forger: Forger) -> None:
    for name in ("empty", "images/empty", "lora/.git"):
        (forger.folder / name).mkdir()
        assert forger.verdict({}) == "different"
        (forger.folder / name).rmdir()


def text_chunk(keyword: str, text: str) -> tuple[bytes, bytes]:
    return b"tEXt", keyword.encode() + b"\0" + text.encode("latin-1")


FOREIGN_CHUNKS = [
    text_chunk("prompt", "{}"),
    text_chunk("parameters", "another prompt"),
    text_chunk("workflow", "{}"),
    text_chunk("Comment", "drawn by hand"),
    (b"zTXt", b"Comment\0\0" + zlib.compress(b"drawn by hand")),
    (b"iTXt", b"kolora.seed\0\0\0\0\x007"),
    (b"iTXt", b"kolora.model\0\0\0\0\0Kolors"),
    (b"gAMA", b"\0\0\0\1"),
    (b"cHRM", bytes(32)),
    (b"sRGB", b"\0"),
    (b"iCCP", b"x\0\0" + zlib.compress(b"profile")),
    (b"tRNS", bytes(6)),
    (b"bKGD", bytes(6)),
    (b"pHYs", bytes(9)),
    (b"tIME", bytes(7)),
    (b"eXIf", b"MM\0*\0\0\0\x08\0\0\0\0\0\0"),
    (b"acTL", bytes(7) + b"\2" + bytes(4)[1:] + b"\0"),
    (b"koLo", b"anything"),
]


def of_pictures(forger: Forger) -> list[str]:
    return sorted(name for name in forger.files if name.endswith(".png"))


@pytest.mark.parametrize("chunk", FOREIGN_CHUNKS, ids=lambda chunk: f"{chunk[0].decode()}-{len(chunk[1])}")
def test_no_chunk_can_be_added_to_a_picture(run_folder: Forger, chunk: tuple[bytes, bytes]) -> None:
    for name in of_pictures(run_folder):
        chunks = chunks_of(run_folder.files[name])
        for place in (1, len(chunks) - 1, len(chunks)):
            content = png_of([*chunks[:place], chunk, *chunks[place:]])
            assert run_folder.verdict({name: content}) == "different"


def test_no_chunk_of_a_picture_can_be_changed_or_removed(run_folder: Forger) -> None:
    tried = 0
    for name in of_pictures(run_folder):
        chunks = chunks_of(run_folder.files[name])
        for place, (kind, content) in enumerate(chunks):
            changed = [(kind, content[:-1] + bytes([content[-1] ^ 1]) if content else b"x")]
            for others in (changed, [], [chunks[place]] * 2):
                tried += 1
                forged = png_of([*chunks[:place], *others, *chunks[place + 1 :]])
                assert run_folder.verdict({name: forged}) != "identical", (name, kind, others)
                if kind == b"iTXt" and others is changed:
                    assert run_folder.verdict({name: forged}) == "different"
    assert tried > 100


def with_alpha(picture: Image.Image) -> bytes:
    picture = picture.convert("RGBA")
    picture.putalpha(0)
    return saved(picture)


def saved(picture: Image.Image, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", **options)
    return buffer.getvalue()


def one_pixel(picture: Image.Image) -> bytes:
    red, green, blue = picture.getpixel((1, 1))
    picture.putpixel((1, 1), (red, green, blue ^ 1))
    return saved(picture)


REDRAWN: dict[str, Callable[[Image.Image], bytes]] = {
    "alpha 0": with_alpha,
    "a second frame": lambda picture: saved(
        picture, save_all=True, append_images=[picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)]
    ),
    "in a palette": lambda picture: saved(picture.quantize(256)),
    "in grey": lambda picture: saved(picture.convert("L")),
    "in 16 bits": lambda picture: saved(picture.convert("I;16")),
    "another compression": lambda picture: saved(picture, compress_level=1),
    "one pixel": one_pixel,
    "larger": lambda picture: saved(picture.resize((128, 128))),
    "turned": lambda picture: saved(picture.transpose(Image.Transpose.ROTATE_90)),
    "a JPEG": lambda picture: _jpeg(picture),
    "nothing": lambda _: b"",
}


def _jpeg(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.mark.parametrize("form", REDRAWN)
def test_no_picture_can_be_written_otherwise(run_folder: Forger, form: str) -> None:
    for name in of_pictures(run_folder):
        with Image.open(io.BytesIO(run_folder.files[name])) as opened:
            picture = opened.convert("RGB")
        content = REDRAWN[form](picture)
        chunks = chunks_of(run_folder.files[name])
        texts = [chunk for chunk in chunks if chunk[0] in (b"tEXt", b"iTXt")]
        if content.startswith(b"\x89PNG"):
            head, *rest = chunks_of(content)
            content = png_of([head, *texts, *rest])
        verdict = run_folder.verdict({name: content})
        assert verdict != "identical"
        if form in ("alpha 0", "a second frame", "larger", "a JPEG", "nothing", "in grey", "in 16 bits"):
            assert verdict == "different"


def test_no_byte_can_hide_behind_a_picture(run_folder: Forger) -> None:
    for name in of_pictures(run_folder):
        chunks = chunks_of(run_folder.files[name])
        for content in (b"PK\3\4", run_folder.files[name]):
            assert run_folder.verdict({name: run_folder.files[name] + content}) == "different"
        pixels = b"".join(content for kind, content in chunks if kind == b"IDAT")
        others = [chunk for chunk in chunks if chunk[0] not in (b"IDAT", b"IEND")]
        for hidden in (pixels + b"hidden", zlib.compress(zlib.decompress(pixels) + b"hidden")):
            forged = png_of([*others, (b"IDAT", hidden), (b"IEND", b"")])
            assert run_folder.verdict({name: forged}) == "different"


def test_no_part_of_a_lora_file_can_be_changed(forger: Forger) -> None:
    tried = 0
    for name in sorted(each for each in forger.files if each.endswith(".safetensors")):
        header, tensors = header_of(forger.files[name])
        for key in [*header["__metadata__"], "author", "ss_steps", "modelspec.title"]:
            for value in ("Kolors", None):
                changed = copy.deepcopy(header)
                changed["__metadata__"] |= {key: value} if value else {}
                if value is None:
                    changed["__metadata__"].pop(key, None)
                if changed != header:
                    tried += 1
                    verdict = forger.verdict({name: safetensors_of(changed, tensors)})
                    assert verdict != "identical", (name, key, value)
                    assert verdict == "different" or value is None
        shape = {"dtype": "F32", "shape": [1], "data_offsets": [len(tensors), len(tensors) + 4]}
        for content in (
            safetensors_of(header | {"hidden": shape}, tensors + bytes(4)),
            forger.files[name] + b"PK\3\4",
            forger.files[name][:-4] + b"\0\0\x80?",
            forger.files[name][:8] + forger.files[name][8:].replace(b'"format":"pt"', b'"format":"pT"', 1),
        ):
            tried += 1
            assert forger.verdict({name: content}) == "different", name
    assert tried > 80


PAGE_FORGERIES: dict[str, Callable[[str], str]] = {
    "words in comments": lambda page: f"<!doctype html><!-- {page.replace('--', '- -')} --><h1>Kolors</h1>",
    "a word": lambda page: page.replace("</h1>", " - the winner</h1>", 1),
    "a picture of the web": lambda page: page.replace("<main>", '<main><img src="https://example.org/x.png">', 1),
    "a script": lambda page: page.replace("</body>", "<script>alert(1)</script></body>", 1),
    "a style": lambda page: page.replace("</head>", "<style>main{display:none}</style></head>", 1),
    "an attribute": lambda page: page.replace("<main", '<main style="display:none"', 1),
    "hidden": lambda page: page.replace("<main", "<main hidden", 1),
    "a comment": lambda page: page + "<!-- x -->",
    "space": lambda page: page.replace("\n", "\n ", 1),
    "another preview": lambda page: page.replace("data:image/jpeg;base64,/9j/4", "data:image/jpeg;base64,/9j/5", 1),
    "another kind of preview": lambda page: page.replace("data:image/jpeg", "data:image/svg+xml", 1),
    "a link": lambda page: page.replace('href="', 'href="https://example.org/', 1),
}


@pytest.mark.parametrize("change", PAGE_FORGERIES)
def test_no_page_can_be_changed(forger: Forger, change: str) -> None:
    pages = [name for name in forger.files if name.endswith((".html", ".md"))]
    assert len(pages) >= 3
    changed = 0
    for name in pages:
        page = PAGE_FORGERIES[change](forger.text(name))
        if page != forger.text(name):
            changed += 1
            verdict = forger.verdict({name: page.encode()})
            assert verdict == ("equivalent" if change == "another preview" else "different")
    assert changed >= 1


REPORTS: dict[str, Callable[[Any], object]] = {
    "another kolora": lambda report: report.update(kolora="9.9.9"),
    "an old kolora": lambda report: report.update(kolora="0.1.0"),
    "a title": lambda report: report.update(title="冠军"),
    "a checkpoint": lambda report: report["checkpoint"].update(name="Kolors"),
    "a verdict": lambda report: report["verdict"].update(state="valid", threshold=0.0),
    "a rule": lambda report: report["verdict"]["rules"][0].update(met=True),
    "a score": lambda report: report["scenes"][0].update(aesthetics=9.9),
    "a score by little": lambda report: report["scenes"][0].update(aesthetics=report["scenes"][0]["aesthetics"] + 0.24),
    "a further scene": lambda report: report["scenes"].append(report["scenes"][0] | {"number": 3}),
    "a scene twice": lambda report: report["scenes"].append(report["scenes"][0]),
    "a scene less": lambda report: report["scenes"].pop(),
    "losses": lambda report: report["training"].update(loss_last=1e-9),
    "another source": lambda report: report["data"].update(source="folder"),
    "another language": lambda report: report.update(language="en"),
    "a command": lambda report: report["again"].update(command="kolora run other.yaml"),
    "a story": lambda report: report["again"].update(story="name: other\n"),
    "an image": lambda report: report["environment"].update(image="kolora@sha256:1"),
}


@pytest.mark.parametrize("change", REPORTS)
def test_no_report_can_be_forged_with_its_pages(forger: Forger, change: str) -> None:
    values = forger.json("report.json")
    REPORTS[change](values)
    verdict = forger.verdict(forger.pages(values))
    assert verdict == "different" or (verdict, change) in (
        ("equivalent", "another kolora"),
        ("equivalent", "an old kolora"),
        ("equivalent", "an image"),
        ("equivalent", "a scene less"),
        ("equivalent", "a command"),
    )


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", None])
def test_a_lock_that_names_a_coarse_format_allows_nothing(submission: Forger, dtype: str | None) -> None:
    values, lock = submission.json("report.json"), submission.lock()
    for group in lock["numerics"]:
        group["dtype"] = dtype
    for scene in values["scenes"]:
        scene["aesthetics"] += 0.2
    values["verdict"]["aesthetics_mean"] += 0.2
    changes = submission.pages(values) | {"story.lock.yaml": submission.locked(lock)}
    assert submission.verdict(changes) == "different"


def test_a_lock_that_says_a_key_twice_is_not_identical(submission: Forger) -> None:
    text = submission.text("story.lock.yaml")
    for line in ("name: other\n", "added: 1\n", "# a comment\n"):
        assert submission.verdict({"story.lock.yaml": (line + text).encode()}) != "identical"
        assert submission.verdict({"story.lock.yaml": (text + line).encode()}) != "identical"


def test_a_manifest_says_what_kolora_writes_and_no_more(forger: Forger) -> None:
    manifest = forger.text("manifest.sha256")
    lines = manifest.splitlines(keepends=True)
    forged = [
        "",
        manifest + "# all checked\n",
        manifest + f"{'0' * 64}  images/09.png\n",
        "".join(lines[1:]),
        "".join(reversed(lines)),
        manifest.replace("  ", " *", 1),
        manifest + lines[0],
        manifest.upper(),
        "0" + manifest[1:] if manifest[0] != "0" else "1" + manifest[1:],
    ]
    for text in forged:
        assert forger.verdict({"manifest.sha256": text.encode()}) != "identical", text[:80]
    assert forger.verdict({"manifest.sha256": None}) != "identical"
    assert forger.verdict(dict.fromkeys(["manifest.sha256", "report.json", "report.html"])) != "identical"


def zip_of(
    forger: Forger, *, comment: bytes = b"", entry_comment: bytes = b"", extra: bytes = b"", **more: str
) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in sorted(forger.files.items()):
            entry = zipfile.ZipInfo(more.get("rename", name) if name == "story.yaml" else name)
            entry.comment, entry.extra = entry_comment, extra
            archive.writestr(entry, content)
        if "added" in more:
            archive.writestr(more["added"], b"x")
        archive.comment = comment
    return buffer.getvalue()


ZIPS: dict[str, Callable[[Forger], bytes]] = {
    "a comment": lambda forger: zip_of(forger, comment=b"hello"),
    "comments of entries": lambda forger: zip_of(forger, entry_comment=b"hello"),
    "bytes before": lambda forger: b"#!/bin/sh\n" + zip_of(forger),
    "bytes behind": lambda forger: zip_of(forger) + b"hello",
    "extra fields": lambda forger: zip_of(forger, extra=b"\xfe\xca\x04\x00evil"),
    "another name in an extra field": lambda forger: zip_of(forger, extra=b"up\x05\x00\x01\0\0\0\0"),
    "./": lambda forger: zip_of(forger, added="./story.yaml"),
    "//": lambda forger: zip_of(forger, added="images//01.png"),
    "a folder": lambda forger: zip_of(forger, added="empty/"),
    "another case": lambda forger: zip_of(forger, added="IMAGES/01.PNG"),
    "a direction": lambda forger: zip_of(forger, added="images/\u202egnp.01"),
    "a script": lambda forger: zip_of(forger, added="run.sh"),
    "hidden": lambda forger: zip_of(forger, added=".lock"),
    "work": lambda forger: zip_of(forger, added="work/x"),
    "logs": lambda forger: zip_of(forger, added="logs/x"),
    "a space": lambda forger: zip_of(forger, added="story.yaml "),
}


@pytest.mark.parametrize("form", ZIPS)
def test_no_zip_holds_more_than_its_files(submission: Forger, tmp_path: Path, form: str) -> None:
    (tmp_path / "pack.zip").write_bytes(zip_of(submission))
    assert (
        compare(open_pack(tmp_path / "pack.zip"), submission.expectations, place=tmp_path / "a").verdict == "identical"
    )
    (tmp_path / "pack.zip").write_bytes(ZIPS[form](submission))
    try:
        found = compare(open_pack(tmp_path / "pack.zip"), submission.expectations, place=tmp_path / "b").verdict
    except KoloraError:
        found = REFUSED
    assert found in ("different", REFUSED)


@pytest.mark.parametrize("kind", KINDS)
def test_so_much_was_tried(kind: str, request: pytest.FixtureRequest) -> None:
    """Last in this file: what came of it all, shown by ``pytest -s``."""
    forger: Forger = request.getfixturevalue(kind)
    print(kind, forger.tried)
