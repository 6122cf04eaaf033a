"""The command line: errors in two lines with the promised codes, quick commands without torch, finding stories."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from kolora.cli.console import Lines
from kolora.errors import KoloraError
from kolora.hubs.store import RepoRequest, Store
from kolora.places import kernel_folder
from kolora.stories import SHIPPED

from tests.commands import left
from tests.stories import write_story


@pytest.fixture
def outside(tmp_path, monkeypatch):
    """Work in an empty folder, with an empty cache."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KOLORA_CACHE", str(tmp_path / "cache"))
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "code", "error", "hint"),
    [
        (["run"], 2, "Missing argument 'STORY'", "kolora --help"),
        (["run", "quickstart", "--speed"], 2, "No such option", "kolora --help"),
        (["quickstart", "--force", "rendre"], 2, "unknown step 'rendre' in --force", "did you mean render?"),
        (["report", "."], 66, ". is not a run folder", "kolora report"),
        (["rport", "out"], 2, "unknown command 'rport'", "kolora report"),
        (["nothing"], 66, "unknown story 'nothing': not in this folder", "kolora new"),
        (["nothing.yaml"], 66, "unknown story 'nothing.yaml'", "kolora new"),
        (["frobnicate.sh"], 2, "unknown command or story 'frobnicate.sh'", "kolora --help"),
        (["validate", "quickstart", "--set", "lora.rnk=4"], 65, "lora.rnk", "rank"),
        (["validate", "quickstart", "--set", "kolora=9"], 78, "9", ""),
        (["quickstart", "--set", "model.checkpoint=pokcet"], 66, "nothing is there", "write pocket"),
        (["story", "--set", "dataset={source: folder, path: gone}"], 66, "dataset.path leads to", "check the path"),
        (["quickstart", "--device", "cuda"], 71, "there is no NVIDIA GPU here", "--device cpu"),
        (["story"], 71, "Kolors needs an NVIDIA GPU", "kolora quickstart.yaml"),
        (["story", "--until", "fetch"], 66, "AI-ModelScope/lowres_anime is not in the cache", "kolora fetch"),
    ],
)
def test_an_error_is_two_lines_and_its_code(outside, capsys, arguments, code, error, hint):
    assert left(*arguments) == code
    told = capsys.readouterr().err
    assert told.startswith("error: ")
    assert error in told
    assert hint in told.rpartition("hint: ")[2]


def test_every_code_of_the_contract_is_one_error():
    classes = KoloraError.__subclasses__()
    assert sorted(each.code for each in classes) == [2, 65, 66, 69, 71, 73, 75, 76, 78]
    assert KoloraError.code == 70


def test_a_bug_is_70_and_says_so(outside, capsys, monkeypatch):
    monkeypatch.setattr("kolora.cli.story_json_schema", lambda: 1 / 0)
    assert left("schema") == 70
    assert "this is a bug of kolora: ZeroDivisionError" in capsys.readouterr().err


def test_last_words_go_where_the_keeper_looks(outside, monkeypatch):
    words = outside / "termination-log"
    words.write_text("")
    monkeypatch.setattr("kolora.cli.console.TERMINATION_LOG", words)
    assert left("nothing") == 66
    assert words.read_text().startswith("error: unknown story 'nothing'")


@pytest.mark.parametrize("command", [["validate", "quickstart"], ["plan", "story"], ["schema"], ["--help"], ["doctor"]])
def test_quick_commands_load_nothing_heavy(outside, command):
    heavy = (
        "('torch', 'transformers', 'diffsynth', 'lightning', 'numpy', 'datasets', 'modelscope_hub', 'huggingface_hub')"
    )
    code = (
        "import sys; from kolora.cli import main\n"
        f"try: main()\nfinally: assert not [each for each in {heavy} if each in sys.modules], sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code, *command], check=True, capture_output=True)


def test_a_story_comes_from_here_else_from_the_shipped_ones(outside, capsys, tiny_checkpoint):
    assert left("validate", "quickstart.yaml") == 0
    assert "小紫的歌" in capsys.readouterr().out
    write_story(outside, tiny_checkpoint, title="自己的").rename("quickstart.yaml")
    assert left("validate", "quickstart.yaml") == 0
    assert "自己的" in capsys.readouterr().out


def test_a_story_comes_from_standard_input(outside):
    source = (SHIPPED / "quickstart.yaml").read_bytes()
    told = subprocess.run(
        [sys.executable, "-m", "kolora", "validate", "-"], input=source, check=True, capture_output=True
    )
    assert "小紫的歌" in told.stdout.decode()


def test_plan_says_tokens_what_is_absent_and_what_will_not_be_read(outside, capsys):
    assert left("plan", "story", "--set", f"scenes.1.prompt={'一只小猫坐在窗前。' * 60}") == 0
    told = capsys.readouterr().out
    assert "run  fetch" in told
    assert "to download: Kwai-Kolors/Kolors from ModelScope, about 17.8 GB" in told
    assert "missing: the data set AI-ModelScope/lowres_anime is not in the cache" in told
    assert "scene 1 has" in told


def test_new_writes_a_valid_story_and_overwrites_none(outside, capsys):
    assert left("new", "mine.yaml", "--language", "en") == 0
    assert left("validate", "mine.yaml") == 0
    before = Path("mine.yaml").read_bytes()
    assert left("new", "mine.yaml") == 2
    assert left("new", "a/new/folder.yaml") == 0
    assert Path("mine.yaml").read_bytes() == before


def test_schema_is_the_committed_one(outside, capsys):
    assert left("schema") == 0
    assert json.loads(capsys.readouterr().out) == json.loads((SHIPPED / "story.schema.json").read_text())


def test_output_that_is_no_terminal_is_json_lines(outside, tiny_checkpoint, capsys):
    story = write_story(outside, tiny_checkpoint)
    assert left(story, "--until", "fetch", "-o", outside / "out") == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {"time", "severity", "message"} <= set.intersection(*(set(line) for line in lines))
    assert any(line.get("stage") == "fetch" for line in lines)


def test_a_fetch_into_a_pipe_is_json_to_its_last_line(outside, monkeypatch, capsys):
    # The quickstart needs nothing from any hub, so that nobody is asked.
    monkeypatch.setenv("KOLORA_OFFLINE", "0")
    assert left("fetch", "quickstart") == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines[-1]["message"].endswith("has all that quickstart needs")


def test_a_listener_that_leaves_does_not_end_the_work():
    heard, told = os.pipe()
    with os.fdopen(told, "w") as stream:
        os.close(heard)
        lines = Lines(stream)
        lines.say("to nobody")
        lines.say("nor this")


def test_output_that_nobody_reads_to_its_end_is_no_error(outside):
    command = [sys.executable, "-c", "from kolora.cli import main; main()", "schema"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        running.stdout.close()
        assert running.stderr.read() == b""
    assert running.returncode == 0


def test_no_command_at_all_shows_the_commands(outside, capsys):
    assert left() == 2
    assert capsys.readouterr().err.startswith("Usage: kolora")


def test_the_cache_is_verified_and_pruned(outside, capsys):
    store = Store(outside / "cache")
    (outside / "file").write_bytes(b"content")
    kept = store.add(outside / "file", hashlib.sha256(b"content").hexdigest())
    snapshot = store.save_snapshot(RepoRequest("modelscope", "model", "one/two"), "master", {"a": kept})
    kernel = kernel_folder() / "digest" / "kernel.so"
    kernel.parent.mkdir(parents=True)
    kernel.touch()
    assert left("cache", "verify") == 0
    assert "1 files" in capsys.readouterr().out
    (snapshot.folder / "a").chmod(0o644)
    (snapshot.folder / "a").write_bytes(b"c0ntent")
    assert left("cache", "verify") == 66
    assert "damaged: one/two a: its sha256" in capsys.readouterr().out
    assert left("cache", "verify", "--drop") == 0
    assert list(store.snapshots()) == []
    assert left("cache", "prune") == 0
    assert "freed" in capsys.readouterr().out
    assert kernel.is_file()


@pytest.mark.parametrize(("chosen", "kept"), [({}, "cache/triton"), ({"TRITON_CACHE_DIR": "mine"}, "mine")])
def test_kernels_are_kept_in_the_cache_unless_the_user_says_otherwise(outside, chosen, kept):
    code = "import os; from kolora.cli import main\ntry: main()\nfinally: print(os.environ['TRITON_CACHE_DIR'])"
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_CACHE_DIR"} | chosen
    told = subprocess.run(
        [sys.executable, "-c", code, "schema"], env=environment, check=True, capture_output=True, text=True
    )
    folder = told.stdout.splitlines()[-1]
    assert (outside / folder).is_relative_to(outside / kept)
    assert not (outside / "cache").exists(), "nothing was compiled"


def test_kernels_go_with_the_process_where_the_cache_cannot_be_written(outside):
    (outside / "file").touch()
    code = (
        "from kolora.places import kernel_folder; folder = kernel_folder(); (folder / 'kernel.so').touch()\n"
        "print(folder, oct(folder.stat().st_mode))"
    )
    environment = {**os.environ, "KOLORA_CACHE": str(outside / "file"), "TMPDIR": str(outside)}
    told = subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True)
    folder, mode = told.stdout.split()
    assert Path(folder).parent == outside
    assert not Path(folder).exists()
    assert mode.endswith("700")


@pytest.mark.parametrize(
    ("gpus", "compiler", "told"),
    [
        (1, sys.executable, "ok   kernels can be compiled"),
        (1, "gone", "warn kernels cannot be compiled: there is no C compiler and no Python.h - apt install gcc"),
        (0, "gone", None),
    ],
)
def test_the_doctor_looks_for_what_kernels_are_compiled_with(outside, capsys, monkeypatch, gpus, compiler, told):
    (outside / "Python.h").touch()
    # The package's own name for it is the command.
    monkeypatch.setattr(sys.modules["kolora.cli.doctor"], "gpu_count", lambda: gpus)
    monkeypatch.setattr("sysconfig.get_path", lambda _: str(outside if compiler != "gone" else outside / "gone"))
    monkeypatch.setenv("CC", compiler)
    assert left("doctor") == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if "kernels" in line]
    assert [line.startswith(told or "") for line in lines] == [True] * gpus


def test_the_doctor_says_what_to_do_about_an_absent_package(outside, capsys, monkeypatch):
    monkeypatch.setattr(sys.modules["kolora.cli.doctor"], "PACKAGES", ("no-such-package",))
    assert left("doctor") == 0
    assert "warn no-such-package is not installed - install kolora again" in capsys.readouterr().out


def test_a_plan_says_how_a_story_fits_into_a_gpus_memory(outside, capsys):
    assert left("plan", "story", "--memory", "8GiB") == 0
    told = capsys.readouterr().out
    assert "memory: train         7." in told
    assert "of 8.0 GiB: activations computed twice" in told
    assert left("plan", "story", "--memory", "much") == 2
    assert "'much' is not an amount of memory such as 8GiB" in capsys.readouterr().err
