"""Reads a page back: its elements, its text, and what it would load or run."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

from markdown_it import MarkdownIt


class Page(HTMLParser):
    """Elements with their attributes, and the text with white space as it is."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.source = source
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._style = False
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._style = tag == "style"
        self.text += "\n" if tag in ("br", "p", "td", "th", "h1", "h2", "h3", "li", "dt", "dd") else ""

    def handle_data(self, data: str) -> None:
        if not self._style:
            self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """Attributes of every element of a kind."""
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def alts(self) -> list[str | None]:
        """The alternative text of every picture."""
        return [attributes.get("alt") for attributes in self.all("img")]

    def dangers(self) -> list[str]:
        """Everything that would run, or that would be loaded from elsewhere."""
        found = [tag for tag, _ in self.elements if tag in ("script", "iframe", "object", "embed", "link", "base")]
        for tag, attributes in self.elements:
            for name, value in attributes.items():
                if name.startswith("on"):
                    found.append(f"{tag} {name}")
                if name in ("src", "href", "srcset", "action", "data", "poster", "background", "xlink:href"):
                    inside = re.match(r"data:image/jpeg;base64,[A-Za-z0-9+/=]+$", value or "")
                    if not inside and re.match(r"\s*(?:[a-z][a-z0-9+.-]*:|//)", value or "", re.IGNORECASE):
                        found.append(f"{tag} {name}={(value or '')[:60]}")
        return found + re.findall(r"url\([^)]*\)|@import", self.source)


def html_page(out: Path) -> Page:
    """Read report.html."""
    return Page((out / "report.html").read_text(encoding="utf-8"))


def markdown_page(out: Path) -> Page:
    """Read report.md as a Markdown page with HTML let through, the way that forges do."""
    reader = MarkdownIt("commonmark", {"html": True}).enable("table").enable("strikethrough")
    return Page(reader.render((out / "report.md").read_text(encoding="utf-8")))


def squeezed(text: str) -> str:
    """Text with every run of white space as one space."""
    return " ".join(text.split())
