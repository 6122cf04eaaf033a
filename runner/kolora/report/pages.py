"""The two pages: ReportData poured into the templates, every word of it escaped for the page it goes to."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

import kolora.report.formats as formats
from kolora.characters import replaced
from kolora.report.card import card_metadata
from kolora.report.data import SECTIONS, ReportData
from kolora.report.pictures import Preview
from kolora.report.values import Language
from kolora.report.words import WORDS

TEMPLATES = Path(str(files("kolora") / "templates"))

_ESCAPES = str.maketrans({mark: f"&#{ord(mark)};" for mark in '\\`*[]<>&|#~$@"'})
_ESCAPED_IN_PLACE = re.compile(r"(?i)(?<=www)\.|:(?!\s|\d\d\b)|(?<![a-z0-9])_|_(?![a-z0-9])")
"""Marks that act only in their place: of a bare address, of an emoji, of emphasis."""


def render_html(data: ReportData, previews: Mapping[str, Preview], *, other: str = "") -> str:
    """Return report.html: one file, pictures inside, no request; its script only copies text.

    other: file name of the same page in the other language.
    """
    return html_page("report.html.j2", data.language, **_scope(data), previews=previews, other=other)


def html_page(template: str, language: Language, /, **scope: Any) -> str:
    """Pour values into a page that may run our one script and load nothing."""
    # The page's Content-Security-Policy names this digest: a script that slipped in by a story's text would not run.
    script = (TEMPLATES / "page.js").read_text(encoding="utf-8").strip()
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    # The script is ours, and stands in the page as it is.
    own = {"script": Markup(script), "script_digest": Markup(digest)}  # noqa: S704
    # Once more over the whole page: what a template joins, no filter has seen.
    return replaced(_environment(language, _without_controls).get_template(template).render(**own, **scope))


def render_markdown(data: ReportData, *, head: Mapping[str, Any] | None = None) -> str:
    """Return report.md: pictures by relative path, for pages that show Markdown. head: more for its front matter."""
    scope = _scope(data) | {"card": card_metadata(data) | dict(head or {})}
    return replaced(_environment(data.language, markdown_text).get_template("report.md.j2").render(**scope))


def markdown_text(value: object) -> Markup:
    """Return text as one line of Markdown that shows exactly it: no mark, tag, link, table bar or line break acts.

    Character references and not backslashes: they also hold inside HTML attributes and before emoji and maths.
    """
    if isinstance(value, Markup):
        return value
    line = re.sub(r"\s+", " ", replaced(str(value))).translate(_ESCAPES)
    # Every mark was escaped just above.
    return Markup(_ESCAPED_IN_PLACE.sub(lambda mark: f"&#{ord(mark[0])};", line))  # noqa: S704


def fenced(text: str, language: str = "") -> Markup:
    """Return text as a Markdown code block that nothing in the text can close."""
    text = replaced(text).replace("\r", "\n").strip("\n")
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    # Inside a fence longer than any in the text nothing acts.
    return Markup(f"{fence}{language}\n{text}\n{fence}")  # noqa: S704


def _without_controls(value: object) -> object:
    """Show characters that would act unseen as the replacement character."""
    return replaced(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def lang_attribute(text: str | None, language: Language) -> Markup:
    """Return the attribute that tells fonts and voices that a text is not in the page's language."""
    own: Language = "zh" if re.search("[\u3400-\u9fff]", text or "") else "en"
    # One of two constants.
    return Markup("" if own == language or not text else f' lang="{ {"zh": "zh-CN", "en": "en"}[own] }"')  # noqa: S704


def shortened(text: str, letters: int = 300) -> str:
    """Cut what a reader has beside it in full, or nobody reads in full."""
    return text if len(text) <= letters else f"{text[:letters]}…"


def yaml_value(value: object) -> str:
    """Say a value of the story as its YAML would, in one line."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def front_matter(values: Mapping[str, Any]) -> Markup:
    """Return values as the YAML head of a Markdown file; YAML's own writer quotes whatever could act."""
    text = replaced(yaml.safe_dump(dict(values), allow_unicode=True, sort_keys=False, width=1000))
    return Markup(f"---\n{text}---")  # noqa: S704


def _environment(language: Language, finalize: Callable[[object], object]) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        finalize=finalize,
        # A misspelt name in a template is an error and no empty place.
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(
        duration=lambda seconds: formats.duration(seconds, language),
        number=formats.number,
        count=formats.count,
        memory=formats.memory,
        when=formats.when,
        scene_name=lambda scene: scene.title or shortened(scene.prompt or f"{WORDS[language]['scene']} {scene.number}"),
        fenced=fenced,
        lang=lambda text: lang_attribute(text, language),
        shortened=shortened,
        yaml_value=yaml_value,
        front_matter=front_matter,
    )
    return environment


def _scope(report: ReportData) -> dict[str, Any]:
    """Return what both pages see: d, the report; w, all words; sections, the scope of each by its name."""
    words = WORDS[report.language]
    scopes = {section.NAME: section.scope(report, words) for section in SECTIONS}
    shown = {name: scope for name, scope in scopes.items() if scope.get("is_shown", True)}
    return {
        "d": report,
        "w": words,
        "sections": shown,
        "contents": [section.NAME for section in SECTIONS if section.IS_LISTED and section.NAME in shown],
    }
