"""Writes the reports, each in one move, and reads them back before it calls them written."""

from __future__ import annotations

from collections.abc import Iterable
from html.parser import HTMLParser
from pathlib import Path

from kolora.characters import show
from kolora.errors import KoloraError
from kolora.files import writing
from kolora.folders import Folder
from kolora.report.data import ReportData
from kolora.report.gather import read_report_data
from kolora.report.pages import render_html, render_markdown
from kolora.report.pictures import make_previews
from kolora.report.values import Language
from kolora.runfolder.layout import REPORT, REPORT_CARD, REPORT_PAGE
from kolora.runfolder.store import RunFolder

_VOID = frozenset({"br", "img", "meta", "wbr"})
"""The void elements of our template."""


def write_report(out: Path) -> tuple[Path, ...]:
    """Write report.json, report.md and report.html into the run folder `out`, the page also in the other language.

    Returns their paths. Each appears whole or not at all. Raises InputAbsent where `out` is no run folder,
    OutputUnwritable where it cannot be written, KoloraError where what was written does not read back.
    """
    data = read_report_data(out)
    owned = RunFolder(out).claim()
    texts = report_texts(data, pictures=owned.folder)
    with writing(out):
        # A story that changed its language left a page of what is now the first one.
        owned.folder.remove(f"report.{data.language}.html")
        for name, text in texts.items():
            owned.write_text(name, text)
    _read_back(owned.folder, texts, data)
    return tuple(out / name for name in texts)


def write_report_files(data: ReportData, *, pictures: Path, into: Path) -> tuple[Path, ...]:
    """Write a report into a folder of ours, as `write_report` does; its pictures are shown from ``pictures``."""
    texts = report_texts(data, pictures=Folder.open(pictures))
    with writing(into):
        folder = Folder.open(into, create=True)
        for name, text in texts.items():
            folder.write(name, text.encode())
    _read_back(folder, texts, data)
    return tuple(into / name for name in texts)


def report_texts(data: ReportData, *, pictures: Folder) -> dict[str, str]:
    """Say a report in each of its four files: as JSON, as Markdown, as the page, and as that in the other language."""
    other: Language = "en" if data.language == "zh" else "zh"
    translated = data.model_copy(update={"language": other})
    # Poured once without pictures: they get the room that the text leaves.
    previews = make_previews(pictures, data, text_bytes=len(render_html(data, {}).encode()))
    return {
        REPORT: show(data.model_dump_json(by_alias=True, indent=2)) + "\n",
        REPORT_CARD: render_markdown(data),
        REPORT_PAGE: render_html(data, previews, other=f"report.{other}.html"),
        f"report.{other}.html": render_html(translated, previews, other=REPORT_PAGE),
    }


def _read_back(out: Folder, names: Iterable[str], data: ReportData) -> None:
    try:
        if ReportData.model_validate_json(out.read(REPORT)) != data:
            raise ValueError("report.json says something else")
        for name in names:
            if not name.endswith(".html"):
                continue
            outline = _Outline()
            outline.feed(out.read(name).decode("utf-8"))
            outline.close()
            if outline.open or not outline.closed_html:
                raise ValueError(f"{name} is cut off")
    except (OSError, ValueError) as fault:
        raise KoloraError(
            f"the report in {out.path} does not read back: {fault}", hint=f"kolora report {out.path}"
        ) from fault


class _Outline(HTMLParser):
    """Follows the elements of a page and refuses one that closes what is not open."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.closed_html = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """`<path/>` opens nothing."""

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            raise ValueError(f"the page closes <{tag}>, which is not open")
        self.closed_html = tag == "html"
