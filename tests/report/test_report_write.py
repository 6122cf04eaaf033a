"""Writing the reports: whole or not at all, the same bytes again, read back."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import pytest
from kolora.errors import KoloraError, OutputUnwritable
from kolora.ownership import OwnedFolder
from kolora.report import write, write_report
from kolora.runfolder.store import RunFolder

from tests.report.run_folder import make_run_folder


def test_the_reports_and_nothing_else(tmp_path: Path) -> None:
    out = make_run_folder(tmp_path / "out", size=(64, 64))
    RunFolder(out).claim()
    before = set(out.iterdir())
    paths = write_report(out)
    assert [path.name for path in paths] == ["report.json", "report.md", "report.html", "report.en.html"]
    assert set(out.iterdir()) - before == set(paths)


def test_same_records_give_the_same_bytes(tmp_path: Path) -> None:
    out = make_run_folder(tmp_path / "out", size=(64, 64))
    first = [path.read_bytes() for path in write_report(out)]
    assert [path.read_bytes() for path in write_report(out)] == first


def test_report_that_does_not_read_back_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = make_run_folder(tmp_path / "out", size=(64, 64))
    for broken in ("<html><p></html>", "<html><p></p>", "", "<html></html></p>"):
        monkeypatch.setattr(write, "render_html", lambda *_, page=broken, **__: page)
        with pytest.raises(KoloraError, match="does not read back"):
            write_report(out)


def test_full_disk_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = make_run_folder(tmp_path / "out", size=(64, 64))

    def full(folder: OwnedFolder, name: str, text: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", name)

    monkeypatch.setattr(OwnedFolder, "write_text", full)
    with pytest.raises(OutputUnwritable, match="full"):
        write_report(out)


def test_reporting_loads_nothing_heavy() -> None:
    heavy = ["torch", "numpy", "diffsynth", "transformers", "peft", "lightning", "datasets", "data_juicer", "pandas"]
    code = f"import sys, kolora.report; print(*[name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
