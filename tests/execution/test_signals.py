"""A stop is seen whatever the main thread is at: recorded, reported, 75, within ten seconds."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from itertools import product
from pathlib import Path

import pytest
from kolora.execution.signals import GRACE_SECONDS, RECORD_SECONDS, SAME_REQUEST_SECONDS, SIGNALS, Halt, watching

from tests.stories import write_story

CONTRACT_SECONDS = 10
PLACES = {
    "the inputs": "kolora.session.inputs_of = hang",
    "fetch": "kolora.stages.fetch.run = hang",
    "an import": "sys.meta_path.insert(0, Finder)",
    "train": "kolora.stages.train.run = hang",
    "render-02": "render = kolora.stages.render.run\n"
    "kolora.stages.render.run = lambda config, job: hang() if config.seed == 2 else render(config, job)",
    "the lock": "kolora.execution.loop.lock_of = hang",
}
"""Where a run hangs, and what makes it hang there: in one call of C's that no signal ends and no handler interrupts."""
DRIVER = """
import functools, hashlib, importlib.machinery, sys
import kolora.session, kolora.stages.fetch, kolora.stages.train, kolora.stages.render, kolora.execution.loop
from kolora.cli import main
from kolora.execution.signals import Halt

def hang(*_, **__):
    print("hanging", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)

class Finder:
    def find_spec(name, *_):
        return importlib.machinery.ModuleSpec(name, Finder) if name == "torch" else None

    create_module, exec_module = hang, hang

if GRACE:
    kolora.session.Halt = functools.partial(Halt, grace=GRACE, record=9)
PLACE
main(sys.argv[1:])
"""


def start(story: Path, *, place: str, grace: float = 0.1) -> subprocess.Popen[str]:
    """Start a run that hangs, and wait until it does."""
    code = DRIVER.replace("GRACE", str(grace)).replace("PLACE", PLACES[place])
    process = subprocess.Popen(
        [sys.executable, "-c", code, "run", str(story), "-o", str(story.parent / "out"), "--device", "cpu"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert any(line == "hanging\n" for line in process.stdout), process.communicate()[1]
    return process


def check_stopped(out: Path) -> None:
    for name, key in (("records/run.json", "status"), ("status.json", "stage"), ("report.json", "status")):
        assert json.loads((out / name).read_text(encoding="utf-8"))[key] == "stopped", name
    assert "stopped on request" in json.loads((out / "status.json").read_text(encoding="utf-8"))["error"]
    assert (out / "report.html").is_file()
    assert not (out / "manifest.sha256").exists()


@pytest.mark.parametrize(("place", "number"), [*zip(PLACES, SIGNALS * 2, strict=False), *product(["fetch"], SIGNALS)])
def test_a_run_that_does_not_stop_by_itself_is_recorded_and_left(tiny_checkpoint, tmp_path, place, number):
    story = write_story(tmp_path, tiny_checkpoint, filters=[], lora__steps=1, render__steps=1)
    with start(story, place=place) as process:
        process.send_signal(number)
        _, told = process.communicate(timeout=CONTRACT_SECONDS)
    assert process.returncode == 75
    assert told.splitlines()[-2:] == [
        "error: stopped on request; everything finished so far is saved",
        "hint: run the same command again: it continues where it stopped",
    ]
    check_stopped(tmp_path / "out")


def test_ten_seconds_are_enough_and_two_signals_at_once_are_one(tiny_checkpoint, tmp_path):
    story = write_story(tmp_path, tiny_checkpoint, filters=[], lora__steps=1, render__steps=1)
    with start(story, place="train", grace=0) as process:
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGUSR1)
        process.communicate(timeout=CONTRACT_SECONDS)
    assert process.returncode == 75
    check_stopped(tmp_path / "out")
    assert GRACE_SECONDS + RECORD_SECONDS < CONTRACT_SECONDS


def test_a_second_signal_is_the_same_request_for_two_seconds_and_then_leaves_at_once(monkeypatch):
    left = []
    monkeypatch.setattr(os, "_exit", left.append)
    halt = Halt(grace=3600)
    with halt.listening():
        now = time.monotonic()
        for late in (0.0, 0.5, SAME_REQUEST_SECONDS):
            halt._on_signal(now + late)
        assert halt.requested
        assert left == []
        halt._on_signal(now + SAME_REQUEST_SECONDS + 0.01)
        assert left == [75]


def test_handlers_and_the_pipe_of_an_event_loop_are_put_back_and_told_of_the_rest():
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    seen: list[float] = []
    handlers = {number: signal.getsignal(number) for number in (*SIGNALS, signal.SIGWINCH)}
    former = signal.set_wakeup_fd(writer)
    try:
        signal.signal(signal.SIGWINCH, lambda *_: None)
        with watching(seen.append):
            os.kill(os.getpid(), signal.SIGWINCH)
            assert os.read(reader, 1) == bytes([signal.SIGWINCH])
            os.kill(os.getpid(), signal.SIGUSR1)
        assert len(seen) == 1
        assert signal.set_wakeup_fd(former) == writer
    finally:
        signal.set_wakeup_fd(former)
        signal.signal(signal.SIGWINCH, handlers[signal.SIGWINCH])
        os.close(reader)
        os.close(writer)
    assert {number: signal.getsignal(number) for number in handlers} == handlers


FORKED = """
import os, signal
from kolora.execution.signals import watching
told = []
with watching(told.append):
    child = os.fork()
    if not child:
        os.kill(os.getpid(), signal.SIGTERM)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
print(os.WTERMSIG(status), told)
"""


def test_a_forked_child_is_ended_by_its_signals_and_they_are_nobody_elses():
    told = subprocess.run([sys.executable, "-c", FORKED], capture_output=True, text=True, check=True).stdout
    assert told.split() == ["15", "[]"]


@pytest.mark.parametrize("number", SIGNALS)
def test_a_command_with_nothing_to_save_leaves_at_once_whatever_it_is_at(number):
    code = (
        "import hashlib, sys\n"
        "import kolora.__main__ as entry\n"
        "def hang():\n"
        "    print('hanging', flush=True)\n"
        "    hashlib.pbkdf2_hmac('sha256', b'', b'', 2**31 - 1)\n"
        "entry.main = hang\n"
        "entry.enter()\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "hanging\n"
        process.send_signal(number)
        assert process.wait(timeout=CONTRACT_SECONDS) == 75
