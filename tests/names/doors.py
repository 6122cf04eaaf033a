"""The doors by which names come in, each as a function that hands a name to the code behind it.

A door returns what the code then tells of the name, as text that may be printed, or raises one of kolora's errors. What
it works in is ``Canary.place``; outside of that nothing may change.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import struct
import tarfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from kolora.batch.work import find_tasks
from kolora.datasets.source import open_dataset
from kolora.errors import KoloraError
from kolora.export.finished import read_finished
from kolora.export.tools import export_for
from kolora.folders import Folder
from kolora.hubs.download import download
from kolora.hubs.identity import identify_folder
from kolora.hubs.store import RepoRequest, Store, StoredFile
from kolora.models.weights import weight_files
from kolora.ownership import MARK, mark_of
from kolora.rules import Entry, check_rules
from kolora.runfolder.lock import read_lock
from kolora.runfolder.manifest import parse_manifest
from kolora.runfolder.reader import read_run
from kolora.runfolder.records import parse_any_record
from kolora.runfolder.store import RunFolder
from kolora.scoring.judges import _check_named_files
from kolora.spec import load_story
from kolora.spec.sections.dataset import HubDataset
from kolora.stages.export_lora import lora_name
from kolora.stages.fetch import read_lines
from kolora.stages.filter import read_ledger
from kolora.verification.pack import open_pack
from PIL import Image

from tests.hubs.loopback import LoopbackHub
from tests.report.run_folder import make_run_folder

CONTENT = b"what a stranger would put there"
SHA256 = hashlib.sha256(CONTENT).hexdigest()
ID = "some/model"
STORY = {"kolora": 1, "dataset": {"source": "pocket"}, "scenes": [{"prompt": "a cat"}]}

Door = Callable[[str, Path], str]


def picture() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "PNG")
    return file.getvalue()


# Hubs and the cache.


def listing_of(hub: LoopbackHub, kind: str, name: str, cache: Path) -> str:
    """Download a model whose one file has this name, from a hub that lists it."""
    hub.publish("model", ID, {name: CONTENT * 50})
    request = RepoRequest(kind, "model", ID, patterns=("*",))  # type: ignore[arg-type]
    snapshot, _ = download(request, cache=cache, tick=lambda done, total: None)
    return str(sorted(snapshot.files))


def listing_of_cached(hub: LoopbackHub, kind: str, name: str, cache: Path) -> str:
    """Let a hub list what the cache has already under another name: nothing is downloaded, only linked."""
    listing_of(hub, kind, "kept.bin", cache)
    hub.publish("model", ID, {name: CONTENT * 50})
    request = RepoRequest(kind, "model", ID, patterns=("*",))  # type: ignore[arg-type]
    snapshot, came = download(request, cache=cache, tick=lambda done, total: None, refresh=True)
    assert came == 0 or kind == "huggingface"
    return str(sorted(snapshot.files))


def _manifest(cache: Path, **changes: Any) -> tuple[Store, RepoRequest]:
    """Write the manifest of a snapshot as a stranger could leave it in a shared cache."""
    store, request = Store(cache), RepoRequest("modelscope", "model", ID)
    (cache / "new").parent.mkdir(parents=True, exist_ok=True)
    (cache / "new").write_bytes(CONTENT)
    store.save_snapshot(request, "master", {"kept.bin": store.add(cache / "new", SHA256)})
    (path,) = (cache / "manifests").rglob("*.json")
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | changes), encoding="utf-8")
    return store, request


def _use_cache(store: Store, request: RepoRequest) -> str:
    """Do with a cache what commands do: find, verify, drop what is damaged, prune."""
    found = store.find(request)
    for snapshot, path, fault in store.verify():
        if fault:
            store.drop(snapshot, path)
    store.prune(id="other/model")
    return str(sorted(found.files)) if found else "not here"


def cached_file(name: str, place: Path) -> str:
    return _use_cache(*_manifest(place / "cache", files={name: {"bytes": len(CONTENT), "sha256": SHA256}}))


def cached_damaged_file(name: str, place: Path) -> str:
    return _use_cache(*_manifest(place / "cache", files={name: {"bytes": len(CONTENT), "sha256": "0" * 64}}))


def cached_sha256(name: str, place: Path) -> str:
    return _use_cache(*_manifest(place / "cache", files={"a.bin": {"bytes": len(CONTENT), "sha256": name}}))


def cached_id(name: str, place: Path) -> str:
    return _use_cache(*_manifest(place / "cache", id=name))


def cached_kind(name: str, place: Path) -> str:
    return _use_cache(*_manifest(place / "cache", kind=name))


def cached_hub(name: str, place: Path) -> str:
    return _use_cache(*_manifest(place / "cache", hub=name))


def saved_snapshot(name: str, place: Path) -> str:
    store = Store(place / "cache")
    (place / "cache").mkdir()
    (place / "cache" / "new").write_bytes(CONTENT)
    stored = store.add(place / "cache" / "new", SHA256)
    return str(sorted(store.save_snapshot(RepoRequest("modelscope", "model", ID), "master", {name: stored}).files))


def stored_sha256(name: str, place: Path) -> str:
    return str(
        Store(place / "cache").save_snapshot(RepoRequest("modelscope", "model", ID), "m", {"a": StoredFile(1, name)})
    )


# Data sets.


def zip_of(names: Sequence[tuple[str, bytes]]) -> bytes:
    """Write a zip of files with whatever names, which Python's own writer would refuse or change."""
    content, directory = b"", b""
    for name, file in names:
        raw = _raw(name)
        # Bit 11: the name is UTF-8.
        head = struct.pack("<HHHHHLLLHH", 20, 0x800, 0, 0, 33, zlib.crc32(file), len(file), len(file), len(raw), 0)
        place = struct.pack("<HHHLL", 0, 0, 0, 0, len(content))
        directory += b"PK\x01\x02" + struct.pack("<H", 20) + head + place + raw
        content += b"PK\x03\x04" + head + raw + file
    end = struct.pack("<HHHHLLH", 0, 0, len(names), len(names), len(directory), len(content), 0)
    return content + directory + b"PK\x05\x06" + end


def _raw(name: str) -> bytes:
    return name.encode("utf-8", "surrogatepass")


def tar_of(names: Sequence[tuple[str, bytes]]) -> bytes:
    file = io.BytesIO()
    # Bytes that are no text are halves of letters in names, as tar has them; others are no bytes at all.
    are_bytes = not re.search("[\ud800-\udc7f\udd00-\udfff]", "".join(name for name, _ in names))
    errors = "surrogateescape" if are_bytes else "surrogatepass"
    with tarfile.open(fileobj=file, mode="w", format=tarfile.GNU_FORMAT, errors=errors) as archive:
        for name, content in names:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return file.getvalue()


def _pictures(place: Path, files: Mapping[str, bytes]) -> str:
    """Read a hub's data set of these files to the end."""
    folder = place / "set"
    folder.mkdir()
    (place / "scratch").mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    dataset = HubDataset(source="huggingface", id="some/set", caption="a cat")
    identity = identify_folder(folder)[0]
    _, raws = open_dataset(dataset, language="en", identity=identity, folder=folder, scratch=place / "scratch")
    return str([raw.source for raw in raws])


def zip_member(name: str, place: Path) -> str:
    return _pictures(place, {"a.zip": zip_of([("one.png", picture()), (name, picture())])})


def tar_member(name: str, place: Path) -> str:
    return _pictures(place, {"a.tar": tar_of([("one.png", picture()), (name, picture())])})


def table_row(name: str, place: Path) -> str:
    rows = "".join(json.dumps({"image": each, "text": "a"}) + "\n" for each in ("one.png", name))
    return _pictures(place, {"list.jsonl": rows.encode(), "one.png": picture()})


def metadata_row(name: str, place: Path) -> str:
    rows = "".join(json.dumps({"file_name": each, "text": "a"}) + "\n" for each in ("one.png", name))
    return _pictures(place, {"metadata.jsonl": rows.encode(), "one.png": picture()})


def parquet_path(name: str, place: Path) -> str:
    import pyarrow
    from pyarrow import parquet

    rows = pyarrow.array(
        [{"bytes": picture(), "path": name.encode("utf-8", "replace").decode()}],
        pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())]),
    )
    file = io.BytesIO()
    parquet.write_table(pyarrow.table({"image": rows}), file)
    return _pictures(place, {"a.parquet": file.getvalue()})


# Packs and run folders.


def pack_in_zip(name: str, place: Path) -> str:
    (place / "pack.zip").write_bytes(zip_of([("story.yaml", b""), (name, b"")]))
    return str(sorted(open_pack(place / "pack.zip").sizes))


def pack_folder(name: str, place: Path) -> str:
    """Open a pack with a file of this name, where the file system takes it."""
    (place / "pack").mkdir()
    raw = os.fsencode(place / "pack") + b"/" + _raw(name)
    if (Path(os.fsdecode(raw)).parent != place / "pack") or name in ("", ".", ".."):
        return "no name of one file"
    try:
        os.close(os.open(raw, os.O_CREAT | os.O_WRONLY))
    except (OSError, ValueError):
        return "not for this file system"
    return str(sorted(open_pack(place / "pack").sizes))


def run_folder(place: Path) -> Path:
    return make_run_folder(place / "out", scenes=[("a", "b")], size=(16, 16))


def edit(path: Path, **changes: Any) -> None:
    """Change keys of a record; not every name can be written but by JSON's escapes."""
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | changes), encoding="utf-8")


def manifest_line(name: str, place: Path) -> str:
    out = run_folder(place)
    (out / "manifest.sha256").write_bytes(f"{SHA256}  ".encode() + _raw(name) + b"\n")
    assert read_run(out).changed(), "a manifest of another form says that all is well"
    RunFolder(out).changed()
    (place / "export").mkdir()
    text = (out / "manifest.sha256").read_bytes().decode("utf-8", errors="surrogateescape")
    return str(parse_manifest(text)) + str(export_for("kohya", read_finished(out), into=place / "export"))


def _record(place: Path, **changes: Any) -> str:
    out = run_folder(place)
    edit(out / "records/render-01.json", **changes)
    reader = read_run(out)
    record = parse_any_record((out / "records/render-01.json").read_bytes())
    if record is None:
        return str(sorted(reader.records))
    folder = RunFolder(out)
    # As by a run that keeps what the record says.
    inside = folder.folder(record.step, record.digest)
    inside.mkdir(parents=True)
    (inside / "record.json").write_bytes((out / "records/render-01.json").read_bytes())
    folder.finished_record(record.step, record.digest)
    folder.publish(record)
    return str(sorted(reader.records))


def record_file(name: str, place: Path) -> str:
    return _record(place, files={name: {"sha256": SHA256, "bytes": 1}})


def record_step(name: str, place: Path) -> str:
    return _record(place, step=name)


def record_digest(name: str, place: Path) -> str:
    return _record(place, digest=name)


def step_of_run(name: str, place: Path) -> str:
    out = run_folder(place)
    values = json.loads((out / "records/run.json").read_text(encoding="utf-8"))
    values["steps"][0]["step"] = name
    (out / "records/run.json").write_text(json.dumps(values), encoding="utf-8")
    return str(sorted(read_run(out).records))


def facts_lora(name: str, place: Path) -> str:
    out = run_folder(place)
    for path in (out / "records").glob("render-*.json"):
        values = json.loads(path.read_text(encoding="utf-8"))
        edit(path, facts=values["facts"] | {"lora": name})
    (out / "lora").mkdir(exist_ok=True)
    (out / "lora" / "kohya.safetensors").write_bytes(CONTENT)
    digest = hashlib.sha256(CONTENT).hexdigest()
    (out / "manifest.sha256").write_text(f"{digest}  lora/kohya.safetensors\n", encoding="utf-8")
    return str(export_for("comfyui", read_finished(out), into=place / "export"))


def mark_file(name: str, place: Path) -> str:
    out = place / "out"
    out.mkdir()
    (out / MARK).write_text(json.dumps({"folder": "run", "name": "a", "files": [name]}), encoding="utf-8")
    folder = RunFolder(out)
    with folder.hold("a"):
        folder.remove_leftovers([])
    mark = mark_of(Folder.open(out))
    return str(sorted(mark.files)) if mark else "no mark"


def _lock(**changes: Any) -> str:
    lock = {
        "lock": 2,
        "kolora": "0",
        "name": "a",
        "story": {},
        "checkpoint": {"sha256": SHA256},
        "dataset": None,
        "scorers": {},
        "packages": {},
        "numerics": [],
        "steps": {},
        "results": {},
    }
    text = yaml.safe_dump(lock | changes, allow_unicode=False).encode("utf-8", "surrogatepass")
    return str(read_lock(text, name="story.lock.yaml"))


def lock_result(name: str, place: Path) -> str:
    return _lock(results={name: SHA256})


def lock_step(name: str, place: Path) -> str:
    return _lock(steps={name: SHA256})


def line_of_fetch(key: str) -> Door:
    def door(name: str, place: Path) -> str:
        line = {"id": "0001", "source": "a", "text": "a", "bytes": 1, "sha256": SHA256, "verdict": "kept", key: name}
        (place / "images.jsonl").write_text(json.dumps(line) + "\n", encoding="utf-8")
        return str(read_lines(place))

    return door


def line_of_filter(key: str) -> Door:
    def door(name: str, place: Path) -> str:
        (place / "ledger.jsonl").write_text(json.dumps({"source": "a", "verdict": "kept", key: name}), encoding="utf-8")
        return str(read_ledger(place))

    return door


# Stories, LoRA files, checkpoints, scorers, batches.


def story_name(name: str, place: Path) -> str:
    return load_story(yaml.safe_dump(STORY | {"name": name})).name


def story_hub_id(name: str, place: Path) -> str:
    return str(load_story(yaml.safe_dump(STORY | {"dataset": {"source": "huggingface", "id": name}})).dataset)


def story_title(name: str, place: Path) -> str:
    """Check the contest's rules: title and team become the names of the pack and of its LoRA."""
    told = []
    for team, title in ((name, "a title"), ("a team", name)):
        entry = _entry(team, title)
        (rule,) = (each for each in check_rules(entry) if each.name == "name")
        if not rule.violations:
            told.append(entry.name)
    return str(told)


def _entry(team: str, title: str) -> Entry:
    values = {"pictures": 8, "aesthetics": 7.0, "lora": None, "is_complete": True}
    return Entry(team=team, title=title, is_practice=None, **values)  # type: ignore[arg-type]


def lora_header(name: str, place: Path) -> str:
    from kolora.models.lora import HASH

    header = json.dumps({"__metadata__": {HASH: name}}).encode()
    (place / "lora.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    return lora_name(None, place / "lora.safetensors")


def weight_map(name: str, place: Path) -> str:
    (place / "unet").mkdir()
    (place / "unet" / "part-00001-of-00001.safetensors").write_bytes(CONTENT)
    index = {"weight_map": {"a": name, "b": "part-00001-of-00001.safetensors"}}
    (place / "unet" / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    return str(weight_files(place / "unet", half=False))


def tokenizer_file(key: str) -> Door:
    def door(name: str, place: Path) -> str:
        value = [name] if key.endswith("s") else name
        (place / "tokenizer_config.json").write_text(json.dumps({key: value}), encoding="utf-8")
        _check_named_files(place)
        return "taken"

    return door


def story_of_batch(name: str, place: Path) -> str:
    return str(find_tasks([name])[0].label)


DOORS: Mapping[str, Door] = {
    door.__name__: door
    for door in (
        cached_file,
        cached_damaged_file,
        cached_sha256,
        cached_id,
        cached_kind,
        cached_hub,
        saved_snapshot,
        stored_sha256,
        zip_member,
        tar_member,
        table_row,
        metadata_row,
        parquet_path,
        pack_in_zip,
        pack_folder,
        manifest_line,
        record_file,
        record_step,
        record_digest,
        step_of_run,
        facts_lora,
        mark_file,
        lock_result,
        lock_step,
        story_name,
        story_hub_id,
        story_title,
        lora_header,
        weight_map,
        story_of_batch,
    )
} | {
    "fetch_id": line_of_fetch("id"),
    "fetch_image": line_of_fetch("image"),
    "filter_train": line_of_filter("train"),
    "filter_thumbnail": line_of_filter("thumbnail"),
    "tokenizer_vocab_file": tokenizer_file("vocab_file"),
    "tokenizer_merges_file": tokenizer_file("merges_file"),
    "tokenizer_file": tokenizer_file("tokenizer_file"),
    "tokenizer_files": tokenizer_file("fast_tokenizer_files"),
}
HUB_DOORS: Mapping[str, Callable[[LoopbackHub, str, str, Path], str]] = {
    "listing": listing_of,
    "listing_of_cached": listing_of_cached,
}

__all__ = ["DOORS", "HUB_DOORS", "KoloraError"]
