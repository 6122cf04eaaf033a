"""Reads a page back: its elements, its text, and what it would load or run."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import yaml
from kolora.report.pages import TEMPLATES
from markdown_it import MarkdownIt

OURS = (TEMPLATES / "page.js").read_text(encoding="utf-8").strip()


class Page(HTMLParser):
    """Elements with their attributes, and the text with white space as it is."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.source = source
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.pictured: list[tuple[str, str]] = []
        self._style = False
        self._link = ""
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._style = tag in ("style", "script")
        if tag == "a":
            self._link = dict(attrs).get("href") or ""
        if tag == "img":
            self.pictured.append((self._link or dict(attrs).get("src") or "", dict(attrs).get("alt") or ""))
        self.text += "\n" if tag in ("br", "p", "td", "th", "h1", "h2", "h3", "li", "dt", "dd") else ""

    def handle_endtag(self, tag: str) -> None:
        if tag == "a":
            self._link = ""

    def handle_data(self, data: str) -> None:
        if not self._style:
            self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """Attributes of every element of a kind."""
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def alts(self) -> list[str]:
        """The alternative text of the grid and of every scene."""
        return [alt for path, alt in self.pictured if re.fullmatch(r"grid\.png|images/\d+\.png", path)]

    def dangers(self) -> list[str]:
        """Everything that would run, our own script apart, or that would be loaded from elsewhere."""
        found = [tag for tag, _ in self.elements if tag in ("iframe", "object", "embed", "link", "base")]
        scripts = re.findall(r"<script[^>]*>(.*?)</script", self.source, re.DOTALL | re.IGNORECASE)
        found += [script for script in scripts if script != OURS]
        for tag, attributes in self.elements:
            for name, value in attributes.items():
                if name.startswith("on"):
                    found.append(f"{tag} {name}")
                if name in ("src", "href", "srcset", "action", "data", "poster", "background", "xlink:href"):
                    inside = re.match(r"data:image/jpeg;base64,[A-Za-z0-9+/=]+$", value or "")
                    if not inside and re.match(r"\s*(?:[a-z][a-z0-9+.-]*:|//)", value or "", re.IGNORECASE):
                        found.append(f"{tag} {name}={(value or '')[:60]}")
        return found + re.findall(r"url\([^)]*\)|@import", self.source)


def html_page(out: Path, name: str = "report.html") -> Page:
    """Read report.html, or another page of a run folder."""
    return Page((out / name).read_text(encoding="utf-8"))


def markdown_page(out: Path) -> Page:
    """Read report.md as a Markdown page with HTML let through, the way that forges do."""
    reader = MarkdownIt("commonmark", {"html": True}).enable("table").enable("strikethrough")
    return Page(reader.render(front_matter(out)[1]))


def front_matter(out: Path) -> tuple[dict[str, Any], str]:
    """Split report.md into what hubs read at its head, and the page."""
    head, body = (out / "report.md").read_text(encoding="utf-8").split("---\n", 1)[1].split("\n---\n", 1)
    return yaml.safe_load(head), body


def squeezed(text: str) -> str:
    """Text with every run of white space as one space."""
    return " ".join(text.split())
