"""A run and its repetitions: what is kept, what runs again and why, stopping, failing, resuming."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys

import pytest
import torch
import yaml
from kolora import session
from kolora.cli import main
from kolora.errors import Stopped
from kolora.events import StepProgressed
from kolora.execution.provenance import image_digest
from kolora.execution.signals import Halt
from kolora.memory.story import plan_story
from kolora.runfolder.store import RunFolder
from kolora.training import loop
from PIL import Image
from safetensors import safe_open

from tests.stories import results, write_story


def run(*arguments):
    """Run the command line; returns its exit code."""
    with pytest.raises(SystemExit) as left:
        main(["run", *map(str, arguments)])
    return left.value.code


def pixels(path):
    with Image.open(path) as picture:
        return picture.tobytes()


def actions(out):
    """Read which steps the last run ran or kept, and the reasons it gave."""
    run = json.loads((out / "records" / "run.json").read_text(encoding="utf-8"))
    return {step["step"]: (step["action"], step["reason"]) for step in run["steps"]}


def ran(out):
    return {step for step, (action, _) in actions(out).items() if action == "ran"}


@pytest.fixture(scope="module")
def done(tiny_checkpoint, tmp_path_factory):
    """A finished run: the folder of the story, with the run in ``out``."""
    folder = tmp_path_factory.mktemp("done")
    story = write_story(folder, tiny_checkpoint)
    assert run(story, "-o", folder / "out") == 0
    return folder


@pytest.fixture
def again(done, tmp_path):
    """A copy of the finished run, to go on with."""
    subprocess.run(["cp", "-r", f"{done}/.", tmp_path], check=True)
    return tmp_path


def test_a_run_leaves_what_the_contract_promises(done):
    out = done / "out"
    for name in (
        *(
            "report.html",
            "report.md",
            "report.json",
            "grid.png",
            "images/01.png",
            "images/baseline/02.png",
            "story.yaml",
        ),
        *("lora/kohya.safetensors", "lora/diffsynth.safetensors", "lora/pytorch_lora_weights.safetensors"),
        *("lora/history.json", "data/ledger.jsonl", "data/train/01.jpg", "story.lock.yaml"),
        *("data/train/metadata.csv", "records/run.json", "records/train.json", "status.json"),
    ):
        assert (out / name).stat().st_size > 0, name
    assert (out / "story.yaml").read_bytes() == (done / "story.yaml").read_bytes()
    checked = subprocess.run(["sha256sum", "-c", "--quiet", "manifest.sha256"], cwd=out, check=False)
    assert checked.returncode == 0
    listed = (out / "manifest.sha256").read_text()
    assert "report.html" in listed
    assert "images/02.png" in listed
    assert not list((out / "work").glob("*.partial"))
    assert not list((out / "work").glob("*.state"))


def test_the_same_story_again_does_nothing_and_loads_no_torch(again):
    before = {path: path.stat().st_mtime_ns for path in (again / "out").rglob("*") if path.is_file()}
    code = "import sys; from kolora.cli import main\ntry: main()\nfinally: assert 'torch' not in sys.modules"
    left = subprocess.run(
        [sys.executable, "-c", code, "run", again / "story.yaml", "-o", again / "out"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert "nothing to do" in json.loads(left.stdout.splitlines()[-1])["message"]
    assert {path: path.stat().st_mtime_ns for path in before} == before | {
        again / "out" / ".lock": (again / "out" / ".lock").stat().st_mtime_ns
    }


def test_a_changed_prompt_renders_that_scene_alone(again, tiny_checkpoint):
    before = results(again / "out")
    story = write_story(again, tiny_checkpoint, scenes__1__prompt="一只黑色小猫在星空下睡着了")
    assert run(story, "-o", again / "out") == 0
    assert ran(again / "out") == {"encode_prompt-02", "render-02", "baseline-02", "grid", "score"}
    assert "prompt changed: 一只白色小猫" in actions(again / "out")["encode_prompt-02"][1]
    after = results(again / "out")
    pictures = {"grid.png", "images/02.png", "images/baseline/02.png"}
    assert {name for name in after if after[name] != before[name]} == pictures | {"story.lock.yaml"}


def test_a_changed_rank_retrains_and_does_not_filter_again(again):
    assert run(again / "story.yaml", "-o", again / "out", "--set", "lora.rank=4") == 0
    assert ran(again / "out") == {"train", "export_lora", "render-01", "render-02", "grid", "score"}
    assert actions(again / "out")["train"][1] == "lora.rank changed: 2 -> 4"


def test_a_changed_title_changes_only_the_report(again, tiny_checkpoint):
    story = write_story(again, tiny_checkpoint, scenes__0__title="黎明")
    before = results(again / "out")
    assert run(story, "-o", again / "out") == 0
    assert ran(again / "out") == set()
    after = results(again / "out")
    assert {name for name in after if after[name] != before[name]} == {"story.lock.yaml"}
    assert "黎明" in (again / "out" / "report.md").read_text(encoding="utf-8")


def test_scenes_depend_neither_on_order_nor_on_presence(again, tiny_checkpoint):
    before = results(again / "out")
    first, second = [{"prompt": "一只白色小猫坐在窗前", "seed": 1}, {"prompt": "一只白色小猫在星空下睡着了", "seed": 2}]
    assert run(write_story(again, tiny_checkpoint, scenes=[second, first]), "-o", again / "out") == 0
    swapped = results(again / "out")
    assert swapped["images/01.png"] == before["images/02.png"]
    assert swapped["images/02.png"] == before["images/01.png"]
    assert run(write_story(again, tiny_checkpoint, scenes=[second]), "-o", again / "out") == 0
    alone = results(again / "out")
    assert alone["images/01.png"] == before["images/02.png"]
    assert "images/02.png" not in alone
    assert [path.name for path in (again / "out/images/baseline").iterdir()] == ["01.png"]


def test_force_and_fresh_run_again_to_the_same_bytes(again):
    before = results(again / "out")
    assert run(again / "story.yaml", "-o", again / "out", "--force", "train") == 0
    assert "train" in ran(again / "out")
    assert actions(again / "out")["train"][1] == "asked for by --force"
    assert results(again / "out") == before
    assert run(again / "story.yaml", "-o", again / "out", "--fresh") == 0
    assert "fetch" in ran(again / "out")
    assert results(again / "out") == before


def test_until_stops_after_a_stage_and_promises_nothing(tiny_checkpoint, tmp_path):
    story = write_story(tmp_path, tiny_checkpoint)
    assert run(story, "-o", tmp_path / "out", "--until", "filter") == 0
    assert ran(tmp_path / "out") == {"fetch", "filter"}
    assert not (tmp_path / "out" / "manifest.sha256").exists()


def test_a_lost_file_is_made_again(again):
    before = results(again / "out")
    (picture,) = (again / "out" / "work").glob("render-02-*/image.png")
    picture.unlink()
    (again / "out" / "manifest.sha256").unlink()
    assert run(again / "story.yaml", "-o", again / "out") == 0
    assert ran(again / "out") == {"render-02"}
    assert actions(again / "out")["render-02"][1] == "files of its result are missing or damaged"
    assert results(again / "out") == before


def test_too_few_pictures_leave_a_report_and_the_ledger(tiny_checkpoint, tmp_path, capsys):
    story = write_story(tmp_path, tiny_checkpoint, filters=[{"image_shape_filter": {"min_width": 9999}}])
    assert run(story, "-o", tmp_path / "out") == 65
    error, hint = capsys.readouterr().err.splitlines()[-2:]
    assert error.startswith("error: 0 of 5 pictures are left")
    assert "image_shape_filter took 5" in error
    assert hint.startswith("hint: loosen image_shape_filter")
    assert len((tmp_path / "out" / "data" / "ledger.jsonl").read_text().splitlines()) == 5
    assert "image_shape_filter took 5" in (tmp_path / "out" / "report.json").read_text(encoding="utf-8")
    assert not (tmp_path / "out" / "manifest.sha256").exists()


@pytest.mark.parametrize("name", ["kohya", "diffsynth", "pytorch_lora_weights"])
def test_a_given_lora_of_any_kind_draws_the_same_pictures_without_training(tiny_checkpoint, tmp_path, done, name):
    given = tmp_path / "given.safetensors"
    shutil.copyfile(done / "out" / "lora" / f"{name}.safetensors", given)
    story = write_story(tmp_path, tiny_checkpoint, dataset=None, render__lora="given.safetensors")
    assert run(story, "-o", tmp_path / "out") == 0
    stages = {step.partition("-")[0] for step in ran(tmp_path / "out")}
    assert stages == {"encode_prompt", "export_lora", "render", "baseline", "grid", "score"}
    for picture in ("images/01.png", "images/02.png", "grid.png"):
        assert pixels(tmp_path / "out" / picture) == pixels(done / "out" / picture)
    lock = yaml.safe_load((tmp_path / "out" / "story.lock.yaml").read_text(encoding="utf-8"))
    assert lock["lora"] == hashlib.sha256(given.read_bytes()).hexdigest()
    assert lock["dataset"] is None
    assert set(lock["results"]) >= {"lora/kohya.safetensors", "lora/diffsynth.safetensors", "images/02.png"}
    with safe_open(tmp_path / "out" / "lora" / "kohya.safetensors", framework="pt") as file:
        assert file.metadata()["kolora.lora"] == lock["lora"]


def test_a_lora_given_in_place_of_training_clears_what_training_left(again, tiny_checkpoint):
    lora = again / "out" / "lora" / "kohya.safetensors"
    shutil.copyfile(lora, again / "given.safetensors")
    story = write_story(again, tiny_checkpoint, render__lora="given.safetensors")
    assert run(story, "-o", again / "out") == 0
    assert not (again / "out" / "lora" / "history.json").exists()
    assert not (again / "out" / "data" / "train").exists()
    assert not (again / "out" / "records" / "train.json").exists()
    (again / "given.safetensors").write_bytes(b"another")
    assert run(story, "-o", again / "out") == 66


def test_a_picture_tells_comfyui_and_a1111_how_it_was_made(done):
    content = (done / "out" / "images" / "02.png").read_bytes()
    with Image.open(done / "out" / "images" / "02.png") as picture:
        texts = dict(picture.text)
    assert b"tEXtprompt\x00" in content, "ComfyUI reads no other kind"
    graph = json.loads(texts["prompt"])
    assert "一只白色小猫在星空下睡着了" in [node["inputs"].get("text") for node in graph.values()]
    (lora,) = (node for node in graph.values() if node["class_type"] == "LoraLoaderModelOnly")
    name = lora["inputs"]["lora_name"].removesuffix(".safetensors")
    assert texts["kolora.lora"] == name
    assert texts["parameters"].startswith(f"一只白色小猫在星空下睡着了 <lora:{name}:1>\nNegative prompt: ")
    assert texts["kolora.seed"] == "2"


def test_the_loras_files_say_what_they_are(done):
    for path in (done / "out" / "lora").glob("*.safetensors"):
        with safe_open(path, framework="pt") as file:
            told = file.metadata()
        assert told["kolora.rank"] == "2"
        assert "小猫" not in str(told)
        assert (told["modelspec.sai_model_spec"], told["modelspec.architecture"]) == ("1.0.0", "kolors/lora")
        assert told["modelspec.resolution"] == "64x64"


def test_a_run_folder_has_one_run_at_a_time(again, capsys):
    with RunFolder(again / "out").hold("tiny"):
        assert run(again / "story.yaml", "-o", again / "out") == 73
    assert "another kolora is at work" in capsys.readouterr().err


def test_an_unwritable_output_is_73(tiny_checkpoint, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    story = write_story(tmp_path, tiny_checkpoint)
    assert run(story, "-o", tmp_path / "file" / "out") == 73
    assert "cannot be written" in capsys.readouterr().err


def test_an_absent_checkpoint_part_is_66(tiny_checkpoint, tmp_path, capsys):
    story = write_story(tmp_path, tiny_checkpoint)
    for path in (tmp_path / "checkpoint" / "vae").iterdir():
        path.unlink()
    assert run(story, "-o", tmp_path / "out") == 66
    assert "vae" in capsys.readouterr().err
    error = json.loads((tmp_path / "out" / "records" / "run.json").read_text())["error"]
    assert error["step"] == "encode_prompt-01", "told at once, not when the part is needed"


def test_a_story_may_not_leave_its_folder(tiny_checkpoint, tmp_path, capsys):
    story = write_story(tmp_path / "inner", tiny_checkpoint, dataset={"source": "folder", "path": "../../secret"})
    assert run(story, "-o", tmp_path / "out") == 65
    assert "dataset.path" in capsys.readouterr().err


@pytest.mark.parametrize("stage", ["fetch", "cache_latents", "train", "render-02"])
def test_a_signal_saves_and_leaves_75_and_the_next_run_goes_on(tiny_checkpoint, tmp_path, monkeypatch, done, stage):
    """A stop is asked for at the second tick of a stage, by a real signal to this very process."""
    story = write_story(tmp_path, tiny_checkpoint)
    begun = []

    def on_event(self, event):
        if isinstance(event, StepProgressed) and event.step.name == stage:
            begun.append(event.done)
            if len(begun) == 2:
                os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr("kolora.cli.console.Lines.on_event", on_event)
        assert run(story, "-o", tmp_path / "out") == 75
    states = {step: action for step, (action, _) in actions(tmp_path / "out").items()}
    assert states[stage] == "pending"
    assert run(story, "-o", tmp_path / "out") == 0
    assert results(tmp_path / "out") == results(done / "out")
    if stage == "train":
        assert json.loads((tmp_path / "out" / "records" / "train.json").read_text())["facts"]["resumed_at"] == 2


def test_a_signal_while_the_report_is_written_leaves_75_and_nothing_undone(tiny_checkpoint, tmp_path, monkeypatch):
    story = write_story(tmp_path, tiny_checkpoint, filters=[], lora__steps=1, render__steps=1)
    write_report = session.write_report

    def interrupted(out):
        os.kill(os.getpid(), signal.SIGTERM)
        return write_report(out)

    with monkeypatch.context() as patch:
        patch.setattr(session, "write_report", interrupted)
        assert run(story, "-o", tmp_path / "out") == 75
    assert run(story, "-o", tmp_path / "out") == 0
    assert (tmp_path / "out" / "manifest.sha256").is_file()


@pytest.mark.parametrize(
    ("told", "named"),
    [
        ({}, None),
        ({"KOLORA_IMAGE_SOURCE": ""}, None),
        ({"KOLORA_IMAGE_SOURCE": "revision 1, base sha256:2"}, "revision 1, base sha256:2"),
        ({"KOLORA_IMAGE_SOURCE": "revision 1, base sha256:2", "KOLORA_IMAGE_DIGEST": "sha256:3"}, "sha256:3"),
    ],
)
def test_an_image_is_named_by_its_digest_where_told_else_by_what_it_was_built_from(monkeypatch, told, named):
    for name in ("KOLORA_IMAGE_SOURCE", "KOLORA_IMAGE_DIGEST"):
        monkeypatch.delenv(name, raising=False)
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    assert image_digest() == named


def test_handlers_are_put_back_and_a_flag_is_all_they_set():
    before = signal.getsignal(signal.SIGUSR1)
    halt = Halt()
    with halt.listening():
        halt.check()
        os.kill(os.getpid(), signal.SIGUSR1)
        assert halt.requested
        with pytest.raises(Stopped):
            halt.check()
    assert signal.getsignal(signal.SIGUSR1) is before


def test_a_package_that_is_absent_leaves_the_report_whole(again, monkeypatch):
    monkeypatch.setattr("kolora.execution.provenance.PACKAGES", ("pillow", "no-such-package"))
    assert run(again / "story.yaml", "-o", again / "out", "--force", "grid") == 0
    report = json.loads((again / "out" / "report.json").read_text(encoding="utf-8"))
    assert report["status"] == "complete"
    assert "no-such-package" not in json.dumps(report)
    assert "pillow" in json.dumps(report["environment"])


@pytest.fixture
def small_gpu(monkeypatch):
    """Stand for a GPU whose memory does not hold a training step, but for so many passes as are said."""
    monkeypatch.setattr(
        "kolora.execution.loop._memory_plan", lambda resolved, _: plan_story(resolved.story, None, gpu_bytes=None)
    )
    build_step = loop.build_step

    def holds(rows):
        def refuse(*given, option, **options):
            if option.rows != rows:
                raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB\nand more")
            return build_step(*given, option=option, **options)

        monkeypatch.setattr(loop, "build_step", refuse)

    return holds


def test_a_step_that_is_out_of_memory_steps_down_once_and_says_so(again, small_gpu, capsys):
    small_gpu(1)
    assert run(again / "story.yaml", "-o", again / "out", "--force", "train") == 0
    said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    (notice,) = [line for line in said if line["severity"] == "WARNING"]
    assert notice["message"] == ("train is out of memory, and is tried once more: train: 1 a pass, gradients summed")
    record = json.loads((again / "out" / "records" / "train.json").read_text(encoding="utf-8"))
    assert record["numerics"]["memory, train"] == "1 a pass, gradients summed"


def test_a_step_that_is_out_of_memory_again_names_the_key_to_change(again, small_gpu, capsys):
    small_gpu(7)
    assert run(again / "story.yaml", "-o", again / "out", "--force", "train") == 71
    told = capsys.readouterr().err
    assert told == (
        "error: train is out of memory: CUDA out of memory. Tried to allocate 2 GiB\n"
        "hint: lower lora.resolution or lora.rank; raise model.memory, if it is set; or free the GPU of other work\n"
    )


def test_a_step_without_another_way_says_so_at_once(again, monkeypatch, capsys):
    def refuse(*_, **__):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(loop, "build_step", refuse)
    assert run(again / "story.yaml", "-o", again / "out", "--force", "train") == 71
    out, err = capsys.readouterr()
    assert "once more" not in out
    assert "train is out of memory" in err
