"""A submission's pages, held against those that its own report makes, once that report was found to hold."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from kolora.export.card import model_card
from kolora.export.finished import FinishedRun
from kolora.export.submission import CARD
from kolora.report import ReportData
from kolora.report.pages import render_html, render_markdown
from kolora.report.pictures import Preview
from kolora.report.values import Language
from kolora.runfolder.layout import REPORT_CARD, REPORT_PAGE
from kolora.verification.words import Finding
from kolora.version import __version__

PAGES = (REPORT_PAGE, "report.en.html", "report.zh.html", REPORT_CARD, CARD)
_PICTURE = re.compile(r'src="data:image/jpeg;base64,[A-Za-z0-9+/]*=*" width="\d{1,5}" height="\d{1,5}"')
"""A picture inside a page, which holds no more than the bytes of one."""


def page_finding(
    name: str, content: bytes, *, report: ReportData | None, run: FinishedRun, submission: str | None
) -> Finding:
    """Say what there is to a page that is not the one made here, byte for byte.

    report: what the submission's report.json says, None where it does not hold. submission: its name, None for a run
    folder. Nothing but the pictures inside may differ from what that report makes.
    """
    if report is None:
        return Finding("page", (name,))
    if report.kolora != __version__:
        return Finding("page_of_other_version", (name, str(report.kolora)), "unchecked")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        return Finding("page", (name,))
    own = _render(name, report, run, submission)
    if own is None or _without_pictures(text) != _without_pictures(own):
        return Finding("page", (name,))
    return Finding("page_pictures", (name,), "unchecked")


def _render(name: str, report: ReportData, run: FinishedRun, submission: str | None) -> str | None:
    if name == REPORT_CARD:
        return render_markdown(report)
    if name == CARD:
        return None if submission is None else model_card(run, name=submission, report=report)
    other: Language = "en" if report.language == "zh" else "zh"
    translated = f"report.{other}.html"
    if name not in (REPORT_PAGE, translated):
        return None
    if name == REPORT_PAGE:
        return render_html(report, _AnyPicture(), other=translated)
    return render_html(report.model_copy(update={"language": other}), _AnyPicture(), other=REPORT_PAGE)


def _without_pictures(page: str) -> str:
    return _PICTURE.sub("src", page)


class _AnyPicture(Mapping[str, Preview]):
    """A preview for whatever picture is asked for: which ones a page could show is not known here."""

    def __getitem__(self, path: str) -> Preview:
        return Preview("data:image/jpeg;base64,", 1, 1)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0
