"""The documents: links lead somewhere, files that they name exist, the README stays short, and Chinese follows."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote

import kolora
import pytest
import yaml
from kolora import errors
from kolora.cli.emit import TARGETS
from kolora.errors import KoloraError
from kolora.report.data import SCHEMA
from kolora.runfolder.lock import LOCK_VERSION
from kolora.spec import Story
from kolora.stages import STAGES
from markdown_it import MarkdownIt
from markdown_it.token import Token

from tests.layers import LAYERS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(
    [*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *(ROOT / "docker").glob("*.md"), *ROOT.glob("changelog.d/*.md")]
)
ROOMS = ("runner/", "specs/", "templates/", "docker/", "tests/", "tools/", "docs/", "benchmarks/", "changelog.d/")
LONGEST_README = 9 * 1024
ENGLISH_ONLY = {"reference.md"}
MARKDOWN = MarkdownIt("commonmark").enable("table")


def _tokens(page: Path) -> Iterator[Token]:
    for block in MARKDOWN.parse(page.read_text(encoding="utf-8")):
        yield block
        yield from block.children or ()


def _links(page: Path) -> list[str]:
    targets = [token.attrs.get("href") or token.attrs.get("src") for token in _tokens(page)]
    return [str(target) for target in targets if target and "://" not in str(target)]


def _anchors(page: Path) -> set[str]:
    """Name a page's headings as hubs do: lower case, no punctuation, hyphens for spaces; letters of any script stay."""
    tokens = MARKDOWN.parse(page.read_text(encoding="utf-8"))
    headings = [after.content for token, after in pairwise(tokens) if token.type == "heading_open"]
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _broken(page: Path) -> Iterator[str]:
    for link in _links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / unquote(path)) if path else page
        if not target.exists():
            yield f"{link}: no such file"
        elif anchor and unquote(anchor) not in _anchors(target):
            yield f"{link}: no such heading"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    assert list(_broken(page)) == []


def test_links_are_found_at_all() -> None:
    assert len(PAGES) > 30
    assert len(_links(ROOT / "README.md")) > 20
    assert "exit-codes" in _anchors(DOCS / "command-line.md")
    assert "退出码" in _anchors(DOCS / "zh" / "command-line.md")


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Head\n\n[a](gone.md) [b](#head) [c](page.md#other) ![d](gone.png) [e](https://example.org/x)\n")
    assert list(_broken(page)) == [
        "gone.md: no such file",
        "page.md#other: no such heading",
        "gone.png: no such file",
    ]


def _named_files(page: Path) -> list[str]:
    """List what a page names in code letters and that begins with a folder at the top."""
    named = [token.content for token in _tokens(page) if token.type == "code_inline"]
    return [name for name in named if name.startswith(ROOMS) and " " not in name]


def _exists(name: str) -> bool:
    if "NAME" in name:  # stands for a file that is to be written
        return (ROOT / name).parent.is_dir()
    return any(ROOT.glob(name.rstrip("/")))


@pytest.mark.parametrize(
    "name", ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "STYLE.md", "SECURITY.md", "RELEASING.md"]
)
def test_files_that_the_documents_name_exist(name: str) -> None:
    assert [named for named in _named_files(ROOT / name) if not _exists(named)] == []


def test_architecture_and_recipes_do_name_files() -> None:
    assert len(_named_files(ROOT / "ARCHITECTURE.md")) > 15
    assert len(_named_files(ROOT / "CONTRIBUTING.md")) > 15


def test_the_drawing_of_storeys_has_every_layer_in_its_order() -> None:
    drawing = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8").split("```")[1]
    levels = {}
    for level, layer in enumerate(LAYERS[:-1]):  # the last is __main__, the command line again
        levels.update(dict.fromkeys(layer, level))
    drawn = [name for name in re.findall(r"\b(\w+)(?:/|\.py)", drawing) if name in levels]
    assert sorted(drawn) == sorted(levels)
    assert [levels[name] for name in drawn] == sorted(levels.values(), reverse=True)


@pytest.mark.parametrize("name", ["README.md", "README.zh-CN.md"])
def test_the_readme_is_short(name: str) -> None:
    assert len((ROOT / name).read_bytes()) <= LONGEST_README


def test_every_page_has_its_chinese_twin() -> None:
    english = {page.name for page in DOCS.glob("*.md")} - ENGLISH_ONLY
    assert english == {page.name for page in (DOCS / "zh").glob("*.md")}


@pytest.mark.parametrize("page", ["library.md", "zh/library.md"])
def test_the_library_page_has_every_public_name(page: str) -> None:
    text = (DOCS / page).read_text(encoding="utf-8")
    assert [name for name in kolora.__all__ if name not in text] == []


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", ROOT / "README.zh-CN.md", DOCS / "library.md", DOCS / "zh/library.md"]
)
def test_the_lines_of_the_library_are_python_that_names_what_there_is(page: Path) -> None:
    (lines,) = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    named = re.findall(r"\bkolora\.(\w+)", lines)
    assert named == ["load_story", "plan", "run"]
    assert [name for name in named if not hasattr(kolora, name)] == []
    assert re.findall(r"\bdecision\.(\w+)", lines) == ["step", "reason"]
    assert [name for name in re.findall(r"\brun\.(\w+)", lines) if not hasattr(kolora.Run, name)] == []
    compile(lines, str(page), "exec")


@pytest.mark.parametrize("page", ["command-line.md", "zh/command-line.md"])
def test_the_command_line_page_has_the_stages_in_their_order_and_every_exit_code(page: str) -> None:
    text = (DOCS / page).read_text(encoding="utf-8")
    assert re.findall(r"^\| `([a-z_]+)` \|", text, re.MULTILINE) == list(STAGES)
    codes = {int(code) for code in re.findall(r"^\| (\d+) \|", text, re.MULTILINE)}
    assert codes == {0, *(error.code for error in _errors())}


@pytest.mark.parametrize("page", ["batch.md", "zh/batch.md", "command-line.md", "zh/command-line.md"])
def test_the_pages_name_every_batch_service(page: str) -> None:
    text = (DOCS / page).read_text(encoding="utf-8")
    assert [name for name in TARGETS if f"`{name}`" not in text] == []
    sections = (ROOT / "docker" / "README.md").read_text(encoding="utf-8")
    assert [name for name in TARGETS if f"kolora emit {name} " not in sections] == []


def _errors() -> Iterator[type[KoloraError]]:
    yield KoloraError
    yield from (each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, KoloraError))


def test_the_versions_page_says_the_versions_that_are_written() -> None:
    text = (DOCS / "versions.md").read_text(encoding="utf-8")
    assert f"`lock: {LOCK_VERSION}`" in text
    assert f'`"schema": {SCHEMA}`' in text
    assert f"`kolora: {Story.model_fields['kolora'].default}`" in text


def test_the_version_is_the_same_wherever_it_is_written() -> None:
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))["version"] == kolora.__version__
    for page in ("versions.md", "zh/versions.md"):
        assert f"| {kolora.__version__} |" in (DOCS / page).read_text(encoding="utf-8")


def test_no_page_is_a_promise_of_a_page() -> None:
    for page in PAGES:
        assert not re.search(r"\b(TODO|TBD|FIXME|coming soon)\b|待补|敬请期待", page.read_text(encoding="utf-8")), page


def test_the_changelog_takes_every_fragment() -> None:
    """A fragment of an unknown kind would be left out in silence."""
    fragments = [path for path in (ROOT / "changelog.d").iterdir() if path.suffix == ".md"]
    command = [sys.executable, "-m", "towncrier", "build", "--draft", "--version", "0.0.0", "--date", "2026-01-01"]
    draft = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for fragment in fragments:
        assert fragment.read_text(encoding="utf-8").split("\n")[0] in draft, fragment.name
