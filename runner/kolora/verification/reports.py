"""What a submission's report tells, held against the story, the pictures drawn here, and its own pages."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from html.parser import HTMLParser
from typing import Any

from kolora.report import ReportData, parse_report
from kolora.report.pages import render_html, render_markdown
from kolora.report.pictures import Preview
from kolora.report.values import Language
from kolora.spec import ResolvedScene
from kolora.verification.pack import Pack
from kolora.verification.verdict import Tolerance
from kolora.verification.words import Finding, excerpt
from kolora.version import __version__

MAX_REPORT = 32 * 2**20
LANGUAGES: tuple[Language, ...] = ("en", "zh")


def report_claims(
    pack: Pack, scenes: Sequence[ResolvedScene], judged: Sequence[Mapping[str, Any]], tolerance: Tolerance
) -> Iterator[Finding]:
    """Hold report.json against story and pictures, and the pages against report.json. judged: as verify.json's scenes.

    Of the pages all words count, and what they look like; not the pictures inside.
    """
    if "report.json" not in pack.sizes:
        yield Finding("no_report", verdict="note")
        return
    content = pack.read("report.json", most=MAX_REPORT)
    try:
        report = parse_report(content)
    except ValueError as problem:
        yield Finding("report_unreadable", (type(problem).__name__,))
        return
    yield from _scenes(report, scenes)
    yield from _scores(report, judged, tolerance)
    yield from _pages(pack, report)


def _scenes(report: ReportData, scenes: Sequence[ResolvedScene]) -> Iterator[Finding]:
    stated = {scene.number: scene for scene in report.scenes}
    for scene in scenes:
        for key in ("title", "prompt", "negative_prompt", "seed"):
            claimed = getattr(stated[scene.number], key) if scene.number in stated else None
            wanted = getattr(scene, key)
            if claimed != (wanted.strip() if key == "title" else wanted):
                yield Finding("report_scene", (str(scene.number), key, excerpt(claimed), excerpt(wanted)))


def _scores(report: ReportData, judged: Sequence[Mapping[str, Any]], tolerance: Tolerance) -> Iterator[Finding]:
    stated = {scene.number: scene for scene in report.scenes}
    for kind in ("aesthetics", "clip"):
        allowed = getattr(tolerance, kind)
        here = {each["number"]: each[kind]["submitted"] for each in judged}
        known = [score for score in here.values() if score is not None]
        for number, score in here.items():
            claimed = getattr(stated[number], kind) if number in stated else None
            if _are_apart(claimed, score, allowed):
                yield Finding("score", (str(number), kind, f"{claimed:.3f}", f"{score:.3f}"))
        mean, claimed = sum(known) / len(known) if known else None, getattr(report.verdict, f"{kind}_mean")
        if _are_apart(claimed, mean, allowed):
            yield Finding("mean", (kind, f"{claimed:.3f}", f"{mean:.3f}"))


def _are_apart(claimed: float | None, score: float | None, allowed: float) -> bool:
    # `not ... <=` and no `>`: a NaN compares false with everything, and must count as apart.
    return claimed is not None and score is not None and not abs(claimed - score) <= allowed


def _pages(pack: Pack, report: ReportData) -> Iterator[Finding]:
    """Make the pages anew; another kolora's may differ without being forged."""
    others = {"report.html": report.language} | {
        f"report.{language}.html": language for language in LANGUAGES if language != report.language
    }
    for name, language in others.items():
        if name in pack.sizes:
            other = "report.html" if language != report.language else f"report.{_other(language)}.html"
            page = render_html(report.model_copy(update={"language": language}), _AnyPicture(), other=other)
            if words_of(_text(pack, name)) != words_of(page):
                yield _different_page(name, report)
    if "report.md" in pack.sizes and _text(pack, "report.md") != render_markdown(report):
        yield _different_page("report.md", report)
    # A model card has a head of its own, and tells how to use the LoRA.
    body = render_markdown(report).split("---\n", 2)[2].strip()
    if "README.md" in pack.sizes and body not in _text(pack, "README.md"):
        yield _different_page("README.md", report)


def _other(language: Language) -> Language:
    return "en" if language == "zh" else "zh"


def _text(pack: Pack, name: str) -> str:
    return pack.read(name, most=MAX_REPORT).decode("utf-8", errors="replace")


def _different_page(name: str, report: ReportData) -> Finding:
    if report.kolora == __version__:
        return Finding("page", (name,))
    return Finding("page_of_other_version", (name, str(report.kolora)), verdict="note")


def words_of(page: str) -> list[str]:
    """List a page's tags and words, styles and scripts among them; of a picture all but what is in it."""
    reading = _Reading()
    reading.feed(page)
    reading.close()
    return reading.words


class _Reading(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        of_picture = ("src", "width", "height") if tag == "img" else ()
        self.words.append(f"<{tag}>")
        self.words += [f"{name}={value}" for name, value in attrs if name not in of_picture]

    def handle_endtag(self, tag: str) -> None:
        self.words.append(f"</{tag}>")

    def handle_data(self, data: str) -> None:
        self.words += data.split()

    def handle_comment(self, data: str) -> None:
        self.words += data.split()


class _AnyPicture(defaultdict[str, Preview]):
    """A preview for whatever picture is asked for: which ones a page could show is not known here."""

    # A defaultdict makes up values for [] alone, not for get.
    def get(self, key: str, default: object = None) -> Preview:
        return Preview("", 1, 1)
