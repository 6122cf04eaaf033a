"""Links, pipes and devices where files of a checkpoint, a scorer or a LoRA belong: named, and never followed out."""

from __future__ import annotations

import hashlib
import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kolora.errors import InputAbsent, KoloraError
from kolora.files import open_regular
from kolora.hubs.catalogue import PARTS, loaded_files, loaded_scorer_files
from kolora.hubs.identity import identify_file, identify_folder, identify_model, link_roots
from kolora.inputs import resolve_inputs
from kolora.models.weights import weight_files
from kolora.spec import load_story

SECRET = b"a private key"
FILES = (
    "unet/config.json",
    "unet/diffusion_pytorch_model.safetensors",
    "vae/config.json",
    "vae/diffusion_pytorch_model.safetensors",
    "text_encoder/config.json",
    "text_encoder/tokenizer.model",
    "text_encoder/pytorch_model-00001-of-00001.bin",
    "text_encoder/pytorch_model.bin.index.json",
    "scheduler/scheduler_config.json",
)
SCORER_FILES = ("config.json", "merges.txt", "model.safetensors", "tokenizer_config.json")
UNKNOWN = ("README.md", "assets/a.png", "unet/notes.txt", "more/deep/file.bin", "clip_old/config.json")
"""Names that a checkpoint may hold and that no loader reads."""


@pytest.fixture(autouse=True)
def patience() -> Iterator[None]:
    """End a test that waits for a pipe or a device: it would wait for ever."""

    def give_up(*_: object) -> None:
        raise AssertionError("waited for 60 s")

    former = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, former)


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    file = tmp_path / "home" / ".ssh" / "id_ed25519"
    file.parent.mkdir(parents=True)
    file.write_bytes(SECRET)
    return file


def pipe(place: Path, secret: Path) -> None:
    os.mkfifo(place)


def listening(place: Path, secret: Path) -> None:
    # A socket's path may have 108 bytes.
    here = Path.cwd()
    os.chdir(place.parent)
    try:
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(place.name)
    finally:
        os.chdir(here)


def link_to(target: str | None) -> Callable[[Path, Path], None]:
    def make(place: Path, secret: Path) -> None:
        place.symlink_to(target or secret)

    return make


def link_by_link(place: Path, secret: Path) -> None:
    between = secret.parent / "between"
    between.symlink_to(secret)
    place.symlink_to(between)


def relative_link(place: Path, secret: Path) -> None:
    place.symlink_to(os.path.relpath(secret, place.parent))


def pipe_by_link(place: Path, secret: Path) -> None:
    os.mkfifo(place.parent / "waiting")
    place.symlink_to("waiting")


BAD = {
    "link to a private file": link_to(None),
    "relative link": relative_link,
    "link by another link": link_by_link,
    "link to kmsg": link_to("/proc/kmsg"),
    "link to its own standard input": link_to("/proc/self/fd/0"),
    "link to memory": link_to("/proc/self/mem"),
    "link to environment": link_to("/proc/self/environ"),
    "link to passwords": link_to("/etc/passwd"),
    "link to zeros": link_to("/dev/zero"),
    "link to nothing": link_to("/nowhere/at/all"),
    "link to itself": lambda place, secret: place.symlink_to(place.name),
    "link to a terminal": link_to("/dev/tty"),
    "pipe": pipe,
    "pipe by a link inside": pipe_by_link,
    "socket": listening,
}


def checkpoint(place: Path) -> Path:
    for name in (*FILES, *UNKNOWN):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(f'{{"what": "{name}"}}', encoding="utf-8")
    return place


def identify(folder: Path) -> dict[str, str]:
    return identify_model(folder, parts=PARTS, choose=loaded_files)[1]


def identify_scorer(folder: Path) -> dict[str, str]:
    return identify_model(folder, parts=("",), choose=loaded_scorer_files)[1]


@pytest.mark.parametrize("kind", BAD)
@pytest.mark.parametrize("name", FILES)
def test_a_checkpoint_whose_file_is_something_else_is_refused(
    tmp_path: Path, secret: Path, name: str, kind: str
) -> None:
    folder = checkpoint(tmp_path / "checkpoint")
    (folder / name).unlink()
    BAD[kind](folder / name, secret)
    with pytest.raises(InputAbsent, match=Path(name).name.replace(".", r"\.") + "|waiting") as caught:
        identify(folder)
    assert hashlib.sha256(SECRET).hexdigest() not in str(caught.value)


@pytest.mark.parametrize("kind", BAD)
@pytest.mark.parametrize("name", SCORER_FILES)
def test_a_scorer_whose_file_is_something_else_is_refused(tmp_path: Path, secret: Path, name: str, kind: str) -> None:
    folder = tmp_path / "clip"
    folder.mkdir()
    for each in SCORER_FILES:
        (folder / each).write_text("{}", encoding="utf-8")
    (folder / name).unlink()
    BAD[kind](folder / name, secret)
    with pytest.raises(InputAbsent):
        identify_scorer(folder)


@pytest.mark.parametrize("kind", BAD)
@pytest.mark.parametrize("name", UNKNOWN)
def test_what_no_loader_reads_is_not_looked_at(tmp_path: Path, secret: Path, name: str, kind: str) -> None:
    before = identify(checkpoint(tmp_path / "before"))
    folder = checkpoint(tmp_path / "checkpoint")
    (folder / name).unlink()
    BAD[kind](folder / name, secret)
    assert identify(folder) == before
    assert set(before) == set(FILES)


@pytest.mark.parametrize("target", ["/", "/proc", "/proc/self/root", "/sys", "/dev", "home", ".."])
@pytest.mark.parametrize("name", ["unet", "scheduler", "everything", "unet/everything"])
def test_a_link_to_a_folder_is_entered_only_where_it_is_a_part_inside(tmp_path: Path, target: str, name: str) -> None:
    folder = checkpoint(tmp_path / "checkpoint")
    (tmp_path / "home").mkdir()
    if (folder / name).is_dir():
        (folder / name).rename(folder / "moved")
    (folder / name).symlink_to(target if target.startswith("/") else tmp_path / target)
    if "everything" in name:
        assert set(identify(folder)) == set(FILES)
    else:
        with pytest.raises(InputAbsent, match=rf"checkpoint/{name}' leads to"):
            identify(folder)


def test_links_inside_a_checkpoint_and_into_a_root_are_followed(tmp_path: Path, secret: Path) -> None:
    plain = identify(checkpoint(tmp_path / "plain"))
    folder = checkpoint(tmp_path / "checkpoint")
    (folder / "unet" / "config.json").rename(folder / "shared.json")
    (folder / "unet" / "config.json").symlink_to("../shared.json")
    (folder / "vae").rename(folder / "vae-moved")
    (folder / "vae").symlink_to("vae-moved")
    assert identify(folder) == plain
    other = tmp_path / "other"
    other.mkdir()
    (folder / "scheduler" / "scheduler_config.json").rename(other / "a.json")
    (folder / "scheduler" / "scheduler_config.json").symlink_to(other / "a.json")
    with pytest.raises(InputAbsent, match="KOLORA_ROOTS"):
        identify(folder)
    roots = (*link_roots(folder), other)
    assert identify_model(folder, parts=PARTS, choose=loaded_files, roots=roots)[1] == plain


def hub_cache(place: Path, kind: str = "models") -> Path:
    """Make a checkpoint as Hugging Face's own cache keeps it; returns the snapshot."""
    repository = place / f"{kind}--Kwai-Kolors--Kolors"
    snapshot = repository / "snapshots" / "0123abcd"
    (repository / "blobs").mkdir(parents=True)
    for number, name in enumerate(FILES):
        blob = repository / "blobs" / f"{number:040x}"
        blob.write_text(f'{{"what": "{name}"}}', encoding="utf-8")
        (snapshot / name).parent.mkdir(parents=True, exist_ok=True)
        (snapshot / name).symlink_to(os.path.relpath(blob, (snapshot / name).parent))
    return snapshot


def test_the_cache_of_hugging_face_is_read_as_it_is(tmp_path: Path) -> None:
    snapshot = hub_cache(tmp_path / "hub")
    assert identify(snapshot) == identify(checkpoint(tmp_path / "plain"))
    assert set(identify_model(snapshot / "unet", parts=("",), choose=list)[1]) == {
        "config.json",
        "diffusion_pytorch_model.safetensors",
    }
    data = hub_cache(tmp_path / "hub", "datasets")
    assert all(identify_folder(data)[1].values())


@pytest.mark.parametrize("fake", ["snapshots", "models--a--b", "models--a--b/snapshots"])
def test_the_layout_of_that_cache_lets_nothing_else_in(tmp_path: Path, secret: Path, fake: str) -> None:
    folder = checkpoint(tmp_path / fake / "checkpoint")
    (folder / "unet" / "config.json").unlink()
    (folder / "unet" / "config.json").symlink_to(secret)
    with pytest.raises(InputAbsent, match="leads to"):
        identify(folder)
    snapshot = hub_cache(tmp_path / "hub")
    blobs = snapshot.parents[1] / "blobs"
    blobs.rename(tmp_path / "blobs")
    blobs.symlink_to(tmp_path / "blobs")
    with pytest.raises(InputAbsent, match="leads to"):
        identify(snapshot)


def resolved(story: Path, **changes: str) -> KoloraError | dict[str, str]:
    model = f"model: {{checkpoint: {changes.get('checkpoint', 'pocket')}}}"
    render = f"render: {{lora: {changes['lora']}}}" if "lora" in changes else ""
    text = f"kolora: 1\n{model}\n{render}\nscores: {{clip: auto, aesthetics: 'off'}}\nscenes: [{{prompt: a}}]\n"
    if "lora" not in changes:
        text += "dataset: {source: pocket}\n"
    try:
        found = resolve_inputs(load_story(text), base=story, cache=story / "cache", roots=[])
    except KoloraError as problem:
        return problem
    return {name: digest for files in found.files.values() for name, digest in files.items()}


@pytest.mark.parametrize("kind", BAD)
def test_a_lora_that_is_something_else_is_refused(tmp_path: Path, secret: Path, kind: str) -> None:
    story = tmp_path / "story"
    story.mkdir()
    BAD[kind](story / "lora.safetensors", secret)
    problem = resolved(story, lora="lora.safetensors")
    assert isinstance(problem, KoloraError)
    assert problem.code in (65, 66)
    assert problem.hint


def test_a_scorer_inside_a_checkpoint_may_not_be_a_link_out_of_it(tmp_path: Path, secret: Path) -> None:
    story = tmp_path / "story"
    folder = checkpoint(story / "checkpoint")
    secret.parent.joinpath("config.json").write_text("{}", encoding="utf-8")
    (folder / "clip").symlink_to(secret.parent)
    problem = resolved(story, checkpoint="checkpoint")
    assert isinstance(problem, InputAbsent)
    assert "clip' leads to" in problem.error


def test_the_owner_may_name_a_folder_for_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    story = tmp_path / "story"
    folder = checkpoint(story / "checkpoint")
    (folder / "clip").mkdir()
    (folder / "unet").rename(tmp_path / "unet")
    (folder / "unet").symlink_to(tmp_path / "unet")
    assert isinstance(resolved(story, checkpoint="checkpoint"), InputAbsent)
    monkeypatch.setenv("KOLORA_ROOTS", str(tmp_path / "unet"))
    assert set(FILES) <= set(resolved(story, checkpoint="checkpoint"))  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["pipe", "socket", "link to kmsg", "link to zeros", "link to nothing"])
def test_weights_that_became_something_else_are_not_waited_for(tmp_path: Path, secret: Path, kind: str) -> None:
    folder = tmp_path / "unet"
    folder.mkdir()
    BAD[kind](folder / "model.safetensors", secret)
    with pytest.raises(InputAbsent, match=r"model\.safetensors cannot be read"):
        weight_files(folder, half=False)


@pytest.mark.parametrize("path", ["/proc/kmsg", "/proc/self/mem", "/dev/zero", "/dev/null", "/proc", "/sys/kernel"])
def test_what_is_the_kernels_is_no_file(path: str) -> None:
    with pytest.raises(OSError, match=r"not a regular file|No such file"):
        open_regular(Path(path))
    with pytest.raises(InputAbsent):
        identify_file(Path(path))


@pytest.mark.parametrize("key", ["checkpoint", "lora"])
@pytest.mark.parametrize("path", ["n" * 300, "a/" + "n" * 300, "d/" * 1500 + "f"])
def test_a_path_that_no_system_takes_is_absent(tmp_path: Path, key: str, path: str) -> None:
    problem = resolved(tmp_path, **{key: path})
    assert isinstance(problem, InputAbsent)
