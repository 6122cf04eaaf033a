"""Behind the guard nothing is started, reached or installed."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("attempt", "refusal"),
    [
        ("import subprocess; subprocess.run(['pip', 'install', 'ray'])", "may not start programs: ('pip'"),
        ("import os; os.system('pip install ray')", "may not start programs"),
        ("import os; os.execvp('pip', ['pip'])", "may not start programs"),
        ("import os; os.posix_spawn('/bin/true', ['true'], {})", "may not start programs"),
        ("import socket; socket.create_connection(('127.0.0.1', 9))", "may not reach the network"),
        ("import urllib.request; urllib.request.urlopen('http://example.invalid')", "may not reach the network"),
    ],
)
def test_a_forbidden_door_is_shut_and_named(attempt: str, refusal: str) -> None:
    script = f"from kolora.datasets.juicer import guard; guard.forbid(); {attempt}"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 1
    assert refusal in done.stderr
