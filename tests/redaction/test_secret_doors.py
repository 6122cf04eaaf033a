"""A secret comes by the environment, and stays in no line, no file of OUT and no export, whichever door it tries."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import kolora
import pytest
from kolora.cli.console import Lines, Terminal
from kolora.cli.streams import GuardedStream
from kolora.datasets.juicer.client import run_filters
from kolora.errors import InputAbsent, KoloraError
from kolora.events import Noticed
from kolora.export.submission import secrets_of
from kolora.stages import STAGES
from rich.console import Console

from tests.commands import left
from tests.hubs.loopback import LoopbackHub
from tests.pictures import truth
from tests.redaction.table import Secret, leaks, some_secrets
from tests.stories import write_story

QUICK = ("HF_TOKEN-hugging face", "MODELSCOPE_ENDPOINT-marks-encoded", "HTTPS_PROXY-short-encoded")
"""One token, one address, one short password; the others are the long sweep's."""


@pytest.fixture(
    params=[
        pytest.param(each, id=each.name, marks=() if each.name in QUICK else pytest.mark.sweep)
        for each in some_secrets()
    ]
)
def secret(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Secret:
    """Put one secret into the environment."""
    monkeypatch.setenv(request.param.variable, request.param.content)
    found: Secret = request.param
    return found


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder, with an empty cache."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KOLORA_CACHE", str(tmp_path / "cache"))
    return tmp_path


def check(secret: Secret, capsys: pytest.CaptureFixture[str], folder: Path) -> str:
    """Fail where the secret was printed or lies below a folder; returns what was printed."""
    told = capsys.readouterr()
    assert leaks(secret, told.out, told.err, folder=folder) == []
    return told.out + told.err


ARGUMENTS = (
    "{}",
    "{} more",
    "run {}",
    "run quickstart --until {}",
    "run quickstart --force {}",
    "run quickstart --{}",
    "run quickstart --set {}",
    "run quickstart --set title={}",
    "run quickstart --set scenes.1.prompt={}",
    "run quickstart --set dataset.token={}",
    "run quickstart --set lora.rank={}",
    "run quickstart --set model.checkpoint={}",
    "run quickstart --device {}",
    "run quickstart --lock {}",
    "run quickstart -o a-file/{}",
    "validate quickstart --set team={}",
    "plan quickstart --set name={} --memory {}",
    "batch {}",
    "batch quickstart --set title={}",
    "report {}",
    "export {} --to comfyui",
    "publish {} --to huggingface --repo {}",
    "verify {}",
    "diff {} {}",
    "new {}/story.yaml --language {}",
    "emit slurm quickstart --tasks {}",
    "bench --batch-sizes {}",
)


@pytest.mark.parametrize("debug", [False, True], ids=["plain", "debug"])
@pytest.mark.parametrize("line", ARGUMENTS)
def test_an_argument_that_is_a_secret_is_not_repeated(
    line: str, debug: bool, secret: Secret, outside: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (outside / "a-file").touch()
    given = [part.format(secret.content) for part in line.split(" ")]
    if line.startswith("batch {}") and len(secret.value) < 8:
        pytest.skip("so short a value may be part of a file's name, after which its folder is called")
    # None is run to its end: what is tried is what is said of an argument that makes no sense, or may not be.
    assert left(*(["--debug"] if debug else []), *given) in (2, 65, 66, 71, 73)
    assert "error: " in check(secret, capsys, outside)


@pytest.mark.parametrize("place", ["title", "team", "scenes__0__prompt", "scenes__0__title", "lora__trigger"])
def test_a_story_that_holds_a_secret_is_refused_with_its_place(
    place: str, secret: Secret, outside: Path, tiny_checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if len(secret.value) < 8:
        pytest.skip("so short a value may be a word")
    for change in (f"a {secret.content}", secret.value, f"so {secret.value}."):
        story = write_story(outside / "s", tiny_checkpoint, **{place: change})
        if change == secret.value:
            text = story.read_text(encoding="utf-8")
            story.write_text(f"# was {json.dumps(secret.value)}\n{text}", encoding="utf-8")
        assert left(story, "-o", outside / "out") == 65
    assert not (outside / "out").exists()
    told = check(secret, capsys, outside / "cache")
    assert told.count("error: ") == 3


PROBLEMS = (
    lambda text: KoloraError(f"no {text}", hint=f"try {text}"),
    lambda text: InputAbsent(f"no {text}"),
    lambda text: RuntimeError(f"no {text}"),
    lambda text: OSError(28, "No space left on device", text),
    lambda text: OSError(5, text, text),
    lambda text: MemoryError(text),
    lambda text: KeyError(text),
    lambda text: UnicodeDecodeError("utf-8", text.encode(), 0, 1, text),
)


@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("chained", [False, True])
def test_a_run_that_fails_of_it_leaves_none(
    problem, chained: bool, secret: Secret, outside: Path, tiny_checkpoint: Path, monkeypatch, capsys
) -> None:
    def fail(*_: object) -> None:
        # By ways of their own, as pytest takes what is warned of and logged for itself.
        logging.StreamHandler().handle(logging.makeLogRecord({"msg": f"asked {secret.content} with {secret.value!r}"}))
        print(warnings.formatwarning(f"asked {secret.content}", UserWarning, __file__, 1), file=sys.stderr)
        if not chained:
            raise problem(secret.content)
        try:
            raise ConnectionError({"url": secret.content}, secret.value)
        except ConnectionError as cause:
            cause.add_note(f"asked {secret.content}")
            raise problem(secret.value) from cause

    monkeypatch.setattr(STAGES["fetch"], "run", fail)
    monkeypatch.setenv("KOLORA_RUN_ID", secret.content)
    monkeypatch.setenv("KOLORA_IMAGE_DIGEST", secret.content)
    story = write_story(outside / "s", tiny_checkpoint)
    assert left("--debug", story, "-o", outside / "out") in (66, 70, 71, 73)
    assert (outside / "out/report.html").is_file()
    assert (outside / "out/status.json").is_file()
    assert "asked" in check(secret, capsys, outside)


def test_a_command_with_a_likely_secret_is_recorded_without(
    secret: Secret, outside: Path, tiny_checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    story = write_story(outside / "s", tiny_checkpoint)
    loaded = kolora.load_story(story)
    command = ("kolora", "--token", secret.value, f"--password={secret.value}", secret.content)
    kolora.run(loaded, out=outside / "out", until="fetch", command=command)
    recorded = json.loads((outside / "out/records/run.json").read_text(encoding="utf-8"))["command"]
    assert recorded[:2] == ["kolora", "--token"]
    check(secret, capsys, outside)
    # As kolora 0.2 recorded it: whoever renders the report again repeats none of it.
    record = outside / "out/records/run.json"
    before = json.loads(record.read_text(encoding="utf-8"))
    record.write_text(json.dumps(before | {"command": command}), encoding="utf-8")
    assert left("report", outside / "out") == 0
    told = capsys.readouterr()
    pages = [path.read_text(encoding="utf-8") for path in (outside / "out").glob("report*")]
    assert len(pages) == 4
    assert leaks(secret, told.out, told.err, *pages) == []


def test_a_batch_keeps_it_from_its_summary(
    secret: Secret, outside: Path, tiny_checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (outside / "many").mkdir()
    (outside / "many/one.yaml").write_text(f"kolora: 1\ntitle: {json.dumps(secret.content)}\n", encoding="utf-8")
    (outside / "many/two.yaml").write_text(f"kolora: [{json.dumps(secret.value)}\n", encoding="utf-8")
    assert left("batch", outside / "many", "--out", outside / "out") == 65
    assert (outside / "out/batch.html").is_file()
    assert leaks(secret, *capsys.readouterr(), folder=outside / "out") == []


def test_a_bug_here_and_in_a_thread_are_printed_without(
    secret: Secret, outside: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise ValueError(f"odd {secret.content}")

    def schema() -> object:
        # As Python itself has it; pytest puts its own in place.
        thread = threading.Thread(target=lambda: _reported(fail, threading.__excepthook__))
        thread.start()
        thread.join()
        fail()
        return None

    monkeypatch.setattr("kolora.cli.story_json_schema", schema)
    assert left("schema") == 70
    assert check(secret, capsys, outside).count("ValueError: odd") >= 2


def _reported(work, hook) -> None:
    try:
        work()
    except ValueError:
        hook(threading.ExceptHookArgs((*sys.exc_info(), threading.current_thread())))


def test_an_uncaught_error_of_the_library_shows_none(secret: Secret, outside: Path) -> None:
    code = (
        "import kolora, os\nfrom kolora.stages import STAGES\n"
        f"def fail(*_): raise ConnectionError(os.environ[{secret.variable!r}])\n"
        "def wrap(*a):\n try: fail()\n except ConnectionError as e: raise RuntimeError('x') from e\n"
        "STAGES['fetch'].run = wrap\nkolora.run(kolora.load_story('quickstart'), out='out')\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "ConnectionError" in ended.stderr
    assert leaks(secret, ended.stdout, ended.stderr, folder=outside) == []


@pytest.mark.parametrize("width", [20, 41, 80])
def test_a_terminal_breaks_no_line_inside_a_secret(width: int, secret: Secret) -> None:
    screen = io.StringIO()
    terminal = Terminal(Console(file=screen, width=width, force_terminal=True))
    for lead in ("", "x " * 5, "the mirror says that it is "):
        terminal.say(lead + secret.content)
        terminal.on_event(Noticed(f"[red]{lead}{secret.value}"))
    drawn = screen.getvalue().replace("\n", "")
    assert leaks(secret, screen.getvalue(), drawn) == []
    assert "***" in drawn


def test_lines_stay_json_with_a_secret_anywhere_in_them(secret: Secret) -> None:
    stream = io.StringIO()
    lines = Lines(GuardedStream(stream))
    for sentence in secret.sentences:
        lines.say(sentence, code=12345678, token=sentence, more=[sentence, {"api_key": secret.value}])
    told = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert len(told) > 5
    assert leaks(secret, stream.getvalue(), json.dumps(told, ensure_ascii=False)) == []
    assert {line["code"] for line in told} == {12345678}


def test_what_filters_are_given_stays_out_of_their_log(secret: Secret, outside: Path) -> None:
    truth((40, 40)).save(outside / "one.png")
    (outside / "scratch").mkdir()
    row = {"id": "1", "text": secret.value, "image": str(outside / "one.png"), "bytes": 9}
    operator = {"image_shape_filter": {"any_or_all": f"no {secret.content} {secret.value}"}}
    with pytest.raises(KoloraError, match="exit status 1") as caught:
        run_filters([row], [operator], scratch=outside / "scratch", log=outside / "log", tick=lambda: None)
    assert leaks(secret, str(caught.value), caught.value.hint, (outside / "log").read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("hub", ["modelscope", "huggingface"])
@pytest.mark.parametrize("status", [401, 403, 404, 500, None])
def test_a_mirror_with_a_password_fails_without_it(
    hub: str, status: int | None, loopback: LoopbackHub, outside: Path, tiny_checkpoint: Path, monkeypatch, capsys
) -> None:
    endpoint = {"modelscope": "MODELSCOPE_ENDPOINT", "huggingface": "HF_ENDPOINT"}[hub]
    address = loopback.url if status else "http://127.0.0.1:9"
    content = address.replace("http://", "http://user:s3cretPASSw0rd@")
    monkeypatch.setenv(endpoint, content)
    secret = Secret("mirror", endpoint, content, "s3cretPASSw0rd")
    if status:
        loopback.failures.status = [(status, {})] * 30
        loopback.failures.listing_too = True
    story = write_story(outside / "s", tiny_checkpoint, dataset={"source": hub, "id": "some/set"})
    assert left("--debug", story, "-o", outside / "out") in (66, 69)
    assert "Traceback" in check(secret, capsys, outside)


@pytest.mark.parametrize("name", ["story.yaml", "story.lock.yaml", "report.json", "data/ledger.jsonl"])
def test_what_an_earlier_kolora_recorded_is_not_handed_on(name: str, secret: Secret, outside: Path) -> None:
    if len(secret.value) < 8:
        pytest.skip("so short a value may be a word")
    (outside / "data").mkdir()
    (outside / name).write_text(f"title: kolora\n# {secret.value} {secret.content}\n", encoding="utf-8")
    (violation,) = secrets_of(outside)
    assert violation.message.startswith(f"{name} holds ")
    assert leaks(secret, violation.message, violation.hint) == []
    (outside / name).write_text("title: kolora\n", encoding="utf-8")
    assert [*secrets_of(outside)] == []
