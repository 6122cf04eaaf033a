"""A story's process: its lines, its last words and its code come back; a stop reaches it once."""

import os
import signal
import threading

import pytest
from kolora.batch.process import ProcessResult, run_process
from kolora.execution.signals import Halt


@pytest.fixture
def kolora(tmp_path, monkeypatch):
    """Stand a script in for ``python -m kolora``."""

    def stand_in(code):
        (tmp_path / "kolora").mkdir()
        (tmp_path / "kolora" / "__init__.py").touch()
        (tmp_path / "kolora" / "__main__.py").write_text(code)
        monkeypatch.setattr("kolora.batch.process._path", lambda: str(tmp_path))

    return stand_in


def run(halt=None):
    told, complaints = [], []
    ended = run_process(["story"], halt=halt or Halt(), on_event=told.append, on_stderr=complaints.append)
    return ended, told, complaints


def test_lines_and_last_words_come_back(kolora):
    kolora(
        "import sys\n"
        'print(\'{"message": "fetch", "stage": "fetch"}\')\n'
        "print('no JSON')\n"
        "sys.stderr.write('error: too few\\nhint: loosen\\n')\n"
        "sys.exit(65)\n"
    )
    assert run() == (
        ProcessResult(65, "too few", "loosen"),
        [{"message": "fetch", "stage": "fetch"}, {"message": "no JSON"}],
        ["error: too few", "hint: loosen"],
    )


@pytest.mark.parametrize(("number", "code", "error"), [(9, 71, "memory"), (11, 70, "ended by signal 11")])
def test_a_process_that_is_killed_is_told(kolora, number, code, error):
    kolora(f"import os\nos.kill(os.getpid(), {number})\n")
    ended, _, _ = run()
    assert ended.code == code
    assert error in ended.error


def test_a_stop_is_handed_over_once(kolora):
    kolora(
        "import signal, sys, time\n"
        "heard = []\n"
        "signal.signal(signal.SIGTERM, lambda *_: heard.append(1))\n"
        "print('ready', flush=True)\n"
        "while not heard: time.sleep(0.01)\n"
        "time.sleep(0.5)\n"
        "print(len(heard))\n"
        "sys.exit(75)\n"
    )
    halt, told = Halt(), []

    def hear(line):
        told.append(line["message"])
        if line["message"] == "ready":
            os.kill(os.getpid(), signal.SIGTERM)

    assert threading.current_thread() is threading.main_thread()
    with halt.listening():
        ended = run_process(["story"], halt=halt, on_event=hear, on_stderr=lambda line: None)
    assert ended.code == 75
    assert told == ["ready", "1"]
