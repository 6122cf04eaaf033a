"""The report's sections: each is whole, listed once, and a new one touches four files."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from kolora.report import read_report_data, sections
from kolora.report.data import SECTIONS, Head, ReportData
from kolora.report.pages import TEMPLATES
from kolora.report.section import Section

from tests.report.run_folder import make_run_folder

PACKAGE = Path(__file__).parents[2] / "runner" / "kolora"
MODULE = '''"""How many letters the title has."""

from __future__ import annotations

from kolora.report.section import no_picture_groups, no_scope
from kolora.report.values import ReportModel, Words
from kolora.runfolder.reader import RunReader


NAME = "letters"
IS_LISTED = True
picture_groups = no_picture_groups
scope = no_scope


class Fields(ReportModel):
    letters: int


def gather(reader: RunReader) -> Fields:
    return Fields(letters=len(reader.run.name) if reader.run else 0)


WORDS: Words = {"en": {"letters": "Letters"}, "zh": {"letters": "字数"}}
'''


@pytest.mark.parametrize("section", SECTIONS)
def test_every_section_is_whole(section: Section) -> None:
    assert isinstance(section, ModuleType)
    assert section.__name__ == f"kolora.report.sections.{section.NAME}", "a section is found by its name"
    assert section.WORDS["en"].keys() == section.WORDS["zh"].keys()
    assert not section.IS_LISTED or section.NAME in section.WORDS["en"]
    page = (TEMPLATES / "report" / f"{section.NAME}.html.j2").read_text(encoding="utf-8")
    assert (TEMPLATES / "report" / f"{section.NAME}.md.j2").is_file()
    assert (f'<section id="{section.NAME}">' in page) == section.IS_LISTED


def test_sections_are_listed_once_and_make_up_the_report() -> None:
    modules = {path.stem for path in Path(sections.__path__[0]).glob("*.py")} - {"__init__"}
    names = [section.NAME for section in SECTIONS]
    assert sorted(names) == sorted(modules)
    assert len(names) > 10
    assert set(ReportData.__bases__) == {Head, *(section.Fields for section in SECTIONS)}
    fields = [name for base in ReportData.__bases__ for name in base.model_fields]
    assert len(fields) == len(set(fields)) == len(ReportData.model_fields), "no section takes another's key"


def test_no_page_gives_away_more_room_than_it_has(tmp_path: Path) -> None:
    report = read_report_data(make_run_folder(tmp_path / "out", size=(64, 64), samples=True, dropped=3))
    groups = [group for section in SECTIONS for group in section.picture_groups(report)]
    assert len(groups) == 6
    assert sum(group.share for group in groups) == 100


def test_a_new_section_touches_four_files(tmp_path: Path) -> None:
    package = tmp_path / "kolora"
    shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("checkpoint", "__pycache__"))
    before = digests(package)
    (package / "report/sections/letters.py").write_text(MODULE, encoding="utf-8")
    (package / "templates/report/letters.html.j2").write_text(
        '<section id="letters"><h2>{{ w.letters }}</h2><p>{{ d.letters }}</p></section>\n', encoding="utf-8"
    )
    (package / "templates/report/letters.md.j2").write_text("## {{ w.letters }}\n\n{{ d.letters }}\n", encoding="utf-8")
    listing = package / "report/data.py"
    text = listing.read_text(encoding="utf-8")
    text = text.replace("    grid,\n", "    grid,\n    letters,\n").replace(
        "    grid.Fields,\n", "    letters.Fields,\n    grid.Fields,\n"
    )
    listing.write_text(text, encoding="utf-8")
    after = digests(package)
    assert len({path for path in after if after[path] != before.get(path)}) == 4
    out = make_run_folder(tmp_path / "out", size=(64, 64), language="en", scenes=[("", "a")])
    subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, pathlib, kolora.report as r; r.write_report(pathlib.Path(sys.argv[1]))",
            out,
        ],
        env={"PYTHONPATH": str(tmp_path), "PATH": "/usr/bin:/bin"},
        check=True,
    )
    assert '"letters": 7' in (out / "report.json").read_text(encoding="utf-8")
    assert "## Letters\n\n7\n" in (out / "report.md").read_text(encoding="utf-8")
    page = (out / "report.html").read_text(encoding="utf-8")
    assert '<a href="#letters">Letters</a>' in page
    assert "<h2>字数</h2><p>7</p>" in (out / "report.zh.html").read_text(encoding="utf-8")


def digests(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
